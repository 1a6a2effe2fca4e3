"""Restart gateways under load: `python -m benchmarks.rolling [haproxy|nginx|kill] [--rate 500] [--rounds 3]`.

`haproxy` and `nginx`: two gateways of two workers each share a Redis and a database behind the load balancer. Each is
told to stop, and started again when it has ended, one after the other, while clients send cached and uncached requests
and uploads of 64 kB over persistent connections, publish events, and follow them by WebSockets and event streams.
No request may fail, and no event may be lost or arrive twice.

`kill`: one gateway of two workers without a load balancer. A worker is killed in each round; only the requests that
were in flight at that moment may fail.

Exits with 1 if a bound is missed. Needs redis-server, and haproxy or nginx.
"""

import argparse
import asyncio
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from string import Template
from typing import Final

import uvloop

from benchmarks import machine, origin, servers
from benchmarks.processes import NotStarted
from benchmarks.rolling.backend import PatientBackend
from benchmarks.rolling.http_clients import HttpClients
from benchmarks.rolling.machines import Machine, load_balancer
from benchmarks.rolling.subscribers import Publisher, StreamSubscriber, Subscriber, WebSocketSubscriber
from benchmarks.servers import UNLIMITED
from benchmarks.stats import Threshold, table, verdict

SUBSCRIBERS: Final = 10
"""Of each kind."""
PUBLISHED_PER_SECOND: Final = 20.0
SETTLE_SECONDS: Final = 2.0
"""Of load before, between and after restarts."""
NONE: Final = Threshold(0, maximum=True)
CONFIGURATION: Final = """
version: 1
services:
  bench:
    targets: [{url: "$origin"}]
    cache: {ttl: 3600}
    max_concurrency: 1024
    routes:
      - {path: "/miss/*", cache: off}
"""


class Load:
    """Clients of the gateways at `address`. In `kill`, none follows events: nothing takes over their connection."""

    def __init__(self, address: str, key: str, *, events: bool) -> None:
        self.http, self.publisher = HttpClients(address, key), Publisher(address, key)
        kinds = (WebSocketSubscriber, StreamSubscriber) if events else ()
        self.subscribers: list[Subscriber] = [kind() for kind in kinds for _ in range(SUBSCRIBERS)]
        self._address, self._key = address, key

    @property
    def expected(self) -> set[int]:
        """The events that every subscriber must have: those since all of them had subscribed."""
        first = max((min(subscriber.seen, default=0) for subscriber in self.subscribers), default=0)
        return {number for number in self.publisher.accepted if number >= first}

    async def run(self, rate: float, ended: asyncio.Event) -> None:
        following = [asyncio.create_task(subscriber.run(self._address, self._key)) for subscriber in self.subscribers]
        publishing = self.publisher.run(PUBLISHED_PER_SECOND, ended) if self.subscribers else asyncio.sleep(0)
        await asyncio.gather(self.http.run(rate, ended), publishing)
        await asyncio.sleep(SETTLE_SECONDS)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)


@contextmanager
def machines(count: int) -> Iterator[tuple[list[Machine], str]]:
    """That many running gateways with a Redis and a database, and a key that may publish events."""
    with ExitStack() as stack:
        backend, port = stack.enter_context(origin.run(PatientBackend)), stack.enter_context(servers.redis())
        directory = stack.enter_context(servers.temporary_directory())
        file = directory / "gateway.yaml"
        file.write_text(Template(CONFIGURATION).substitute(origin=backend))
        variables = {
            "SECRET_KEY": "for benchmarks alone, and long enough for Django's own checks",
            "DATABASE_URL": f"sqlite:///{directory}/gateway.sqlite3",
            "GATEWAY_CONFIG": str(file),
            "REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "ALLOWED_HOSTS": "127.0.0.1",
            "ACCESS_LOG": "off",
            "MAX_CONNECTIONS_PER_CLIENT": "off",
            "RATE_LIMIT": UNLIMITED,
        }
        running = [Machine(variables, 2) for _ in range(count)]
        for one in running:
            stack.callback(one.stop)
            one.start()
        yield running, servers.create_key(variables, ["events:publish"])


async def restart_in_turn(running: Sequence[Machine], rounds: int) -> list[float]:
    """The seconds that each restart took."""
    took = []
    for _ in range(rounds):
        for one in running:
            await asyncio.sleep(SETTLE_SECONDS)
            began = time.perf_counter()
            status = await asyncio.to_thread(one.stop)
            if status != 0:
                raise NotStarted(f"the gateway ended with status {status}")
            await asyncio.to_thread(one.start)
            took.append(time.perf_counter() - began)
    await asyncio.sleep(SETTLE_SECONDS)
    return took


async def kill_workers(one: Machine, rounds: int) -> list[tuple[float, float]]:
    """When each worker was killed, and when its sockets were closed: Linux takes some milliseconds to end a process."""
    ends = []
    for _ in range(rounds):
        await asyncio.sleep(SETTLE_SECONDS)
        worker = os.pidfd_open(one.workers[0])
        killed_at = time.perf_counter()
        signal.pidfd_send_signal(worker, signal.SIGKILL)
        await asyncio.to_thread(select.select, [worker], [], [])
        ends.append((killed_at, time.perf_counter()))
        os.close(worker)
    await asyncio.sleep(SETTLE_SECONDS)
    return ends


async def measure_restarts(load: Load, running: Sequence[Machine], rate: float, rounds: int) -> list[tuple[str, ...]]:
    ended = asyncio.Event()
    loading = asyncio.create_task(load.run(rate, ended))
    took = await restart_in_turn(running, rounds)
    ended.set()
    await loading
    expected = load.expected
    lost = sum(len(expected - one.seen.keys()) for one in load.subscribers)
    twice = sum(one.seen[number] > 1 for one in load.subscribers for number in expected)
    ends = sum((one.ends for one in load.subscribers), start=Counter[str]())
    return [
        *_requests(load),
        _row("events published", len(load.publisher.accepted)),
        _row("publications refused", load.publisher.refused.total(), NONE),
        _row("events lost, of all subscribers", lost, NONE),
        _row("events that arrived twice", twice, NONE),
        _row("notices of a gap", sum(one.gaps for one in load.subscribers), NONE),
        ("ends of subscriptions", ", ".join(f"{name}: {count}" for name, count in sorted(ends.items())), "", ""),
        ("seconds of a restart", ", ".join(f"{seconds:.1f}" for seconds in took), "", ""),
    ]


async def measure_kills(load: Load, one: Machine, rate: float, rounds: int) -> list[tuple[str, ...]]:
    ended = asyncio.Event()
    loading = asyncio.create_task(load.run(rate, ended))
    ends = await kill_workers(one, rounds)
    ended.set()
    await loading
    failures = load.http.outcome.failures
    others = [failure for failure in failures if not any(failure.was_in_flight(*end) for end in ends)]
    return [
        _row("requests", load.http.outcome.sent.total()),
        _row("workers killed", len(ends)),
        _row("requests in flight that failed", len(failures) - len(others)),
        _row("other requests that failed", len(others), NONE),
        *((f"failed: {failure.kind}", failure.reason, "", "") for failure in others[:10]),
    ]


def _requests(load: Load) -> list[tuple[str, ...]]:
    outcome = load.http.outcome
    return [
        *(_row(f"requests: {kind}", count) for kind, count in sorted(outcome.sent.items())),
        _row("requests that failed", len(outcome.failures), NONE),
        *((f"failed: {failure.kind}", failure.reason, "", "") for failure in outcome.failures[:10]),
    ]


def _row(name: str, value: float, threshold: Threshold | None = None) -> tuple[str, ...]:
    return name, f"{value:g}", f"{threshold.bound:g}" if threshold else "", verdict(value, threshold)


def run(kind: str, rate: float, rounds: int) -> list[tuple[str, ...]]:
    with ExitStack() as stack:
        running, key = stack.enter_context(machines(1 if kind == "kill" else 2))
        if kind == "kill":
            load = Load(running[0].address, key, events=False)
            return uvloop.run(measure_kills(load, running[0], rate, rounds))
        address = stack.enter_context(load_balancer(kind, *running))
        return uvloop.run(measure_restarts(Load(address, key, events=True), running, rate, rounds))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rolling", description=__doc__)
    parser.add_argument("kinds", nargs="*", default=["haproxy", "nginx", "kill"], help="haproxy, nginx, kill")
    parser.add_argument("--rate", type=float, default=500, help="requests per second")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    failed = False
    print(machine.describe())
    for kind in options.kinds:
        rows = run(kind, options.rate, options.rounds)
        failed |= any("fail" in row[-1] for row in rows)
        print(f"\n{kind}\n\n{table(('', '', 'at most', ''), rows)}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A mixed load with and without the gateway: `python -m benchmarks.story [--requests 1000] [--timeout 30]`.

The same 1,000 requests are sent to a backend that takes 320 ms, where 85 % of them repeat an earlier one; and to a
backend that hangs twice for five seconds, where without the gateway each client waits until its timeout. Then a team of
20 has its day (benchmarks.day), with and without webhooks; `--only day` plays nothing else.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import uvloop

from benchmarks import machine, results, servers, teamday
from benchmarks.slowbackend import SlowBackend
from benchmarks.stats import Threshold, percentile, table, verdict
from routing.backend.client import Backend, Call
from routing.errors import BadGateway, UpstreamTimeout
from routing.router.policy import Target, Timeout

REPEATS: Final = 0.85
CONCURRENCY: Final = 20
RATE: Final = 40
"""Requests per second to the failing backend."""
SLOW_SECONDS: Final = 0.32
QUICK_SECONDS: Final = 0.02
OUTAGES: Final = ((0.2, 0.4), (0.6, 0.8))
"""When the backend hangs, as fractions of the run."""
HIT_THRESHOLD, CALLS_THRESHOLD = Threshold(0.984), Threshold(0.85)
FAILURE_THRESHOLD: Final = Threshold(0.001, maximum=True)
CONFIGURATION: Final = """
version: 1
services:
  slow:
    targets: [{url: "$origin"}]
    cache: {ttl: 300}
  circuit:
    targets: [{url: "$origin"}]
    cache: off
    max_concurrency: 1024
    timeout: {connect: 1s, read: 1s, total: 2s}
    breaker: {failure_threshold: 5, window: 60s, open_for: 1s}
  cached:
    targets: [{url: "$origin"}]
    cache: {ttl: 2, stale_if_error: 300}
    max_concurrency: 1024
    timeout: {connect: 1s, read: 1s, total: 2s}
    breaker: {failure_threshold: 5, window: 60s, open_for: 1s}
"""


@dataclass(slots=True)
class RunStats:
    """One run as the clients see it: latencies in seconds. `successes` includes `hits`."""

    total_seconds: float = 0.0
    backend_calls: int = 0
    successes: list[float] = field(default_factory=list)
    hits: list[float] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)


def page_sequence(requests: int, repeats: float, seed: int = 1) -> list[int]:
    """The page of each request: exactly the fraction `repeats` of them is for a page requested before."""
    rng = random.Random(seed)  # noqa: S311 - the same sequence in every run
    pages = round(requests * (1 - repeats))
    firsts = {0, *rng.sample(range(1, requests), pages - 1)}
    sequence: list[int] = []
    for number in range(requests):
        sequence.append(len(set(sequence)) if number in firsts else rng.choice(sequence))
    return sequence


class Client:
    """Sends requests below `base` with an API key, and records their latencies."""

    def __init__(self, base: str, key: str, timeout: float) -> None:
        self.stats = RunStats()
        self._base = Target(base)
        self._headers = [(b"x-api-key", key.encode())] if key else []
        self._timeout = Timeout(connect=timeout, read=timeout, total=timeout)
        self._backend = Backend()

    async def request(self, page: int) -> None:
        started = time.perf_counter()
        call = Call("GET", b"/page/%d" % page, self._headers, None)
        try:
            response = await self._backend.send(self._base, call, self._timeout)
            async for _ in response.body:
                pass
        except (BadGateway, UpstreamTimeout):
            self.stats.failures.append(time.perf_counter() - started)
            return
        latency = time.perf_counter() - started
        if response.status >= 400:
            self.stats.failures.append(latency)
            return
        self.stats.successes.append(latency)
        if dict(response.headers).get(b"x-cache") == b"HIT":
            self.stats.hits.append(latency)

    async def close(self) -> None:
        await self._backend.close()


async def closed_loop(client: Client, pages: Sequence[int]) -> None:
    """CONCURRENCY requests at a time, each followed by the next when its response is complete."""
    remaining = iter(pages)

    async def work() -> None:
        for page in remaining:
            await client.request(page)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def open_loop(client: Client, pages: Sequence[int], backend: SlowBackend) -> None:
    """RATE requests per second, while the backend hangs and recovers."""
    length = len(pages) / RATE
    loop = asyncio.get_running_loop()
    for begin, end in OUTAGES:
        loop.call_later(begin * length, backend.hang, True)
        loop.call_later(end * length, backend.hang, False)
    started = loop.time()
    tasks = []
    for number, page in enumerate(pages):
        await asyncio.sleep(started + number / RATE - loop.time())
        tasks.append(asyncio.create_task(client.request(page)))
    await asyncio.gather(*tasks)


Workload = Callable[[Client], Coroutine[Any, Any, None]]


def run(workload: Workload, base: str, key: str, timeout: float, backend: SlowBackend) -> RunStats:
    """Run a workload once, with a client of its own."""

    async def measure() -> RunStats:
        client = Client(base, key, timeout)
        before, started = backend.calls, time.perf_counter()
        await workload(client)
        client.stats.total_seconds = time.perf_counter() - started
        client.stats.backend_calls = backend.calls - before
        await client.close()
        return client.stats

    return uvloop.run(measure())


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    machine.raise_open_file_limit()
    command = " ".join(["python -m benchmarks.story", *arguments])
    sections = {"Mixed load": mixed_load, "A team's day": team_day}
    for title, section in sections.items():
        if options.only in (None, title.split()[-1]):
            report = section(options)
            if options.dry:
                print(report)
            else:
                results.publish(title, report, command=command)


def team_day(_: argparse.Namespace) -> str:
    return "\n".join(teamday.report(with_webhooks) for with_webhooks in (True, False))


def mixed_load(options: argparse.Namespace) -> str:
    pages = page_sequence(options.requests, REPEATS)
    with SlowBackend(SLOW_SECONDS) as slow, servers.gateway(slow.url, configuration=CONFIGURATION) as gateway:
        base, key = gateway.services, gateway.key

        def repeats(client: Client) -> Coroutine[Any, Any, None]:
            return closed_loop(client, pages)

        without = run(repeats, slow.url, "", options.timeout, slow)
        report = repeats_section(without, run(repeats, f"{base}/slow", key, options.timeout, slow))
    with SlowBackend(QUICK_SECONDS) as quick, servers.gateway(quick.url, configuration=CONFIGURATION) as gateway:
        base, key = gateway.services, gateway.key

        def outages(client: Client) -> Coroutine[Any, Any, None]:
            return open_loop(client, pages, quick)

        runs = {
            "without the gateway": run(outages, quick.url, "", options.timeout, quick),
            "gateway, no cache": run(outages, f"{base}/circuit", key, options.timeout, quick),
            "gateway, cache": run(outages, f"{base}/cached", key, options.timeout, quick),
        }
        report += "\n" + outages_section(runs, options.timeout)
    return report


def repeats_section(without: RunStats, through: RunStats) -> str:
    """Both runs, and the reduction by the gateway."""
    calls = 1 - through.backend_calls / without.backend_calls
    backend, hit = percentile(sorted(without.successes), 50), percentile(sorted(through.hits), 50)
    rows = [
        ["total time", f"{without.total_seconds:.2f} s", f"{through.total_seconds:.2f} s", "", ""],
        ["backend calls", str(without.backend_calls), str(through.backend_calls), *_reduction(calls, CALLS_THRESHOLD)],
        ["failed requests", str(len(without.failures)), str(len(through.failures)), "", ""],
        ["repeated request, median", _ms(backend), _ms(hit), *_reduction(1 - hit / backend, HIT_THRESHOLD)],
    ]
    head = ["", "without", "with", "reduction", ""]
    return f"### {len(without.successes)} requests, 85 % repeats, backend latency 320 ms\n\n{table(head, rows)}"


def _reduction(share: float, threshold: Threshold) -> tuple[str, str]:
    return f"{share:.1%} (at least {threshold.bound:.1%})", verdict(share, threshold)


def outages_section(runs: dict[str, RunStats], timeout: float) -> str:
    """The runs by name, the first being the one without the gateway, with the latency of failed requests."""
    rows = []
    for name, stats in runs.items():
        failures = sorted(stats.failures)
        typical, longest = (percentile(failures, 50), failures[-1]) if failures else (0.0, 0.0)
        counts = [f"{stats.total_seconds:.1f} s", str(stats.backend_calls), str(len(failures))]
        result = verdict(typical, FAILURE_THRESHOLD) if failures and name != next(iter(runs)) else ""
        rows.append([name, *counts, _ms(typical) if failures else "none", _ms(longest) if failures else "none", result])
    head = ["", "total time", "backend calls", "failed", "time to failure, median (at most 1 ms)", "longest", ""]
    title = f"The same requests, backend hanging 40 % of the time, client timeout {timeout:g} s"
    return f"### {title}\n\n{table(head, rows)}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:,.2f} ms"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.story", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--timeout", type=float, default=30, help="seconds until a client gives up on a response")
    parser.add_argument("--only", choices=["load", "day"], help="one of the two parts")
    parser.add_argument("--dry", action="store_true", help="print the report without writing results.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])

"""How quickly all workers stop calling a failing backend: `python -m benchmarks.circuit [--rounds 10]`.

Two workers share a Redis; the backend fails every call at once; 200 clients send requests concurrently, to a service of
its own in each round. The backend records when each call started: calls that start after its fifth failure show the
delay until the open circuit has reached both workers. Needs redis-server.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple, Self, cast

import uvloop

from benchmarks import machine, servers
from benchmarks.load_generator import Sample, closed_loop
from benchmarks.origin import FAILURE
from benchmarks.stats import Threshold, percentile, table, verdict

CONCURRENCY: Final = 200
SECONDS: Final = 1.0
"""How long the clients of a round send requests."""
PAUSE: Final = 0.05
OPEN_SECONDS: Final = 5
PERMITS: Final = 2
MAX_CALLS: Final = 20_000
DELAY_THRESHOLD: Final = Threshold(100, maximum=True)
GATEWAY_THRESHOLD: Final = Threshold(1.0, maximum=True)
PROBES_THRESHOLD: Final = Threshold(PERMITS, maximum=True)
SERVICE: Final = f"""
    targets: [{{url: "$origin"}}]
    cache: off
    retries: {{attempts: 1}}
    breaker: {{failure_threshold: 5, open_for: {OPEN_SECONDS}s, half_open_permits: {PERMITS}}}
"""
_spawn: Final = multiprocessing.get_context("spawn")


class Round(NamedTuple):
    """`delay`: milliseconds from the fifth failure to the start of the last call; `gateway_ms`: the gateway's time for
    each rejected request.
    """

    calls: int
    delay: float
    gateway_ms: list[float]


class FailingBackend:
    """A backend in a separate process, run within a `with` block, that records when calls start and end.

    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self.url = ""
        self._started: Any = _spawn.Array("d", MAX_CALLS)
        self._calls: Any = _spawn.Value("L", 0)
        self._ended: Any = _spawn.Array("d", MAX_CALLS)
        self._hangs: Any = _spawn.Value("B", 0)
        self._port, sender = _spawn.Pipe(duplex=False)
        arguments = (sender, self._started, self._ended, self._calls, self._hangs)
        self._process = _spawn.Process(target=_serve, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self.url = f"http://127.0.0.1:{self._port.recv()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    @property
    def calls(self) -> int:
        return int(self._calls.value)

    def hang(self) -> None:
        self._hangs.value = 1

    def since(self, call: int) -> tuple[list[float], list[float]]:
        """Start and end times of the calls from number `call` on."""
        return self._started[call : self.calls], self._ended[call : self.calls]


class _Protocol(asyncio.Protocol):
    def __init__(self, started: Any, ended: Any, calls: Any, hangs: Any) -> None:
        self._started, self._ended, self._calls, self._hangs = started, ended, calls, hangs

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, _: bytes) -> None:
        call = self._calls.value
        self._started[call] = time.monotonic()
        self._calls.value = call + 1
        if not self._hangs.value:
            self._transport.write(FAILURE)
            self._ended[call] = time.monotonic()


def _serve(port: Connection, started: Any, ended: Any, calls: Any, hangs: Any) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Protocol(started, ended, calls, hangs), "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


def send_requests(gateway: servers.RunningGateway, service: str, seconds: float) -> list[Sample]:
    """Send requests from all clients for `seconds`."""
    deadline = time.monotonic() + seconds

    def proceed(sample: Sample) -> bool:
        return sample.ended < deadline

    return uvloop.run(closed_loop(f"{gateway.services}/{service}/x", gateway.key, CONCURRENCY, proceed, PAUSE))


def run_round(gateway: servers.RunningGateway, backend: FailingBackend, service: str) -> Round:
    first = backend.calls
    samples = send_requests(gateway, service, SECONDS)
    started, ended = backend.since(first)
    delay = (max(started) - sorted(ended)[4]) * 1_000
    return Round(len(started), delay, [sample.gateway_ms for sample in samples if sample.status == 503])


def count_probes(gateway: servers.RunningGateway, backend: FailingBackend, service: str) -> int:
    """The number of calls to a hanging backend while clients send requests to a half-open circuit."""
    backend.hang()
    before = backend.calls
    time.sleep(OPEN_SECONDS)
    uvloop.run(_send_until_timeout(gateway, service))
    return backend.calls - before


async def _send_until_timeout(gateway: servers.RunningGateway, service: str) -> None:
    """Send requests for SECONDS. The probes among them never get a response, so clients have to be cancelled."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            url = f"{gateway.services}/{service}/x"
            await closed_loop(url, gateway.key, CONCURRENCY, lambda _: True, PAUSE)


def section(rounds: Sequence[Round], probes: int) -> str:
    gateway_ms = sorted(milliseconds for each in rounds for milliseconds in each.gateway_ms)
    delays = sorted(each.delay for each in rounds)
    calls = sorted(each.calls for each in rounds)
    p50, p99 = percentile(gateway_ms, 50), percentile(gateway_ms, 99)
    rows = [
        _row("last call after the fifth failure, ms", delays[len(delays) // 2], delays[-1], DELAY_THRESHOLD),
        _row("gateway time per rejected request, ms", p50, p99, GATEWAY_THRESHOLD),
        _row(f"backend calls, {CONCURRENCY} concurrent clients", calls[len(calls) // 2], calls[-1], None),
        _row("probes while the backend hangs", probes, probes, PROBES_THRESHOLD),
    ]
    head = ("", "median", "maximum (rejected requests: p99)", "at most", "")
    return f"{len(rounds)} rounds, {len(gateway_ms)} rejected requests.\n\n{table(head, rows)}"


def _row(name: str, median: float, worst: float, threshold: Threshold | None) -> tuple[str, ...]:
    bound = f"{threshold.bound:g}" if threshold else ""
    return name, f"{median:.3g}", f"{worst:.3g}", bound, verdict(worst, threshold)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.circuit")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(arguments)
    names = [f"failing{number}" for number in range(options.rounds)]
    configuration = "version: 1\nservices:\n" + "".join(f"  {name}:{SERVICE}" for name in names)
    with (
        FailingBackend() as backend,
        servers.redis() as port,
        servers.gateway(backend.url, workers=2, redis_port=port, configuration=configuration) as gateway,
    ):
        rounds = [run_round(gateway, backend, name) for name in names]
        probes = count_probes(gateway, backend, names[-1])
    print(machine.describe())
    print(section(rounds, probes))


if __name__ == "__main__":
    main(sys.argv[1:])

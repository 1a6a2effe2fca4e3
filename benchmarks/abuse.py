"""Mixed abuse beside a measured load: `python -m benchmarks.abuse [--minutes 10]`. Fails if a bound is missed.

Two workers on a Redis of their own. Well-behaved callers send hits and misses at a constant rate, first alone, then for
`--minutes` while benchmarks.abusers do everything at once: dripping uploads, large responses that are not read, floods
of the login, the schema, a static file and bad keys, patterns of topics, long X-Forwarded-For lists, half-open
connections and nested JSON. Latencies are taken over windows of WINDOW_SECONDS; their median p99 is compared, since a
busy moment of the machine spoils single windows.
"""

import argparse
import asyncio
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from statistics import median
from typing import Final, NamedTuple, cast

import requests
import uvloop

from benchmarks import abusers, machine, servers
from benchmarks.abusers import Target
from benchmarks.openloop import OpenLoopClient, minimise_timer_slack
from benchmarks.origin import JSON, LARGE
from benchmarks.processes import children, resident_bytes
from benchmarks.servers import RunningGateway
from benchmarks.stats import Threshold, percentile, table, verdict

RATES: Final = {"hit": 200.0, "miss": 50.0}
"""Requests per second of the measured load."""
PATHS: Final = {"hit": "bench/small", "miss": "abused/small"}
CONNECTIONS: Final = 16
WINDOW_SECONDS: Final = 5.0
WARM_UP: Final = 12
"""Windows until the workers' memory must not grow any more: a minute."""
REST_SECONDS: Final = 60.0
"""At most: with a short `--minutes`, half of it."""
RELEASE_SECONDS: Final = 1.0
"""After the abuse, until every slot of every bulkhead must be free."""
LATENCY_THRESHOLD: Final = Threshold(2.0, maximum=True)
MEMORY_THRESHOLD: Final = Threshold(1.10, maximum=True)
NONE: Final = Threshold(0.0, maximum=True)
CONFIGURATION: Final = """
version: 1
services:
  bench:
    targets: [{url: "$origin"}]
    cache: {ttl: 3600}
  abused:
    targets: [{url: "$origin"}]
    auth: optional
    cache: off
    max_concurrency: 64
"""

_spawn: Final = multiprocessing.get_context("spawn")


class Windows(NamedTuple):
    """p99 of each window in seconds, and the number of responses other than 200."""

    p99: list[float]
    errors: int


class Observed(NamedTuple):
    """What was seen beside the load: the services whose circuits were not closed, and the workers' resident bytes."""

    open_circuits: set[str]
    resident: list[int]


class Backend(asyncio.Protocol):
    """Reads a request with its body before it responds: 1.8 kB, or 1 MB for `/large`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._data = bytearray()

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._data[:end]).lower()
            _, _, rest = head.partition(b"\r\ncontent-length: ")
            size = end + 4 + int(rest.split(b"\r\n", 1)[0] or 0)
            if len(self._data) < size:
                return
            del self._data[:size]
            body = LARGE if b"/large" in head.split(b"\r\n", 1)[0] else JSON
            fields = b"Content-Type: application/json\r\nContent-Length: %d" % len(body)
            self._transport.write(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n" + body)


@contextmanager
def backend() -> Iterator[str]:
    """Run the backend in a process of its own and yield its address."""
    receiver, sender = _spawn.Pipe(duplex=False)
    process = _spawn.Process(target=_serve, args=(sender,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{receiver.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(port: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


def _load(url: str, key: str, rate: float, count: int, sender: Connection) -> None:
    """Send `count` windows of requests for `url`, and the result to `sender`. For a process of its own."""
    minimise_timer_slack()
    p99, errors = list[float](), 0
    with OpenLoopClient(url, key, CONNECTIONS) as client:
        for _ in range(count):
            result = client.run(rate, int(rate * WINDOW_SECONDS))
            p99.append(percentile(sorted(result.latencies), 99))
            errors += result.errors
    sender.send(Windows(p99, errors))


def measure(gateway: RunningGateway, seconds: float) -> tuple[dict[str, Windows], Observed]:
    """The measured load for so long, each kind from a process of its own."""
    count = max(1, round(seconds / WINDOW_SECONDS))
    receivers, processes = {}, []
    for kind, rate in RATES.items():
        receivers[kind], sender = _spawn.Pipe(duplex=False)
        arguments = (f"{gateway.services}/{PATHS[kind]}", gateway.key, rate, count, sender)
        processes.append(_spawn.Process(target=_load, args=arguments, daemon=True))
        processes[-1].start()
    observed = Observed(set(), [])
    while any(process.is_alive() for process in processes):
        observed.open_circuits.update(open_circuits(gateway))
        observed.resident.append(resident(gateway))
        time.sleep(WINDOW_SECONDS)
    windows = {kind: receiver.recv() if receiver.poll() else Windows([], 1) for kind, receiver in receivers.items()}
    return windows, observed


def open_circuits(gateway: RunningGateway) -> list[str]:
    response = requests.get(
        f"{gateway.address}/metrics/circuit-breakers", headers={"X-API-Key": gateway.key}, timeout=60
    )
    return [name for name, circuit in response.json()["stats"].items() if circuit["state"] != "CLOSED"]


def calls_in_flight(gateway: RunningGateway) -> int:
    """Slots in use, of all bulkheads of all workers."""
    headers = {"X-API-Key": gateway.key, "Accept": "text/plain"}
    text = requests.get(f"{gateway.address}/metrics", headers=headers, timeout=60).text
    return next(
        int(float(line.split()[1])) for line in text.splitlines() if line.startswith("gateway_calls_in_flight ")
    )


def resident(gateway: RunningGateway) -> int:
    """Resident bytes of the workers: the children of the main process."""
    return sum(resident_bytes(pid) for pid in children(gateway.pid))


@contextmanager
def abuse(gateway: RunningGateway, counts: Counter[tuple[str, int]]) -> Iterator[None]:
    """Abuse the gateway during the block. Adds the responses by kind and status to `counts`."""
    ours, theirs = _spawn.Pipe()
    target = Target(int(gateway.address.rsplit(":", 1)[1]), gateway.key)
    process = _spawn.Process(target=abusers.run, args=(target, theirs), daemon=True)
    process.start()
    try:
        yield
        ours.send(None)
        counts.update(ours.recv())
    finally:
        process.terminate()
        process.join()


def section(
    rest: dict[str, Windows], abused: dict[str, Windows], observed: Observed, in_flight: int
) -> tuple[str, bool]:
    """The table of results, and whether all bounds are met."""
    rows, met = list[tuple[str, ...]](), True

    def add(name: str, before: str, after: str, value: float, threshold: Threshold) -> None:
        nonlocal met
        met = met and threshold.met_by(value)
        rows.append((name, before, after, f"{value:.2f}", f"{threshold.bound:g}", verdict(value, threshold)))

    for kind, windows in rest.items():
        before, after = (median(each.p99 or [float("nan")]) * 1_000 for each in (windows, abused[kind]))
        add(f"{kind}, p99 in ms", f"{before:.2f}", f"{after:.2f}", after / before, LATENCY_THRESHOLD)
        errors = windows.errors, abused[kind].errors
        add(f"{kind}, other than 200", str(errors[0]), str(errors[1]), float(sum(errors)), NONE)
    samples = observed.resident
    start, end = samples[min(WARM_UP, len(samples) // 2)], samples[-1]
    add("workers' memory in MB", f"{start / 1e6:.0f}", f"{end / 1e6:.0f}", end / start, MEMORY_THRESHOLD)
    add("circuits that opened", "", ", ".join(sorted(observed.open_circuits)), len(observed.open_circuits), NONE)
    add(f"slots in use {RELEASE_SECONDS:g} s later", "", str(in_flight), in_flight, NONE)
    return table(("", "at rest", "abused", "result", "at most", ""), rows), met


def responses(counts: Counter[tuple[str, int]]) -> str:
    """What the abusers got, by kind."""
    kinds = sorted({kind for kind, _ in counts})
    rows = [
        (kind, ", ".join(f"{n} x {s or 'lost'}" for (k, s), n in sorted(counts.items()) if k == kind)) for kind in kinds
    ]
    return table(("abuse", "responses"), rows)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.abuse", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    seconds = parser.parse_args(arguments).minutes * 60
    environment = {"TRUSTED_PROXIES": f"{abusers.PROXY}/32", "MAX_CONNECTIONS_PER_CLIENT": "1000"}
    counts = Counter[tuple[str, int]]()
    with (
        backend() as origin,
        servers.redis() as port,
        servers.gateway(
            origin,
            workers=2,
            redis_port=port,
            configuration=CONFIGURATION,
            environment=environment,
            scopes=("metrics:read",),
        ) as gateway,
    ):
        rest, _ = measure(gateway, min(REST_SECONDS, seconds / 2))
        with abuse(gateway, counts):
            abused, observed = measure(gateway, seconds)
        time.sleep(RELEASE_SECONDS)
        in_flight = calls_in_flight(gateway)
    print(machine.describe())
    print(responses(counts))
    report, met = section(rest, abused, observed, in_flight)
    print(report)
    return 0 if met else 1


if __name__ == "__main__":
    machine.raise_open_file_limit()
    sys.exit(main(sys.argv[1:]))

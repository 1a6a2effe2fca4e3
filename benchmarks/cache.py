"""What the cache must withstand: `python -m benchmarks.cache memory|body|invalidation [size]`.

memory        so many distinct keys through the in-process tier (1,000,000): the process stays near the tier's bound
body          a cacheable body of so many MB through a real gateway (1,000), announced and chunked: its memory is flat
invalidation  so many entries under one tag, on two workers (10,000): the count, the time, the other services' p99

Ends with 1 where a promise is broken. Ratios and bounds count; the milliseconds are this machine's.
"""

import asyncio
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import quantiles
from typing import Final

import requests

from benchmarks.processes import ROOT, children, resident
from benchmarks.servers import Running, backend, gateway, redis
from resilience.cache.entry import Entry, decode, encode
from resilience.cache.memory import MEMORY_BYTES, MemoryStore
from resilience.cache.redis import RedisStore
from resilience.redis import RedisLink

CONFIGURATION: Final = """
version: 1
services:
  bench: {targets: [{url: "$origin"}], cache: {ttl: 3600, scope: shared, tags: [all]}, timeout: {total: 10m}}
  other: {targets: [{url: "$origin"}], cache: {ttl: 3600, scope: shared}}
"""
MB: Final = 1_000_000
FLAT: Final = 64 * MB
"""What a gateway may grow by while a body of any size streams through it."""
ROUNDS: Final = 5
NEAR: Final = 1_000
"""Answers that both workers have in their memory when the tag is taken back."""
MANY: Final = 300
"""New connections that a look at every worker takes."""
CLEAN_SECONDS: Final = 1.0
WORST_RATIO: Final = 2.0
"""How much worse the other services' p99 may be while a tag is taken back, than while one is that nothing bears."""


def memory(keys: int) -> bool:
    """Every key is of its own, with 1.8 kB under it, unpacked as if it came from Redis."""
    packed = encode(_entry(b"x" * 1_800))
    store, before = MemoryStore(time.time), resident(os.getpid())

    async def fill() -> int:
        most = 0
        for number in range(keys):
            entry = decode(packed)
            assert entry is not None
            await store.put("bench", f"{number:040x}", entry, 0)
            most = max(most, store.shelf.bytes)
        return most

    worst = asyncio.run(fill())
    grown = resident(os.getpid()) - before
    print(
        f"{keys:,} keys: {len(store.shelf):,} kept, {worst / MB:.1f} MB by its count, bound {MEMORY_BYTES / MB:.1f} MB"
    )
    print(f"the process grew by {grown / MB:.1f} MB, {grown / MEMORY_BYTES:.2f} of the bound")
    return worst <= MEMORY_BYTES and grown < 2 * MEMORY_BYTES


def body(megabytes: int) -> bool:
    sound = True
    with ExitStack() as stack:
        origin = stack.enter_context(running_large(megabytes * MB))
        gate = stack.enter_context(gateway(origin, configuration=CONFIGURATION))
        for path in ("announced", "chunked"):
            _fetched(gate, "/api/v1/bench/warm-up-of-all-buffers")
            resting, peak = _held(gate.pid), _Peak(gate.pid)
            verdicts = [_fetched(gate, f"/api/v1/bench/{path}") for _ in range(2)]
            grown = peak.end() - resting
            said = ", ".join(f"{size // MB} MB {cache}" for size, cache in verdicts)
            print(f"{path}: {said}; the gateway grew by {grown / MB:.1f} MB")
            sound = sound and verdicts == [(megabytes * MB, "MISS")] * 2 and grown < FLAT
    return sound


def invalidation(entries: int) -> bool:
    with ExitStack() as stack:
        port, origin = stack.enter_context(redis()), stack.enter_context(backend())
        gate = stack.enter_context(
            gateway(origin, workers=2, redis_port=port, configuration=CONFIGURATION, rights=["metrics:write"])
        )
        bystander = _Bystander(gate)
        bystander.begin()
        sound, slowest = True, 0.0
        for _ in range(ROUNDS):
            asyncio.run(_filled(f"redis://127.0.0.1:{port}", entries - NEAR))
            _in_every_worker(gate)
            bystander.sample("before", 1.0)
            for _ in range(5):  # what an operator's call costs by itself
                with bystander.sampling("nothing"):
                    _metrics(gate, "DELETE", "/metrics/cache/bench?tag=none")
            with bystander.sampling("during"):
                began = time.monotonic()
                answer = _metrics(gate, "DELETE", "/metrics/cache/bench?tag=all")
                told = time.monotonic() - began
            clean = _clean_after(gate, began)
            slowest = max(slowest, clean)
            print(f"{answer} of {entries:,} in {told * 1000:.0f} ms, every worker clean after {clean * 1000:.0f} ms")
            sound = sound and answer == entries and clean < CLEAN_SECONDS
        before, nothing, during = bystander.end()
    times = [f"{seconds * 1000:.2f} ms" for seconds in (before, nothing, during)]
    print("another service's p99: {} at rest, {} while nothing is taken back, {} while it is".format(*times))
    print(f"which is {during / before:.2f} and {during / nothing:.2f} times as much")
    return sound and during / nothing < WORST_RATIO


async def _filled(url: str, count: int) -> None:
    """Entries as the workers would have written them."""
    link = RedisLink(url)
    store = RedisStore(link)
    _, seq = await store.get("bench", "any")
    for begin in range(0, count, 200):
        numbers = range(begin, min(begin + 200, count))
        puts = [store.put("bench", f"{number:040x}", _entry(b"x" * 1_800), seq) for number in numbers]
        assert all(await asyncio.gather(*puts))
    await link.close()


def _in_every_worker(gate: Running) -> None:
    """Each answer is asked for over connections of its own until both workers have it."""
    for _ in range(6):
        with requests.Session() as session:
            for number in range(NEAR):
                session.get(f"{gate.address}/api/v1/bench/small?{number}", headers={"X-API-Key": gate.key}, timeout=10)


def _clean_after(gate: Running, began: float) -> float:
    """Seconds until no worker gives any of them, and for good: asked over new connections, which both workers take."""
    since = time.monotonic()
    clean = 0
    while clean < MANY:
        if _status(gate, clean % NEAR, only_if_cached=True) == http.client.GATEWAY_TIMEOUT:
            clean += 1
        else:
            clean, since = 0, time.monotonic()
    return since - began


def _status(gate: Running, number: int, *, only_if_cached: bool = False) -> int:
    headers = {"X-API-Key": gate.key} | ({"Cache-Control": "only-if-cached"} if only_if_cached else {})
    return requests.get(f"{gate.address}/api/v1/bench/small?{number}", headers=headers, timeout=10).status_code


def _metrics(gate: Running, method: str, path: str) -> int:
    answer = requests.request(method, gate.address + path, headers={"X-API-Key": gate.key}, timeout=60)
    answer.raise_for_status()
    deleted: int = answer.json()["keysDeleted"]
    return deleted


class _Bystander:
    """Somebody who uses another service all the while, one request after another."""

    def __init__(self, gate: Running) -> None:
        self._gate = gate
        self._times: dict[str, list[float]] = {"before": [], "nothing": [], "during": []}
        self._into = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def begin(self) -> None:
        self._thread.start()

    @contextmanager
    def sampling(self, name: str) -> Iterator[None]:
        self._into = name
        yield
        self._into = ""

    def sample(self, name: str, seconds: float) -> None:
        with self.sampling(name):
            time.sleep(seconds)

    def end(self) -> list[float]:
        """The p99 of each, in seconds."""
        self._over.set()
        self._thread.join()
        return [quantiles(times, n=100)[98] for times in self._times.values()]

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._over.is_set():
                into, began = self._into, time.monotonic()
                headers = {"X-API-Key": self._gate.key}
                session.get(f"{self._gate.address}/api/v1/other/small", headers=headers, timeout=10)
                if into:
                    self._times[into].append(time.monotonic() - began)


class _Peak:
    """The most memory that a gateway's processes have together, from now on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def end(self) -> int:
        self._over.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self._most = max(self._most, _held(self._pid))


def _fetched(gate: Running, path: str) -> tuple[int, str]:
    """How many bytes came, and what X-Cache said."""
    connection = http.client.HTTPConnection(gate.address.removeprefix("http://"), timeout=600)
    connection.request("GET", path, headers={"X-API-Key": gate.key})
    answer, size = connection.getresponse(), 0
    while piece := answer.read(MB):
        size += len(piece)
    connection.close()
    return size, answer.headers.get("x-cache", "")


@contextmanager
def running_large(size: int) -> Iterator[str]:
    """A backend in a process of its own whose answers are of that size, and may be kept for an hour."""
    words = [sys.executable, "-m", "benchmarks.cache", "serve", str(size)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


async def _serve(size: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        piece, head = bytes(MB), b"HTTP/1.1 200 OK\r\ncache-control: max-age=3600\r\n"
        while line := await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            chunked, small = b"/chunked" in line, b"/warm-up" in line
            length = MB if small else size
            writer.write(
                head + (b"transfer-encoding: chunked\r\n\r\n" if chunked else b"content-length: %d\r\n\r\n" % length)
            )
            for _ in range(length // MB):
                writer.write(b"%x\r\n%b\r\n" % (MB, piece) if chunked else piece)
                await writer.drain()
            writer.write(b"0\r\n\r\n" if chunked else b"")

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _held(pid: int) -> int:
    """Bytes of memory of a process and its children."""
    return sum(map(resident, [pid, *children(pid)]))


def _entry(body: bytes) -> Entry:
    now = time.time()
    headers = ((b"content-type", b"application/json"), (b"date", b"Thu, 01 Jan 2026 00:00:00 GMT"), (b"server", b"raw"))
    return Entry(
        status=200,
        headers=headers,
        body=body,
        stored_at=now,
        generated_at=now,
        fresh_until=now + 3_600,
        stale_until=now + 3_600,
        tags=("all",),
    )


def main() -> None:
    measures = {"memory": (memory, 1_000_000), "body": (body, 1_000), "invalidation": (invalidation, 10_000)}
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name == "serve":
        asyncio.run(_serve(int(sys.argv[2])))
    if name not in measures:
        raise SystemExit(__doc__)
    measure, usual = measures[name]
    if not measure(int(sys.argv[2]) if len(sys.argv) > 2 else usual):
        raise SystemExit("a promise is broken")


if __name__ == "__main__":
    main()

"""Stress tests of the cache: `python -m benchmarks.cache memory|body|invalidation [size]`.

memory        put `size` distinct keys (1,000,000) into the memory tier: the process stays close to the tier's bound
body          send a cacheable body of `size` MB (1,000) through a gateway, with Content-Length and chunked: its memory
              does not grow with the body
invalidation  invalidate `size` entries (10,000) with one tag on two workers: the count, the duration, and the p99 of
              another service meanwhile

Exits with status 1 if a bound is exceeded. Durations depend on the machine; ratios and bounds do not.
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

from benchmarks.processes import ROOT, children, resident_bytes
from benchmarks.servers import RunningGateway, backend, gateway, redis
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
MAX_GROWTH: Final = 64 * MB
"""How much the gateway's memory may grow while it streams a body of any size."""
ROUNDS: Final = 5
IN_MEMORY: Final = 1_000
"""Entries in the memory tiers of both workers when the tag is invalidated."""
CONSECUTIVE_MISSES: Final = 300
"""Requests over new connections that reach every worker with near certainty."""
MAX_INVALIDATION_SECONDS: Final = 1.0
MAX_RATIO: Final = 2.0
"""Bound of another service's p99 during the invalidation, relative to that during one that matches no entry."""


def memory(keys: int) -> bool:
    """Put entries of 1.8 kB with distinct keys, decoded as if they came from Redis."""
    packed = encode(_entry(b"x" * 1_800))
    store, before = MemoryStore(time.time), resident_bytes(os.getpid())

    async def fill() -> int:
        peak = 0
        for number in range(keys):
            entry = decode(packed)
            assert entry is not None
            await store.put("bench", f"{number:040x}", entry, 0)
            peak = max(peak, store.memory.bytes)
        return peak

    peak = asyncio.run(fill())
    growth = resident_bytes(os.getpid()) - before
    print(f"{keys:,} keys: {len(store.memory):,} kept, peak {peak / MB:.1f} MB, bound {MEMORY_BYTES / MB:.1f} MB")
    print(f"the process grew by {growth / MB:.1f} MB, {growth / MEMORY_BYTES:.2f} times the bound")
    return peak <= MEMORY_BYTES and growth < 2 * MEMORY_BYTES


def body(megabytes: int) -> bool:
    passed = True
    with ExitStack() as stack:
        origin = stack.enter_context(large_origin(megabytes * MB))
        running = stack.enter_context(gateway(origin, configuration=CONFIGURATION))
        for path in ("content-length", "chunked"):
            _fetch(running, "/api/v1/bench/warm-up")
            idle, peak = _memory_of(running.pid), _PeakMemory(running.pid)
            responses = [_fetch(running, f"/api/v1/bench/{path}") for _ in range(2)]
            growth = peak.stop() - idle
            sizes = ", ".join(f"{size // MB} MB {cache}" for size, cache in responses)
            print(f"{path}: {sizes}; the gateway grew by {growth / MB:.1f} MB")
            passed = passed and responses == [(megabytes * MB, "MISS")] * 2 and growth < MAX_GROWTH
    return passed


def invalidation(entries: int) -> bool:
    with ExitStack() as stack:
        port, origin = stack.enter_context(redis()), stack.enter_context(backend())
        running = stack.enter_context(
            gateway(origin, workers=2, redis_port=port, configuration=CONFIGURATION, scopes=["metrics:write"])
        )
        client = _BackgroundClient(running)
        passed = True
        for _ in range(ROUNDS):
            asyncio.run(_fill_redis(f"redis://127.0.0.1:{port}", entries - IN_MEMORY))
            _fill_memory(running)
            with client.sampling("idle"):
                time.sleep(1.0)
            for _ in range(5):  # the cost of the API call alone
                with client.sampling("unmatched"):
                    _invalidate(running, "none")
            with client.sampling("matched"):
                started = time.monotonic()
                deleted = _invalidate(running, "all")
                elapsed = time.monotonic() - started
            clean = _seconds_until_clean(running, started)
            print(f"{deleted} of {entries:,} in {elapsed * 1000:.0f} ms, all workers clean after {clean * 1000:.0f} ms")
            passed = passed and deleted == entries and clean < MAX_INVALIDATION_SECONDS
        idle, unmatched, matched = client.stop()
    times = [f"{seconds * 1000:.2f} ms" for seconds in (idle, unmatched, matched)]
    print(
        "p99 of another service: {} idle, {} while a tag without entries is invalidated, {} with entries".format(*times)
    )
    print(f"ratios: {matched / idle:.2f} and {matched / unmatched:.2f}")
    return passed and matched / unmatched < MAX_RATIO


async def _fill_redis(url: str, count: int) -> None:
    """Write entries to Redis as the workers would."""
    link = RedisLink(url)
    store = RedisStore(link)
    _, seq = await store.get("bench", "any")
    for begin in range(0, count, 200):
        numbers = range(begin, min(begin + 200, count))
        puts = [store.put("bench", f"{number:040x}", _entry(b"x" * 1_800), seq) for number in numbers]
        assert all(await asyncio.gather(*puts))
    await link.close()


def _fill_memory(gateway: RunningGateway) -> None:
    """Request each entry over several connections, so that both workers have it in memory."""
    for _ in range(6):
        with requests.Session() as session:
            for number in range(IN_MEMORY):
                url = f"{gateway.address}/api/v1/bench/small?{number}"
                session.get(url, headers={"X-API-Key": gateway.key}, timeout=10)


def _seconds_until_clean(gateway: RunningGateway, started: float) -> float:
    """Seconds until the last hit on any worker. Uses new connections, which are spread over both workers."""
    last_hit = time.monotonic()
    misses = 0
    while misses < CONSECUTIVE_MISSES:
        if _is_cached(gateway, misses % IN_MEMORY):
            misses, last_hit = 0, time.monotonic()
        else:
            misses += 1
    return last_hit - started


def _is_cached(gateway: RunningGateway, number: int) -> bool:
    url = f"{gateway.address}/api/v1/bench/small?{number}"
    headers = {"X-API-Key": gateway.key, "Cache-Control": "only-if-cached"}
    return requests.get(url, headers=headers, timeout=10).status_code != http.client.GATEWAY_TIMEOUT


def _invalidate(gateway: RunningGateway, tag: str) -> int:
    """Invalidate a tag; returns the number of entries deleted."""
    url = f"{gateway.address}/metrics/cache/bench?tag={tag}"
    response = requests.delete(url, headers={"X-API-Key": gateway.key}, timeout=60)
    response.raise_for_status()
    deleted: int = response.json()["keysDeleted"]
    return deleted


class _BackgroundClient:
    """A thread that sends one request after another to another service, and samples their latencies on demand."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._gateway = gateway
        self._latencies: dict[str, list[float]] = {"idle": [], "unmatched": [], "matched": []}
        self._series = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @contextmanager
    def sampling(self, series: str) -> Iterator[None]:
        """Record latencies under `series` within the block."""
        self._series = series
        yield
        self._series = ""

    def stop(self) -> list[float]:
        """The p99 of each series, in seconds."""
        self._stopped.set()
        self._thread.join()
        return [quantiles(latencies, n=100)[98] for latencies in self._latencies.values()]

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._stopped.is_set():
                series, started = self._series, time.monotonic()
                headers = {"X-API-Key": self._gateway.key}
                session.get(f"{self._gateway.address}/api/v1/other/small", headers=headers, timeout=10)
                if series:
                    self._latencies[series].append(time.monotonic() - started)


class _PeakMemory:
    """Samples the memory of a process and its children, from creation until `stop`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> int:
        self._stopped.set()
        self._thread.join()
        return self._peak

    def _run(self) -> None:
        while not self._stopped.wait(0.05):
            self._peak = max(self._peak, _memory_of(self._pid))


def _fetch(gateway: RunningGateway, path: str) -> tuple[int, str]:
    """The size of the body in bytes, and the X-Cache field."""
    connection = http.client.HTTPConnection(gateway.address.removeprefix("http://"), timeout=600)
    connection.request("GET", path, headers={"X-API-Key": gateway.key})
    response, size = connection.getresponse(), 0
    while chunk := response.read(MB):
        size += len(chunk)
    connection.close()
    return size, response.headers.get("x-cache", "")


@contextmanager
def large_origin(size: int) -> Iterator[str]:
    """Run an origin with bodies of `size` bytes, fresh for an hour, in a separate process; yields its address."""
    command = [sys.executable, "-m", "benchmarks.cache", "serve", str(size)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


async def _serve(size: int) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chunk, head = bytes(MB), b"HTTP/1.1 200 OK\r\ncache-control: max-age=3600\r\n"
        while line := await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            chunked, small = b"/chunked" in line, b"/warm-up" in line
            length = MB if small else size
            writer.write(
                head + (b"transfer-encoding: chunked\r\n\r\n" if chunked else b"content-length: %d\r\n\r\n" % length)
            )
            for _ in range(length // MB):
                writer.write(b"%x\r\n%b\r\n" % (MB, chunk) if chunked else chunk)
                await writer.drain()
            writer.write(b"0\r\n\r\n" if chunked else b"")

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _memory_of(pid: int) -> int:
    """Resident bytes of a process and its children."""
    return sum(map(resident_bytes, [pid, *children(pid)]))


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
    tests = {"memory": (memory, 1_000_000), "body": (body, 1_000), "invalidation": (invalidation, 10_000)}
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name == "serve":
        asyncio.run(_serve(int(sys.argv[2])))
    if name not in tests:
        raise SystemExit(__doc__)
    test, default = tests[name]
    if not test(int(sys.argv[2]) if len(sys.argv) > 2 else default):
        raise SystemExit("a bound is exceeded")


if __name__ == "__main__":
    main()

"""Compare HTTP clients for calls to backends: `python benchmarks/clients.py [seconds per round]`.

Each client fetches the same 1.8 kB of JSON from 32 concurrent callers, in short interleaved rounds, so that a slow
moment of the machine affects all of them. Reports throughput, and whether header bytes outside ASCII are preserved.
"""

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Final

import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.origin import JSON, ODD, run
from routing.backend.client import Backend, Call
from routing.http import Headers
from routing.router.policy import Target, Timeout

CONCURRENCY: Final = 32
ROUNDS: Final = 5
Fetch = Callable[[str, Headers], Awaitable[tuple[Headers, bytes]]]
"""Sends a GET for a URL with these header fields; returns the response's fields and body."""


@asynccontextmanager
async def gateway() -> AsyncIterator[Fetch]:
    backend = Backend()
    timeout = Timeout()

    async def fetch(url: str, headers: Headers) -> tuple[Headers, bytes]:
        base, _, path = url.rpartition("/")
        response = await backend.send(Target(base), Call("GET", b"/" + path.encode(), headers, None), timeout)
        return response.headers, b"".join([data async for data in response.body])

    yield fetch
    await backend.close()


@asynccontextmanager
async def aiohttp() -> AsyncIterator[Fetch]:
    from aiohttp import ClientSession, ClientTimeout, TCPConnector  # noqa: PLC0415 - optional

    async with ClientSession(
        connector=TCPConnector(limit=0), auto_decompress=False, timeout=ClientTimeout(30, sock_read=10)
    ) as session:

        async def fetch(url: str, headers: Headers) -> tuple[Headers, bytes]:
            fields = [(name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in headers]
            async with session.get(url, headers=fields) as response:
                return list(response.raw_headers), await response.read()

        yield fetch


@asynccontextmanager
async def pyreqwest() -> AsyncIterator[Fetch]:
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - optional

    async with ClientBuilder().build() as client:

        async def fetch(url: str, headers: Headers) -> tuple[Headers, bytes]:
            fields = [(name.decode(), value.decode("latin-1")) for name, value in headers]
            response = await client.get(url).headers(fields).build().send()
            body = await response.bytes()
            return [(name.encode(), value.encode("latin-1")) for name, value in response.headers.items()], bytes(body)

        yield fetch


async def rate(fetch: Fetch, url: str, seconds: float) -> tuple[float, float]:
    """Requests per second, and microseconds of CPU per request."""
    count = 0
    deadline = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal count
        while time.perf_counter() < deadline:
            _, body = await fetch(url, [(b"x-request-id", b"0123456789abcdef")])
            count += len(body) == len(JSON)

    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    elapsed = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return count / elapsed, cpu / count * 1e6


async def fidelity(fetch: Fetch, base: str) -> str:
    """Whether header bytes outside ASCII are preserved in responses and requests."""
    try:
        headers, _ = await fetch(base + "/odd", [])
        response = "same" if dict(headers).get(b"x-odd") == ODD else "changed"
    except Exception as error:  # noqa: BLE001 - any failure is a result
        response = type(error).__name__
    try:
        _, body = await fetch(base + "/echo", [(b"x-odd", ODD)])
        request = "same" if body == ODD else "changed"
    except Exception as error:  # noqa: BLE001
        request = type(error).__name__
    return f"response: {response}; request: {request}"


async def compare(base: str, seconds: float) -> None:
    clients = {"gateway": gateway, "aiohttp": aiohttp, "pyreqwest": pyreqwest}
    async with AsyncExitStack() as stack:
        fetches = {
            name: await stack.enter_async_context(make())
            for name, make in clients.items()
            if name == "gateway" or find_spec(name)
        }
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in fetches}
        for _ in range(ROUNDS):
            for name, fetch in fetches.items():
                measured[name].append(await rate(fetch, base + "/json", seconds))
        reference = median(speed for speed, _ in measured["gateway"])
        print(f"{'client':<12}{'requests/s':>12}{'ratio':>8}{'CPU us':>8}  header bytes outside ASCII")
        for name, fetch in fetches.items():
            speed, cpu = (median(values) for values in zip(*measured[name], strict=True))
            print(f"{name:<12}{speed:>12,.0f}{speed / reference:>8.2f}{cpu:>8.0f}  {await fidelity(fetch, base)}")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    with run() as base:
        uvloop.run(compare(base, seconds))


if __name__ == "__main__":
    main()

"""Compares HTTP clients for the way to a backend: `python benchmarks/clients.py [seconds for each round]`.

Each is asked for the same 1.8 kB of JSON by 32 callers at once, in short rounds that take turns so that a busy moment
of the machine hits all alike. The origin is a raw socket in a process of its own. Speed first, then fidelity.
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

from benchmarks.origin import JSON, ODD, running
from routing.backend.client import Backend, Call
from routing.http import Headers
from routing.router.policy import Target, Timeout

CONCURRENCY: Final = 32
ROUNDS: Final = 5
Fetch = Callable[[str, Headers], Awaitable[tuple[Headers, bytes]]]
"""Asks for an address with these fields; answers the fields and the whole body."""


@asynccontextmanager
async def ours() -> AsyncIterator[Fetch]:
    backend = Backend()
    timeout = Timeout()

    async def fetch(url: str, headers: Headers) -> tuple[Headers, bytes]:
        base, _, path = url.rpartition("/")
        answer = await backend.send(Target(base), Call("GET", b"/" + path.encode(), headers, None), timeout)
        return answer.headers, b"".join([data async for data in answer.body])

    yield fetch
    await backend.close()


@asynccontextmanager
async def aiohttp() -> AsyncIterator[Fetch]:
    from aiohttp import ClientSession, ClientTimeout, TCPConnector  # noqa: PLC0415 - it may not be installed

    async with ClientSession(
        connector=TCPConnector(limit=0), auto_decompress=False, timeout=ClientTimeout(30, sock_read=10)
    ) as session:

        async def fetch(url: str, headers: Headers) -> tuple[Headers, bytes]:
            fields = [(name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in headers]
            async with session.get(url, headers=fields) as answer:
                return list(answer.raw_headers), await answer.read()

        yield fetch


@asynccontextmanager
async def pyreqwest() -> AsyncIterator[Fetch]:
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - it may not be installed

    async with ClientBuilder().build() as client:

        async def fetch(url: str, headers: Headers) -> tuple[Headers, bytes]:
            fields = [(name.decode(), value.decode("latin-1")) for name, value in headers]
            answer = await client.get(url).headers(fields).build().send()
            body = await answer.bytes()
            return [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()], bytes(body)

        yield fetch


async def rate(fetch: Fetch, url: str, seconds: float) -> tuple[float, float]:
    """Requests a second, and microseconds of CPU for each."""
    count = 0
    until = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal count
        while time.perf_counter() < until:
            _, body = await fetch(url, [(b"x-request-id", b"0123456789abcdef")])
            count += len(body) == len(JSON)

    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    took = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return count / took, cpu / count * 1e6


async def verdict(fetch: Fetch, base: str) -> str:
    """Whether header bytes outside ASCII survive, in the answer and in the request."""
    try:
        headers, _ = await fetch(base + "/odd", [])
        down = "same" if dict(headers).get(b"x-odd") == ODD else "changed"
    except Exception as error:  # noqa: BLE001 - the comparison is about what goes wrong
        down = type(error).__name__
    try:
        _, body = await fetch(base + "/echo", [(b"x-odd", ODD)])
        up = "same" if body == ODD else "changed"
    except Exception as error:  # noqa: BLE001
        up = type(error).__name__
    return f"answer: {down}; request: {up}"


async def compare(base: str, seconds: float) -> None:
    clients = {"ours": ours, "aiohttp": aiohttp, "pyreqwest": pyreqwest}
    async with AsyncExitStack() as stack:
        fetches = {
            name: await stack.enter_async_context(make())
            for name, make in clients.items()
            if name == "ours" or find_spec(name)
        }
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in fetches}
        for _ in range(ROUNDS):
            for name, fetch in fetches.items():
                measured[name].append(await rate(fetch, base + "/json", seconds))
        first = median(speed for speed, _ in measured["ours"])
        print(f"{'client':<12}{'requests/s':>12}{'ratio':>8}{'CPU us':>8}  header bytes outside ASCII")
        for name, fetch in fetches.items():
            speed, cpu = (median(values) for values in zip(*measured[name], strict=True))
            fidelity = await verdict(fetch, base)
            print(f"{name:<12}{speed:>12,.0f}{speed / first:>8.2f}{cpu:>8.0f}  {fidelity}")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    with running() as base:
        uvloop.run(compare(base, seconds))


if __name__ == "__main__":
    main()

"""An asyncio load generator: concurrent clients with one kept-alive connection each, in a closed or an open loop."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_GATEWAY_MS: Final = re.compile(rb"\r\nserver-timing: *gateway;dur=([0-9.]+)", re.IGNORECASE)


class Sample(NamedTuple):
    """One request. `started` and `ended` are monotonic seconds, a clock shared by all processes; `gateway_ms` is the
    gateway's own time by its Server-Timing field.
    """

    started: float
    ended: float
    status: int
    gateway_ms: float


class Client:
    """Sends GET requests for one URL. Connections are opened beforehand, so that all clients can start at once."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._request = f"GET {parts.path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n".encode()

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def request(self) -> Sample:
        started = time.monotonic()
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        await self._reader.readexactly(int(length[1]) if length else 0)
        gateway_ms = _GATEWAY_MS.search(head)
        return Sample(started, time.monotonic(), int(head[9:12]), float(gateway_ms[1]) if gateway_ms else 0.0)

    def close(self) -> None:
        self._writer.close()


async def closed_loop(
    url: str, key: str, concurrency: int, proceed: Callable[[Sample], bool], pause: float = 0.0
) -> list[Sample]:
    """Start `concurrency` clients at once; each repeats its request, after `pause` seconds, while `proceed(sample)`."""
    clients, samples = [Client(url, key) for _ in range(concurrency)], list[Sample]()
    for client in clients:
        await client.open()

    async def run(client: Client) -> None:
        while True:
            samples.append(await client.request())
            if not proceed(samples[-1]):
                return
            await asyncio.sleep(pause)

    await asyncio.gather(*(run(client) for client in clients))
    for client in clients:
        client.close()
    return samples


async def open_loop(url: str, key: str, rate: float, seconds: float) -> list[Sample]:
    """Send `rate` requests per second, independently of the responses. Requests unanswered a second after the end are
    dropped.
    """
    samples, idle, clients = list[Sample](), list[Client](), set[Client]()

    async def send() -> None:
        client = idle.pop() if idle else Client(url, key)
        if client not in clients:
            clients.add(client)
            await client.open()
        samples.append(await client.request())
        idle.append(client)

    started, tasks = time.monotonic(), list[asyncio.Task[None]]()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(send()))
    await asyncio.wait(tasks, timeout=1.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for client in clients:
        client.close()
    return samples

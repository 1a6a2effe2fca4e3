"""Many clients at once, each on one kept connection: what each of their requests came to, and when."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OURS: Final = re.compile(rb"\r\nserver-timing: *gateway;dur=([0-9.]+)", re.IGNORECASE)


class Answer(NamedTuple):
    """`begun` and `ended` are monotonic seconds, one clock for all processes; `ours` is the gateway's milliseconds."""

    begun: float
    ended: float
    status: int
    ours: float


class Client:
    """Asks for one address. `open` comes first, so that all can then ask at once."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._asked = f"GET {parts.path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n".encode()

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def ask(self) -> Answer:
        begun = time.monotonic()
        self._writer.write(self._asked)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        await self._reader.readexactly(int(length[1]) if length else 0)
        ours = _OURS.search(head)
        return Answer(begun, time.monotonic(), int(head[9:12]), float(ours[1]) if ours else 0.0)

    def close(self) -> None:
        self._writer.close()


async def crowd(url: str, key: str, size: int, goes_on: Callable[[Answer], bool], pause: float = 0.0) -> list[Answer]:
    """`size` clients, who all begin at once; each asks again, `pause` seconds after an answer, while `goes_on`."""
    clients, answers = [Client(url, key) for _ in range(size)], list[Answer]()
    for client in clients:
        await client.open()

    async def goes(client: Client) -> None:
        while True:
            answers.append(await client.ask())
            if not goes_on(answers[-1]):
                return
            await asyncio.sleep(pause)

    await asyncio.gather(*(goes(client) for client in clients))
    for client in clients:
        client.close()
    return answers


async def steadily(url: str, key: str, rate: float, seconds: float) -> list[Answer]:
    """`rate` requests a second whether they are answered or not, as strangers send them; the unanswered are left."""
    answers, idle, clients = list[Answer](), list[Client](), set[Client]()

    async def one() -> None:
        client = idle.pop() if idle else Client(url, key)
        if client not in clients:
            clients.add(client)
            await client.open()
        answers.append(await client.ask())
        idle.append(client)

    begun, asked = time.monotonic(), list[asyncio.Task[None]]()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        asked.append(asyncio.create_task(one()))
    await asyncio.wait(asked, timeout=1.0)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    for client in clients:
        client.close()
    return answers

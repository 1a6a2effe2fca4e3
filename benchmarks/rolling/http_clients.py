"""Requests at a fixed rate over persistent connections: cached responses, responses of the backend, and uploads."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

CONNECTIONS: Final = 64
TIMEOUT_SECONDS: Final = 30.0
UPLOAD: Final = b"x" * 64_000
_KINDS: Final = ("hit", "hit", "hit", "miss", "upload")
_PATHS: Final = {"hit": "/api/v1/bench/small", "miss": "/api/v1/bench/miss/small", "upload": "/api/v1/bench/echo"}


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered by 200. Times are of `time.perf_counter`."""

    kind: str
    sent_at: float
    failed_at: float
    reason: str

    def was_in_flight(self, begin: float, end: float) -> bool:
        """Whether it was in flight at any time of this period."""
        return self.sent_at <= end and begin <= self.failed_at


@dataclass(slots=True)
class Outcome:
    sent: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)


class HttpClients:
    """`outcome` is what has become of the requests so far."""

    def __init__(self, address: str, key: str) -> None:
        parts = urlsplit(address)
        self._host, self._port, self._key = str(parts.hostname), int(parts.port or 80), key
        self._idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            self._idle.put_nowait(None)
        self.outcome = Outcome()

    async def run(self, rate: float, ended: asyncio.Event) -> None:
        """Send `rate` requests a second until `ended`, each when it is due."""
        began, number, sending = time.perf_counter(), 0, set[asyncio.Task[None]]()
        while not ended.is_set():
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            task = asyncio.create_task(self._send(_KINDS[number % len(_KINDS)]))
            sending.add(task)
            task.add_done_callback(sending.discard)
            number += 1
        await asyncio.gather(*sending)
        while not self._idle.empty():
            if connection := self._idle.get_nowait():
                connection[1].close()

    async def _send(self, kind: str) -> None:
        connection = await self._idle.get()
        self.outcome.sent[kind] += 1
        sent_at, reason = time.perf_counter(), ""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                connection, status, body = await self._exchange(connection, self._request(kind))
            if status != b"200":
                reason = f"status {status.decode()}: {body[:200].decode(errors='replace')}"
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            connection, reason = None, type(error).__name__
        self._idle.put_nowait(connection)
        if reason:
            self.outcome.failures.append(Failure(kind, sent_at, time.perf_counter(), reason))

    async def _exchange(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None, request: bytes
    ) -> tuple[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None, bytes, bytes]:
        """The connection, if it persists, the status and the body."""
        if connection is not None and connection[0].at_eof():  # closed by the server while it was idle
            connection[1].close()
            connection = None
        reader, writer = connection or await asyncio.open_connection(self._host, self._port)
        persists = False
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            body = await reader.readexactly(int(length or 0))
            persists = bool(length) and b"\r\nconnection: close\r\n" not in head
        finally:
            if not persists:
                writer.close()
        return (reader, writer) if persists else None, head[9:12], body

    def _request(self, kind: str) -> bytes:
        method, body = ("POST", UPLOAD) if kind == "upload" else ("GET", b"")
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {_PATHS[kind]} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {self._key}\r\n{length}\r\n"
        return head.encode() + body

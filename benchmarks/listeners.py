"""Many sockets in a process of their own, as cheap as a client can be: what is measured is what they listen to."""

import asyncio
import json
import multiprocessing
import os
import time
from array import array
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Final, cast

import uvloop

TOPIC: Final = "bench"
OPENING: Final = 32
"""Handshakes at once."""
_NUMBER: Final = b'"n":'
_TIME: Final = b'"at":'
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA


@dataclass(frozen=True)
class Dialect:
    """How a server is spoken to: messages by how they begin, and what is said in answer to each."""

    path: str
    headers: tuple[str, ...] = ()
    opening: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    ready: str = ""
    """Begins the message after which events come."""


def gateway(key: str) -> Dialect:
    subscribe = json.dumps({"type": "subscribe", "topics": [TOPIC]})
    return Dialect("/ws/events/", (f"X-API-Key: {key}",), subscribe, ready='{"type":"subscribed"')


def socket_io() -> Dialect:
    """Engine.IO 4: `0` opens and `40` joins, a ping is `2` and its answer `3`, an event `42[...]`."""
    return Dialect("/socket.io/?EIO=4&transport=websocket", answers={"0": "40", "2": "3"}, ready="40{")


class Counts:
    """Of all sockets of one process. `waits` are seconds from publishing to receipt."""

    def __init__(self) -> None:
        self.waits = array("d")
        self.parsed: dict[bytes, tuple[int, float]] = {}

    def event(self, payload: bytes) -> tuple[int, float]:
        """The number and time in an event: most sockets get the same bytes, which are looked into once."""
        found = self.parsed.get(payload)
        if found is None:
            if len(self.parsed) > 1_000:
                self.parsed.clear()
            at = payload.index(_NUMBER) + len(_NUMBER)
            since = payload.index(_TIME) + len(_TIME)
            number = int(payload[at : payload.index(b",", at)])
            found = self.parsed[payload] = number, float(payload[since : payload.index(b"}", since)])
        return found


class Listener(asyncio.Protocol):
    """One socket. `expected` is the number of the next event; one that was not in its turn is a fault."""

    def __init__(self, dialect: Dialect, counts: Counts, opened: "asyncio.Future[None]") -> None:
        self._dialect = dialect
        self._counts = counts
        self._opened = opened
        self._buffer = b""
        self._upgraded = False
        self.expected = 0
        self.faults = 0
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        fields = "".join(f"{line}\r\n" for line in self._dialect.headers)
        self._transport.write(
            f"GET {self._dialect.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{fields}\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self._opened.done():
            self._opened.set_exception(exc or ConnectionError("closed before it was ready"))

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        if not self._upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            self._begin(head)
        self._buffer = self._frames(data)

    def _begin(self, head: bytes) -> None:
        self._upgraded = True
        if b" 101 " not in head.partition(b"\r\n")[0]:
            self._opened.set_exception(ConnectionError(head.decode("latin-1")))
            self._transport.abort()
        elif self._dialect.opening:
            self._say(self._dialect.opening.encode())

    def _frames(self, data: bytes) -> bytes:
        """Takes each whole frame, and returns what is left. A server's frames are not masked."""
        at, size = 0, len(data)
        while size - at >= 2:
            length, begin = data[at + 1], at + 2
            if length == 126:
                length, begin = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, begin = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if begin + length > size:
                break
            self._frame(data[at] & 0xF, data[begin : begin + length])
            at = begin + length
        return data[at:]

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind == _PING:
            self._say(payload, _PONG)
        if kind != _TEXT:
            return
        if _TIME in payload:
            number, at = self._counts.event(payload)
            self.faults += number != self.expected
            self.expected = number + 1
            self._counts.waits.append(time.time() - at)
            return
        text = payload.decode()
        if not self._opened.done() and text.startswith(self._dialect.ready):
            self._opened.set_result(None)
            return
        answer = self._dialect.answers.get(text[:1])
        if answer is not None:
            self._say(answer.encode())

    def _say(self, payload: bytes, kind: int = _TEXT) -> None:
        """Masked with zeros, which leave the payload as it is."""
        assert len(payload) < 126
        self._transport.write(bytes([0x80 | kind, 0x80 | len(payload), 0, 0, 0, 0]) + payload)


@dataclass(frozen=True)
class Report:
    """What came to one process's sockets since the last report."""

    complete: int
    """Sockets that got every event once, in order."""
    sockets: int
    waits: bytes
    """Doubles."""
    cpu: float


class Listeners:
    """A process with `count` sockets on `port`; made from the parent, which measures."""

    def __init__(self, port: int, count: int, dialect: Dialect) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        arguments = (theirs, port, count, dialect)
        self._process = multiprocessing.get_context("spawn").Process(target=_run, args=arguments, daemon=True)
        self._process.start()

    def wait(self) -> None:
        """Until every socket hears."""
        said = self._pipe.recv()
        if said != "ready":
            raise SystemExit(f"a socket was not opened: {said}")

    def ask(self, wanted: int) -> Report:
        """Each socket should have got the events from 0 to before `wanted`; the next begin at 0 again."""
        self._pipe.send(wanted)
        report: Report = self._pipe.recv()
        return report

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _run(pipe: Connection, port: int, count: int, dialect: Dialect) -> None:
    uvloop.run(_listen(pipe, port, count, dialect))


async def _listen(pipe: Connection, port: int, count: int, dialect: Dialect) -> None:
    loop, counts = asyncio.get_running_loop(), Counts()
    listeners: list[Listener] = []
    waiting: deque[asyncio.Future[None]] = deque()
    try:
        for _ in range(count):
            opened: asyncio.Future[None] = loop.create_future()
            listener = Listener(dialect, counts, opened)
            await loop.create_connection(partial(_same, listener), "127.0.0.1", port)
            listeners.append(listener)
            waiting.append(opened)
            while len(waiting) > OPENING:
                await waiting.popleft()
        await asyncio.gather(*waiting)
    except OSError as error:
        pipe.send(str(error))
        return
    pipe.send("ready")
    spent = _cpu()
    while True:
        wanted: int = await asyncio.to_thread(pipe.recv)
        complete = sum(each.expected == wanted and not each.faults and not each.closed for each in listeners)
        before, spent = spent, _cpu()
        pipe.send(Report(complete, len(listeners), counts.waits.tobytes(), spent - before))
        counts.waits = array("d")
        for each in listeners:
            each.expected = each.faults = 0


def _same(listener: Listener) -> Listener:
    return listener


def _cpu() -> float:
    times = os.times()
    return times.user + times.system

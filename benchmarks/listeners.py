"""Many WebSocket clients in a separate process, with as little overhead as possible for each event received."""

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
HANDSHAKES: Final = 32
"""Concurrent handshakes."""
_NUMBER: Final = b'"n":'
_TIME: Final = b'"at":'
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA


@dataclass(frozen=True)
class Protocol:
    """A server's message protocol. `opening` is sent first; `replies` are by the first character of a message."""

    path: str
    headers: tuple[str, ...] = ()
    opening: str = ""
    replies: dict[str, str] = field(default_factory=dict)
    ready: str = ""
    """Prefix of the message that confirms the subscription."""


def gateway(key: str) -> Protocol:
    subscribe = json.dumps({"type": "subscribe", "topics": [TOPIC]})
    return Protocol("/ws/events/", (f"X-API-Key: {key}",), subscribe, ready='{"type":"subscribed"')


def socket_io() -> Protocol:
    """Engine.IO 4: `0` opens and `40` connects, `2` is a ping and `3` its pong, `42[...]` an event."""
    return Protocol("/socket.io/?EIO=4&transport=websocket", replies={"0": "40", "2": "3"}, ready="40{")


class Measurements:
    """Shared by all sockets of one process. `latencies`: seconds from publishing to receipt."""

    def __init__(self) -> None:
        self.latencies = array("d")
        self.parsed: dict[bytes, tuple[int, float]] = {}

    def parse(self, payload: bytes) -> tuple[int, float]:
        """The number and publishing time of an event. Memoised, since most sockets receive identical bytes."""
        event = self.parsed.get(payload)
        if event is None:
            if len(self.parsed) > 1_000:
                self.parsed.clear()
            at = payload.index(_NUMBER) + len(_NUMBER)
            time_at = payload.index(_TIME) + len(_TIME)
            number = int(payload[at : payload.index(b",", at)])
            event = self.parsed[payload] = number, float(payload[time_at : payload.index(b"}", time_at)])
        return event


class Listener(asyncio.Protocol):
    """One socket. `expected` is the number of the next event; `out_of_order` counts events with another number."""

    def __init__(self, protocol: Protocol, measurements: Measurements, opened: "asyncio.Future[None]") -> None:
        self._protocol = protocol
        self._measurements = measurements
        self._opened = opened
        self._buffer = b""
        self._upgraded = False
        self.expected = 0
        self.out_of_order = 0
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        fields = "".join(f"{line}\r\n" for line in self._protocol.headers)
        self._transport.write(
            f"GET {self._protocol.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{fields}\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self._opened.done():
            self._opened.set_exception(exc or ConnectionError("closed before the subscription was confirmed"))

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        if not self._upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            self._upgrade(head)
        self._buffer = self._parse_frames(data)

    def _upgrade(self, head: bytes) -> None:
        self._upgraded = True
        if b" 101 " not in head.partition(b"\r\n")[0]:
            self._opened.set_exception(ConnectionError(head.decode("latin-1")))
            self._transport.abort()
        elif self._protocol.opening:
            self._send(self._protocol.opening.encode())

    def _parse_frames(self, data: bytes) -> bytes:
        """Handle all complete frames and return the rest. A server's frames are not masked (RFC 6455 section 5.1)."""
        at, size = 0, len(data)
        while size - at >= 2:
            length, begin = data[at + 1], at + 2
            if length == 126:
                length, begin = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, begin = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if begin + length > size:
                break
            self._handle_frame(data[at] & 0xF, data[begin : begin + length])
            at = begin + length
        return data[at:]

    def _handle_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._send(payload, _PONG)
        if opcode != _TEXT:
            return
        if _TIME in payload:
            number, published_at = self._measurements.parse(payload)
            self.out_of_order += number != self.expected
            self.expected = number + 1
            self._measurements.latencies.append(time.time() - published_at)
            return
        text = payload.decode()
        if not self._opened.done() and text.startswith(self._protocol.ready):
            self._opened.set_result(None)
            return
        reply = self._protocol.replies.get(text[:1])
        if reply is not None:
            self._send(reply.encode())

    def _send(self, payload: bytes, opcode: int = _TEXT) -> None:
        """Send a frame masked with zeros, which leaves the payload unchanged."""
        assert len(payload) < 126
        self._transport.write(bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload)


@dataclass(frozen=True)
class Report:
    """The events received by one process since the last report."""

    complete: int
    """Sockets that received every event once and in order."""
    sockets: int
    latencies: bytes
    """An array of doubles."""
    cpu_seconds: float


class ListenerProcess:
    """A child process with `count` sockets connected to `port`."""

    def __init__(self, port: int, count: int, protocol: Protocol) -> None:
        self._pipe, child = multiprocessing.Pipe()
        arguments = (child, port, count, protocol)
        self._process = multiprocessing.get_context("spawn").Process(target=_run, args=arguments, daemon=True)
        self._process.start()

    def wait(self) -> None:
        """Wait until every socket is subscribed."""
        message = self._pipe.recv()
        if message != "ready":
            raise SystemExit(f"a socket could not be opened: {message}")

    def report(self, events: int) -> Report:
        """Report on the events 0 to `events` - 1, which each socket should have received, and start again at 0."""
        self._pipe.send(events)
        report: Report = self._pipe.recv()
        return report

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _run(pipe: Connection, port: int, count: int, protocol: Protocol) -> None:
    uvloop.run(_listen(pipe, port, count, protocol))


async def _listen(pipe: Connection, port: int, count: int, protocol: Protocol) -> None:
    loop, measurements = asyncio.get_running_loop(), Measurements()
    listeners: list[Listener] = []
    waiting: deque[asyncio.Future[None]] = deque()
    try:
        for _ in range(count):
            opened: asyncio.Future[None] = loop.create_future()
            listener = Listener(protocol, measurements, opened)
            await loop.create_connection(partial(_identity, listener), "127.0.0.1", port)
            listeners.append(listener)
            waiting.append(opened)
            while len(waiting) > HANDSHAKES:
                await waiting.popleft()
        await asyncio.gather(*waiting)
    except OSError as error:
        pipe.send(str(error))
        return
    pipe.send("ready")
    cpu = _cpu_seconds()
    while True:
        events: int = await asyncio.to_thread(pipe.recv)
        complete = sum(each.expected == events and not each.out_of_order and not each.closed for each in listeners)
        before, cpu = cpu, _cpu_seconds()
        pipe.send(Report(complete, len(listeners), measurements.latencies.tobytes(), cpu - before))
        measurements.latencies = array("d")
        for each in listeners:
            each.expected = each.out_of_order = 0


def _identity(listener: Listener) -> Listener:
    return listener


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system

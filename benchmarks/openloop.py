"""Requests at a fixed rate, whatever the answers take: each is timed from when it was due, not from when it could go.

A client that waits for an answer before it asks again does not see the requests it would have made meanwhile
(coordinated omission). Here a request that finds every connection busy waits, and its wait counts. One thread on bare
sockets and `select`, whose timeouts are exact to microseconds where an event loop's are to milliseconds.
"""

import ctypes
import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

CONNECTIONS: Final = 64
PATIENCE: Final = 30.0
PR_SET_TIMERSLACK: Final = 29
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Played(NamedTuple):
    """Seconds from each request's due time to the end of its answer; from due to sent; answers other than 200."""

    latencies: list[float]
    lateness: list[float]
    refused: int


def due(number: int, begun: float, rate: float) -> float:
    """When request `number` of a schedule is to be sent."""
    return begun + number / rate


def request(url: str, key: str) -> bytes:
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nX-API-Key: {key}\r\n\r\n".encode()


class Line:
    """One kept-alive connection and the answer that is on its way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.due = 0.0
        self.status = b""
        self._received = bytearray()
        self._whole = 0
        self._socket = socket.create_connection(address, timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, asking: bytes, when: float) -> None:
        self.due = when
        self._socket.send(asking)

    def receive(self) -> bool:
        """Whether the answer is whole. Raises ConnectionError when the server hung up, ValueError for no length."""
        data = self._socket.recv(262_144)
        if not data:
            raise ConnectionError("the server closed a connection")
        self._received += data
        if not self._whole:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return False
            length = _LENGTH.search(self._received, 0, end + 2)
            if length is None:
                raise ValueError("an answer without its length")
            self.status = bytes(self._received[9:12])
            self._whole = end + 4 + int(length[1])
        if len(self._received) < self._whole:
            return False
        self._received.clear()
        self._whole = 0
        return True

    def close(self) -> None:
        self._socket.close()


class Players:
    """Connections to one server, opened and used once before anything is timed."""

    def __init__(self, url: str, key: str, connections: int = CONNECTIONS) -> None:
        parts = urlsplit(url)
        self._asking = request(url, key)
        self._lines = [Line((parts.hostname or "", parts.port or 80)) for _ in range(connections)]

    def __enter__(self) -> Self:
        try:
            for line in self._lines:
                line.send(self._asking, 0.0)
                while not (select.select([line], [], [], PATIENCE)[0] and line.receive()):
                    pass
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._lines:
            line.close()

    def play(self, rate: float, count: int, clock: Callable[[], float] = time.perf_counter) -> Played:
        """`count` requests at `rate` a second. Raises TimeoutError when answers stop coming."""
        idle, busy = list(self._lines), set[Line]()
        waiting: deque[float] = deque()
        played = Played([], [], 0)
        sent, refused, begun = 0, 0, clock() + 0.01
        while len(played.latencies) < count:
            now = clock()
            while sent < count and due(sent, begun, rate) <= now:
                waiting.append(due(sent, begun, rate))
                sent += 1
            while waiting and idle:
                line = idle.pop()
                played.lateness.append(clock() - waiting[0])
                line.send(self._asking, waiting.popleft())
                busy.add(line)
            ahead = due(sent, begun, rate) - clock() if sent < count else PATIENCE
            ready, _, _ = select.select(busy, [], [], max(0.0, ahead))
            if not ready and sent == count:
                raise TimeoutError("answers stopped coming")
            for line in ready:
                if line.receive():
                    played.latencies.append(clock() - line.due)
                    refused += line.status != b"200"
                    busy.remove(line)
                    idle.append(line)
        return played._replace(refused=refused)


def exact_timers() -> None:
    """Ask the kernel not to round this thread's timeouts up by its usual 50 us."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)

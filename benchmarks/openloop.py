"""An open-loop client: requests at a fixed rate, each timed from when it was due, not from when it was sent.

A client that waits for a response before it sends the next request leaves out the requests it would have sent meanwhile
(coordinated omission). Here a request that finds every connection busy is queued, and its latency includes the wait.
One thread with plain sockets and `select`: its timeouts are exact to microseconds, an event loop's to milliseconds.
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
TIMEOUT_SECONDS: Final = 30.0
PR_SET_TIMERSLACK: Final = 29
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class RunResult(NamedTuple):
    """`latencies`: seconds from due time to the end of the response; `delays`: seconds from due time to sending;
    `errors`: number of responses other than 200.
    """

    latencies: list[float]
    delays: list[float]
    errors: int


def due_at(number: int, started: float, rate: float) -> float:
    """When request `number` of a schedule is due."""
    return started + number / rate


def encode_request(url: str, key: str) -> bytes:
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nX-API-Key: {key}\r\n\r\n".encode()


class Connection:
    """One kept-alive connection and the response being received on it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.due = 0.0
        self.status = b""
        self._received = bytearray()
        self._length = 0
        self._socket = socket.create_connection(address, timeout=TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self._socket.send(request)

    def receive(self) -> bool:
        """Whether the response is complete.

        Raises ConnectionError if the server closed the connection, ValueError for a response without Content-Length.
        """
        data = self._socket.recv(262_144)
        if not data:
            raise ConnectionError("the server closed a connection")
        self._received += data
        if not self._length:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return False
            length = _LENGTH.search(self._received, 0, end + 2)
            if length is None:
                raise ValueError("a response without Content-Length")
            self.status = bytes(self._received[9:12])
            self._length = end + 4 + int(length[1])
        if len(self._received) < self._length:
            return False
        self._received.clear()
        self._length = 0
        return True

    def close(self) -> None:
        self._socket.close()


class OpenLoopClient:
    """A pool of connections to one server; each is opened and used once before anything is timed."""

    def __init__(self, url: str, key: str, connections: int = CONNECTIONS) -> None:
        parts = urlsplit(url)
        self._request = encode_request(url, key)
        self._connections = [Connection((parts.hostname or "", parts.port or 80)) for _ in range(connections)]

    def __enter__(self) -> Self:
        try:
            for connection in self._connections:
                connection.send(self._request, 0.0)
                while not (select.select([connection], [], [], TIMEOUT_SECONDS)[0] and connection.receive()):
                    pass
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def run(self, rate: float, count: int, clock: Callable[[], float] = time.perf_counter) -> RunResult:
        """Send `count` requests at `rate` per second. Raises TimeoutError if responses stop arriving.

        Connections are used in turn: a server closes one that is idle for a minute.
        """
        idle, busy = deque(self._connections), set[Connection]()
        queue: deque[float] = deque()
        result = RunResult([], [], 0)
        scheduled, errors, started = 0, 0, clock() + 0.01
        while len(result.latencies) < count:
            now = clock()
            while scheduled < count and due_at(scheduled, started, rate) <= now:
                queue.append(due_at(scheduled, started, rate))
                scheduled += 1
            while queue and idle:
                connection = idle.popleft()
                result.delays.append(clock() - queue[0])
                connection.send(self._request, queue.popleft())
                busy.add(connection)
            timeout = due_at(scheduled, started, rate) - clock() if scheduled < count else TIMEOUT_SECONDS
            ready, _, _ = select.select(busy, [], [], max(0.0, timeout))
            if not ready and scheduled == count:
                raise TimeoutError("responses stopped arriving")
            for connection in ready:
                if connection.receive():
                    result.latencies.append(clock() - connection.due)
                    errors += connection.status != b"200"
                    busy.remove(connection)
                    idle.append(connection)
        return result._replace(errors=errors)


def minimise_timer_slack() -> None:
    """Keep the kernel from extending this thread's timeouts by the default 50 us."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)

"""Clients that abuse the gateway at fixed rates, from loopback addresses of their own: for benchmarks.abuse.

All run on one event loop, in a process of their own. Each goes on until it is cancelled, counts the statuses it gets,
and replaces a connection that was lost.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from multiprocessing.connection import Connection
from typing import Final, NamedTuple, cast

import uvloop

PROXY: Final = "127.0.0.250"
"""An address that the gateway trusts as a proxy."""
DRIPS: Final = 24
"""Uploads at a time, of a byte a second."""
NON_READERS: Final = 12
HALF_OPEN: Final = 60
"""Connections at a time, half of which send nothing, and half an incomplete head."""
HALF_OPEN_SECONDS: Final = 20.0
FLOOD_CONNECTIONS: Final = 6
"""Of each flood. A connection sends its next request when it has the response, PAUSE_SECONDS later."""
PAUSE_SECONDS: Final = 0.1
NICENESS: Final = 10
LOST: Final = 0
"""Counted in place of a status."""

_KEY: Final = "gw_" + "a" * 8 + "_" + "b" * 43
_FORWARDED: Final = ("203.0.113.8, [2001:db8::1]:443, x, " * 1_000)[:32_000]
_TOPIC: Final = "doc:" + "a/b" * 12 + "/" * 25
_NESTED: Final = "[" * 20_000
_LOGIN: Final = "username=admin&password=guess"
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Work = Callable[[Stream], Awaitable[None]]


class Target(NamedTuple):
    """The gateway. `key` has the scope `metrics:read`; the service `abused` needs none."""

    port: int
    key: str


def encode(method: str, path: str, fields: dict[str, str] | None = None, body: str = "") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def floods(key: str) -> dict[str, bytes]:
    """Requests that are repeated, by the name of their flood."""
    good, bad = {"X-API-Key": key}, {"X-API-Key": _KEY}
    return {
        "login page": encode("GET", "/admin/login/"),
        "login": encode("POST", "/admin/login/", _FORM, _LOGIN),
        "schema": encode("GET", "/api/schema"),
        "static file": encode("GET", "/static/admin/css/base.css"),
        "bad key, /metrics": encode("GET", "/metrics", bad),
        "bad key, /api/v1": encode("GET", "/api/v1/bench/small", bad),
        "nested JSON": encode("POST", "/api/explain", {**good, "Content-Type": "application/json"}, _NESTED),
    }


async def read_response(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Its status, and whether the connection can be used again. Raises IncompleteReadError."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, has_length, rest = head.partition(b"\r\ncontent-length:")
    if has_length:
        await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
    elif b"\r\ntransfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    return int(head[9:12]), b"\r\nconnection: close" not in head


class Abusers:
    """Each kind has an address of its own. `counts` are responses by kind and status."""

    def __init__(self, target: Target) -> None:
        self.counts = Counter[tuple[str, int]]()
        self._target = target
        self._addresses = (f"127.0.0.{number}" for number in range(2, 250))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name, number, work in self._kinds():
                address = PROXY if name == "long X-Forwarded-For" else next(self._addresses)
                for _ in range(number):
                    group.create_task(self._repeat(name, address, work))

    def _kinds(self) -> Iterator[tuple[str, int, Work]]:
        """Name, number at a time, and what each does with a connection."""
        yield "dripping upload", DRIPS, self._drip
        yield "non-reader", NON_READERS, self._read_nothing
        yield "half-open, nothing sent", HALF_OPEN // 2, lambda stream: self._send_half(stream, b"")
        yield "half-open, half a head", HALF_OPEN // 2, lambda stream: self._send_half(stream, b"GET / HTTP/1.1\r\nHo")
        yield "topic patterns", 2, self._subscribe
        long = encode("GET", "/api/v1/bench/small", {"X-Forwarded-For": _FORWARDED, "X-API-Key": self._target.key})
        yield "long X-Forwarded-For", 2, self._flood("long X-Forwarded-For", long)
        for name, request in floods(self._target.key).items():
            yield name, FLOOD_CONNECTIONS, self._flood(name, request)

    async def _repeat(self, name: str, address: str, work: Work) -> None:
        while True:
            try:
                async with self._connection(address) as stream:
                    await work(stream)
            except (OSError, EOFError, asyncio.LimitOverrunError):
                self.counts[name, LOST] += 1
            await asyncio.sleep(PAUSE_SECONDS)

    @contextlib.asynccontextmanager
    async def _connection(self, address: str) -> AsyncIterator[Stream]:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)  # so that non-readers fill it
        try:
            sock.bind((address, 0))
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._target.port))
            reader, writer = await asyncio.open_connection(sock=sock, limit=16_384)
        except BaseException:
            sock.close()
            raise
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def _flood(self, name: str, request: bytes) -> Work:
        async def work(stream: Stream) -> None:
            reader, writer = stream
            is_open = True
            while is_open:
                writer.write(request)
                status, is_open = await read_response(reader)
                self.counts[name, status] += 1
                await asyncio.sleep(PAUSE_SECONDS)

        return work

    async def _drip(self, stream: Stream) -> None:
        """A byte a second, until the gateway ends it."""
        reader, writer = stream
        writer.write(b"POST /api/v1/abused/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        response = asyncio.ensure_future(read_response(reader))
        try:
            while not response.done():
                writer.write(b"x")
                await asyncio.wait((response,), timeout=1.0)
            status, _ = await response
            self.counts["dripping upload", status] += 1
        finally:
            response.cancel()

    async def _read_nothing(self, stream: Stream) -> None:
        """Requests for 8 MB whose responses are not read, until the gateway resets the connection."""
        _, writer = stream
        transport = cast(asyncio.Transport, writer.transport)
        transport.pause_reading()
        writer.write(8 * encode("GET", "/api/v1/abused/large"))
        for _ in range(120):
            await asyncio.sleep(1.0)
            if transport.is_closing():
                break
            writer.write(b"\r\n")  # a connection that was reset shows it on writing
        self.counts["non-reader", LOST] += 1

    async def _send_half(self, stream: Stream, data: bytes) -> None:
        stream[1].write(data)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HALF_OPEN_SECONDS):
                await stream[0].read(1)

    async def _subscribe(self, stream: Stream) -> None:
        """Subscribe to patterns of many slashes, a message each PAUSE_SECONDS."""
        reader, writer = stream
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        upgrade |= {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "X-API-Key": self._target.key}
        writer.write(encode("GET", "/ws/events/", upgrade))
        status, _ = await read_response(reader)
        self.counts["topic patterns", status] += 1
        text = json.dumps({"type": "subscribe", "topics": [_TOPIC]}).encode()
        frame = b"\x81" + bytes((0x80 | 126,)) + len(text).to_bytes(2, "big") + bytes(4) + text
        while not reader.at_eof():
            writer.write(frame)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS):
                    await reader.read(4_096)


def run(target: Target, control: Connection) -> None:
    """Abuse the gateway until something is received on `control`; then send the counts. For a process of its own.

    Abusers have machines of their own. Here they give way to the gateway and to the callers that are measured.
    """
    os.nice(NICENESS)

    async def work() -> Abusers:
        abusers, stopped = Abusers(target), asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(control.fileno(), stopped.set)
        running = asyncio.ensure_future(abusers.run())
        waiting = asyncio.ensure_future(stopped.wait())
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        loop.remove_reader(control.fileno())
        if running.done():
            running.result()
        running.cancel()
        await asyncio.wait((running,))
        return abusers

    control.send(dict(uvloop.run(work()).counts))

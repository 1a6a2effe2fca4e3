"""A backend on a real socket that follows a test's script byte for byte, and records its requests."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from routing.router.policy import Target


@dataclass
class Received:
    """A request: the bytes of its head up to the empty line, and as much of the body as was read."""

    head: bytes
    body: bytes = b""

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n")[0]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        pairs = [line.partition(b": ") for line in self.head.split(b"\r\n")[1:] if line]
        return [(name.lower(), value) for name, _, value in pairs]


class Peer:
    """The origin's end of one connection, for a script to use."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Received) -> None:
        self.reader = reader
        self.writer = writer
        self.request = request

    async def read_body(self) -> bytes:
        """Read the body of the request, with either framing."""
        fields = dict(self.request.fields)
        if b"transfer-encoding" in fields:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                self.request.body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
        else:
            self.request.body += await self.reader.readexactly(int(fields.get(b"content-length", b"0")))
        return self.request.body

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        """Close gracefully: what was sent arrives."""
        self.writer.close()

    def reset(self) -> None:
        """Reset the connection."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the client has closed the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


Script = bytes | Callable[[Peer], Awaitable[None]]
"""How to handle one request: send these bytes once it is read, or anything a function does."""


class ScriptedOrigin:
    """Serves one script per request, in order and regardless of the connection; the last is repeated.

    async with ScriptedOrigin(b"HTTP/1.1 204 No Content\\r\\n\\r\\n") as origin:
        ... origin.target, origin.requests, origin.connections, origin.requested
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.requested = asyncio.Event()
        self._scripts = list(scripts)
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    @property
    def target(self) -> Target:
        return Target(self.url)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                await self._respond(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client disconnected, which the test sees itself
        finally:
            writer.transport.abort()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, Received((await reader.readuntil(b"\r\n\r\n"))[:-4]))
        self.requests.append(peer.request)
        self.requested.set()
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        if isinstance(script, bytes):
            await peer.read_body()
            await peer.send(script)
        else:
            await script(peer)

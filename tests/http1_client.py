"""A client of routing.http1 over an in-memory transport: what is sent is received at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from routing.asgi import ASGIApplication
from routing.http import Request, Response
from routing.http1.connection import Connection
from routing.http1.head_cache import HeadCache
from routing.http1.ticker import Ticker

RequestHandler = Callable[[Request], Response | Awaitable[Response] | None]


class MemoryTransport(asyncio.Transport):
    """The server's transport. `received` is what the client has received."""

    def __init__(self, peer: str = "192.0.2.1") -> None:
        super().__init__({"peername": (peer, 50_000), "sockname": ("192.0.2.80", 80)})
        self.received = b""
        self.eof_written = self.closed = self.aborted = False
        self.reading = True
        self.protocol: asyncio.Protocol | None = None

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        assert not self.eof_written, "write after write_eof"
        if self.closed:  # like uvloop's, once the connection is lost
            raise RuntimeError("the handler is closed")
        self.received += data

    def write_eof(self) -> None:
        self.eof_written = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if self.protocol is not None:
                self.protocol.connection_lost(None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast(asyncio.Protocol, protocol)


class Worker:
    """Implements `routing.http1.worker.Worker`. `upgraded_data` is what was handed over to WebSockets."""

    def __init__(self, handler: RequestHandler, application: ASGIApplication | None = None) -> None:
        self.handler = handler
        self.application = application or self._unexpected
        self.head_cache = HeadCache()
        self.draining = self.stopping = False
        self.keep_alive = 75.0
        self.connections: set[Any] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.ticker = Ticker(lambda: self.connections)
        self.upgraded_data: list[bytes] = []

    def upgrade_to_websocket(
        self, transport: asyncio.Transport, data: bytes, client: tuple[str, int] | None, scheme: str
    ) -> asyncio.Protocol:
        self.upgraded_data.append(data)
        return asyncio.Protocol()

    async def _unexpected(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the application was not expected to be called")


class Client:
    """One connection to `worker`."""

    def __init__(self, worker: Worker, peer: str = "192.0.2.1") -> None:
        self.worker = worker
        self.transport = MemoryTransport(peer)
        self.connection = Connection(worker, asyncio.get_running_loop())
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.transport.protocol.data_received(piece) if self.transport.protocol else None

    def disconnect(self) -> None:
        self.transport.close()

    @property
    def received(self) -> bytes:
        return self.transport.received

    async def settle(self) -> None:
        """Run all tasks that can make progress."""
        for _ in range(20):
            await asyncio.sleep(0)

    def idle_for(self, seconds: float) -> None:
        """Let time pass without any data."""
        self.connection.check_timeouts(self.worker.ticker.now + seconds)

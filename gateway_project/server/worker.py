"""A worker process: HTTP/1.1 on routing.http1, WebSockets on uvicorn's protocol, and one graceful shutdown for both."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import uvicorn

from gateway_project.server.lifespan import GRACE_SECONDS, unblock_signals
from gateway_project.server.websocket import WebSocket
from routing.asgi import ASGIApplication, RequestHandler
from routing.http1.connection import Connection
from routing.http1.head_cache import HeadCache
from routing.http1.ticker import Ticker

DRAIN_SECONDS: Final = 0.3
"""Time for WebSockets and streams to be closed with a reason, before the server drops them."""
GC_THRESHOLDS: Final = (5_000, 100, 50)
"""As `gc.set_threshold` takes them."""
MAX_MESSAGE_BYTES: Final = 2 * 1_024 * 1_024
"""The longest WebSocket message that is buffered: twice the longest that is passed on."""


class Worker(uvicorn.Server):
    """`handler` handles HTTP requests; those it returns None for, WebSockets and lifespan go to `application`.

    `on_stopping` is called when the process is asked to stop, before requests in flight are waited for.
    """

    def __init__(
        self, application: ASGIApplication, handler: RequestHandler, on_stopping: Callable[[], None] = lambda: None
    ) -> None:
        config = uvicorn.Config(
            application,
            http=cast(type[asyncio.Protocol], lambda **_: Connection(self, self._loop)),
            ws=WebSocket,
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            interface="asgi3",
            loop="uvloop",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            backlog=4_096,
            timeout_graceful_shutdown=int(GRACE_SECONDS),
        )
        super().__init__(config)
        self.application = application
        self.handler = handler
        self.head_cache = HeadCache()
        self.connections = cast(set[Any], self.server_state.connections)
        self.tasks = self.server_state.tasks
        self.ticker = Ticker(lambda: [each for each in self.connections if isinstance(each, Connection)])
        self._on_stopping = on_stopping
        self._loop: asyncio.AbstractEventLoop

    def upgrade_to_websocket(self, transport: asyncio.Transport, data: bytes) -> asyncio.Protocol:
        """A WebSocket on `transport` that has received `data`, its handshake first."""
        protocol = WebSocket(self.config, self.server_state, self.lifespan.state, self._loop)
        protocol.connection_made(transport)
        protocol.data_received(data)
        return protocol

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        _tune_gc()
        self.ticker.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self.ticker.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the first SIGTERM only, and ignore SIGINT.

        A terminal's Ctrl-C and systemd's stop reach the workers as well as the main process, which then sends its own
        SIGTERM to each.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        unblock_signals()
        yield

    def _on_sigterm(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._on_stopping()
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._exit)

    def _exit(self) -> None:
        self.should_exit = True


def _tune_gc() -> None:
    """Exempt what was loaded at startup from garbage collection, and collect less often.

    With the defaults, collections took a third of the time of hits in Redis, which allocate and free tens of thousands
    of cache entries without any garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)

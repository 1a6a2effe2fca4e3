"""One process that serves: connections on our own protocol, WebSockets on uvicorn's, and one end for both."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import uvicorn

from gateway_project.server.lifespan import GRACE_SECONDS, release
from gateway_project.server.websocket import WebSocket
from routing.asgi import ASGIApplication, RequestHandler
from routing.http1.connection import Connection
from routing.http1.head_cache import HeadCache
from routing.http1.ticker import Ticker

FAREWELL_SECONDS: Final = 0.3
"""Time for sockets to be told of the restart, before the server drops them."""
COLLECTED: Final = (5_000, 100, 50)
"""Containers more than before, after which the young are looked through; and how often that is, before the old are."""
MESSAGE_BYTES: Final = 2 * 1_024 * 1_024
"""What a WebSocket's message may have before it is so much as looked at: twice what is passed on."""


class Worker(uvicorn.Server):
    """`stopping` is called when the process is told to end, while what is in flight still finishes."""

    def __init__(
        self, application: ASGIApplication, answer: RequestHandler, stopping: Callable[[], None] = lambda: None
    ) -> None:
        config = uvicorn.Config(
            application,
            http=cast(type[asyncio.Protocol], lambda **_: Connection(self, self._loop)),
            ws=WebSocket,
            ws_max_size=MESSAGE_BYTES,
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
        self.answer = answer
        self.head_cache = HeadCache()
        self.connections = cast(set[Any], self.server_state.connections)
        self.tasks = self.server_state.tasks
        self.ticker = Ticker(lambda: [one for one in self.connections if isinstance(one, Connection)])
        self._stopping = stopping
        self._loop: asyncio.AbstractEventLoop

    def upgraded(self, transport: asyncio.Transport, data: bytes) -> asyncio.Protocol:
        """The connection as a WebSocket, which has read its handshake."""
        protocol = WebSocket(self.config, self.server_state, self.lifespan.state, self._loop)
        protocol.connection_made(transport)
        protocol.data_received(data)
        return protocol

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        _spare_the_collector()
        self.ticker.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self.ticker.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A terminal's Ctrl-C, and systemd's stop, reach workers beside their server, which then ends them once more:
        to be told once is enough.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._told)
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        release()
        yield

    def _told(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._stopping()
        asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self._end)

    def _end(self) -> None:
        self.should_exit = True


def _spare_the_collector() -> None:
    """What the process was started with is never garbage, and tens of thousands of entries come and go without any:
    looked through as often as by default, they took a third of the time of hits in Redis.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED)

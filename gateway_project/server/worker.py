"""A worker process: HTTP/1.1 on routing.http1, WebSockets on uvicorn's protocol, and one graceful shutdown for both."""

import asyncio
import contextlib
import logging
import math
import signal
import socket
import sys
from collections.abc import Callable, Iterator, MutableMapping
from functools import partial
from typing import Any, Final, cast

import uvicorn

from gateway_project import garbage_collection
from gateway_project.server.lifespan import FINISH, unblock_signals
from gateway_project.server.websocket import WebSocket
from routing.asgi import ASGIApplication, Receive, RequestHandler, Scope, Send
from routing.http1.connection import Connection
from routing.http1.counted_connection import ConnectionLimit, CountedConnection
from routing.http1.head_cache import HeadCache
from routing.http1.proxy_protocol import ProxiedConnection
from routing.http1.ticker import Ticker
from routing.messages.proxies import TrustedProxies

log = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 0.3
"""Time for WebSockets and streams to be closed with a reason, before the server drops them."""
POLL_SECONDS: Final = 0.05
SWITCH_SECONDS: Final = 0.000_2
"""How long a thread may keep the interpreter from the event loop (ADR 19). A shorter one gains nothing."""
MAX_MESSAGE_BYTES: Final = 2 * 1_024 * 1_024
"""The longest WebSocket message that is buffered: twice the longest that is passed on."""


def _nothing() -> None:
    """The default of a worker's hooks."""


class Worker(uvicorn.Server):
    """`handler` handles HTTP requests; those it returns None for, WebSockets and lifespan go to `application`.

    On SIGTERM it drains: for `drain` seconds it goes on accepting connections, but closes each after its response and
    reports by `on_draining` that it is not ready, so that a load balancer sends it no more. Then, or at once on FINISH,
    it accepts no more and `on_stopping` is called; requests in flight have `grace` seconds to end. SIGQUIT aborts them.
    A connection may be idle between requests for `keep_alive` seconds. It accepts none before `may_accept`, if given.
    `on_ready` is called once it accepts connections. Connections of `proxies` begin with the PROXY protocol.
    """

    def __init__(
        self,
        application: ASGIApplication,
        handler: RequestHandler,
        *,
        proxies: TrustedProxies | None = None,
        connection_limit: ConnectionLimit | None = None,
        keep_alive: float = 75.0,
        drain: float = 0.0,
        grace: float = 10.0,
        may_accept: Callable[[], bool] | None = None,
        on_ready: Callable[[], None] = _nothing,
        on_draining: Callable[[], None] = _nothing,
        on_stopping: Callable[[], None] = _nothing,
    ) -> None:
        started = application if may_accept is None else self._held_start(application, may_accept)
        super().__init__(_uvicorn_config(started, lambda **_: self._connection(self), grace))
        self.application, self.handler = application, handler
        self.head_cache = HeadCache()
        self.connections = cast(set[Any], self.server_state.connections)
        self.tasks = self.server_state.tasks
        self.ticker = Ticker(lambda: [each for each in self.connections if isinstance(each, Connection)])
        self.draining = self.stopping = False
        self._proxies = proxies
        self._connection_limit = connection_limit or ConnectionLimit()
        self.keep_alive = keep_alive
        self._drain_seconds = drain
        self._on_ready, self._on_draining, self._on_stopping = on_ready, on_draining, on_stopping
        self._staff: tuple[socket.socket, RequestHandler] | None = None
        self._loop: asyncio.AbstractEventLoop

    def upgrade_to_websocket(
        self, transport: asyncio.Transport, data: bytes, client: tuple[str, int] | None, scheme: str
    ) -> asyncio.Protocol:
        """A WebSocket on `transport` that has received `data`, its handshake first."""
        protocol = WebSocket(self.config, self.server_state, self.lifespan.state, self._loop)
        protocol.connection_made(transport)
        protocol.on_lost = partial(self._connection_limit.leave, client[0] if client else "")
        protocol.client, protocol.scheme = client, "wss" if scheme == "https" else "ws"
        protocol.data_received(data)
        if self.stopping:
            protocol.shutdown()
        return protocol

    def listen_for_staff(self, listening_socket: socket.socket, handler: RequestHandler) -> None:
        """Also serve `listening_socket`, with a handler of its own. Must be called before `run`."""
        self._staff = listening_socket, handler

    def _connection(self, listener: "Worker | StaffListener") -> asyncio.Protocol:
        if self._proxies is None:
            return CountedConnection(listener, self._loop, self._connection_limit)
        return ProxiedConnection(
            self._proxies, lambda: CountedConnection(listener, self._loop, self._connection_limit), self, self._loop
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.should_exit:  # the lifespan's startup has failed
            return
        if self._staff is not None:
            listening_socket, handler = self._staff
            listener = StaffListener(self, handler)
            self.servers.append(
                await self._loop.create_server(lambda: self._connection(listener), sock=listening_socket)
            )
        garbage_collection.tune()
        sys.setswitchinterval(SWITCH_SECONDS)
        self.ticker.start()
        self._on_ready()

    def _held_start(self, application: ASGIApplication, may_accept: Callable[[], bool]) -> ASGIApplication:
        """The application, whose start completes once this worker may accept connections, or is stopped."""

        async def held(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_later(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "lifespan.startup.complete":
                    await self._wait_until(may_accept)
                await send(message)

            await application(scope, receive, send_later if scope["type"] == "lifespan" else send)

        return held

    async def _wait_until(self, may_accept: Callable[[], bool]) -> None:
        if not may_accept():
            log.warning("the new worker accepts nothing before it has loaded a configuration; the old one serves")
        while not may_accept() and not self.stopping:  # noqa: ASYNC110 - neither has an event
            await asyncio.sleep(POLL_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self.ticker.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle each stop signal; SIGINT and SIGHUP are the main process's.

        A terminal's Ctrl-C and systemd's stop reach the workers as well as the main process, which then sends its own
        signal to each.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._begin_drain)
        loop.add_signal_handler(FINISH, self._begin_shutdown)
        loop.add_signal_handler(signal.SIGQUIT, self._abort)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(ignored, _nothing)
        unblock_signals()
        yield

    def _begin_drain(self) -> None:
        if self.draining:
            return
        self.draining = True
        self._on_draining()
        if self._drain_seconds:
            self._loop.call_later(self._drain_seconds, self._begin_shutdown)
        else:
            self._begin_shutdown()

    def _begin_shutdown(self) -> None:
        if self.stopping:
            return
        self.draining = self.stopping = True
        self._on_draining()
        self._on_stopping()
        self._loop.call_later(CLOSE_SECONDS if self.connections else 0, self._exit)

    def _abort(self) -> None:
        self.config.timeout_graceful_shutdown = 0
        self._begin_shutdown()
        self._exit()

    def _exit(self) -> None:
        self.should_exit = True


def _uvicorn_config(
    application: ASGIApplication, connection: Callable[..., asyncio.Protocol], grace: float
) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=cast(type[asyncio.Protocol], connection),
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
        server_header=False,
        backlog=4_096,
        timeout_graceful_shutdown=math.ceil(grace),
    )


class StaffListener:
    """A worker as the connections of STAFF_PORT see it. It shares no memo of requests with the public listener."""

    def __init__(self, worker: Worker, handler: RequestHandler) -> None:
        self.handler = handler
        self.application = worker.application
        self.head_cache = HeadCache()
        self.ticker = worker.ticker
        self.connections = worker.connections
        self.tasks = worker.tasks
        self.keep_alive = worker.keep_alive
        self.upgrade_to_websocket = worker.upgrade_to_websocket
        self._worker = worker

    @property
    def draining(self) -> bool:
        return self._worker.draining

    @property
    def stopping(self) -> bool:
        return self._worker.stopping

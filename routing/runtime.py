"""Where this process's gateway runs: on the server's event loop, or, under any other host, on a thread of its own."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, Protocol, TypeVar

from resilience.cache.driver import Cache
from resilience.cache.objects import ObjectCache
from resilience.cache.service import Objects
from resilience.turn import Turn
from routing.asgi import Receive, Scope, Send
from routing.credentials.connections import Connections
from routing.database.connection import release_connection
from routing.http import Request, Response
from routing.observability.health import HealthPages
from routing.pipeline import Gateway
from routing.warming import Warmer

EXIT_SECONDS: Final = 2.0
"""How long a process that ends waits for its gateway's thread to close what it has open."""

T = TypeVar("T")


class Publisher(Protocol):
    """Publishes events: routing.realtime.service.Realtime."""

    async def publish(self, topic: str, kind: str, data: object) -> str: ...


class Endpoint(Protocol):
    """Responds to `/events`, or to `/hooks/`: routing.realtime.http.EventsEndpoint, routing.deliveries.endpoint."""

    def answer(self, request: Request) -> Awaitable[Response]: ...


class SocketHandler(Protocol):
    """Passes WebSockets to services: routing.realtime.proxy.SocketProxy."""

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Components(Protocol):
    """What the composition root opens: the gateway, and how to close all that it depends on."""

    gateway: Gateway
    health: HealthPages
    cache: Cache
    warmer: Warmer

    @property
    def objects(self) -> Objects: ...

    @property
    def realtime(self) -> Publisher: ...

    @property
    def events(self) -> Endpoint: ...

    @property
    def webhooks(self) -> Endpoint: ...

    @property
    def proxy(self) -> SocketHandler: ...

    @property
    def connections(self) -> Connections: ...

    def begin_drain(self) -> None: ...

    def begin_shutdown(self) -> None: ...

    async def close(self) -> None: ...


class Runtime:
    """One gateway on one event loop, reachable from any thread.

    `turn` orders the threads of Django's pages, where the loop is the server's.
    """

    def __init__(self, open_components: Callable[[], Awaitable[Components]]) -> None:
        self.turn = Turn()
        self._open = open_components
        self._starting = threading.Lock()
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._components: Components | None = None

    @property
    def started(self) -> bool:
        return self._components is not None

    @property
    def _opened(self) -> Components:
        if self._components is None:
            raise RuntimeError("the gateway has not been started in this process")
        return self._components

    def opened(self) -> Components:
        """All components, opened first if none are yet. From another thread than the loop's."""
        self._running_loop()
        return self._opened

    @property
    def gateway(self) -> Gateway:
        """Raises RuntimeError before `start`, as do the other components."""
        return self._opened.gateway

    @property
    def health(self) -> HealthPages:
        return self._opened.health

    @property
    def cache(self) -> Cache:
        """The cache of responses."""
        return self._opened.cache

    def objects(self, service: str) -> ObjectCache:
        """The cache of Python values that belong to a service."""
        return self._opened.objects(service)

    @property
    def warmer(self) -> Warmer:
        return self._opened.warmer

    @property
    def realtime(self) -> Publisher:
        """Where WebSockets and event streams subscribe."""
        return self._opened.realtime

    @property
    def events(self) -> Endpoint:
        return self._opened.events

    @property
    def webhooks(self) -> Endpoint:
        return self._opened.webhooks

    @property
    def proxy(self) -> SocketHandler:
        return self._opened.proxy

    @property
    def connections(self) -> Connections:
        """The accounts that are connected to services."""
        return self._opened.connections

    async def publish(self, topic: str, kind: str, data: object) -> str:
        """`Realtime.publish`, once the gateway runs: for `submit`, which starts it where necessary."""
        return await self.realtime.publish(topic, kind, data)

    async def start(self) -> None:
        """Open the gateway on the running loop: a server's lifespan."""
        self._process, self._loop = os.getpid(), asyncio.get_running_loop()
        try:
            self._components = await self._open()
        except BaseException:
            self._loop = None
            raise

    def begin_drain(self) -> None:
        """The server will stop: report that it is not ready, and go on serving."""
        if self._components:
            self._components.begin_drain()

    def begin_shutdown(self) -> None:
        """The server accepts nothing new: end WebSockets and streams, while requests in flight finish."""
        if self._components:
            self._components.begin_shutdown()

    async def stop(self) -> None:
        components, self._components, self._loop = self._components, None, None
        if components:
            await components.close()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `coroutine` on the gateway's loop, from another thread or loop."""
        try:
            loop = self._running_loop()
        except BaseException:
            coroutine.close()
            raise
        return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def post(self, call: Callable[[], None]) -> None:
        """Call a function on the gateway's loop, from anywhere: at once, if that is the running one."""
        loop = self._running_loop()
        if asyncio._get_running_loop() is loop:
            call()
        else:
            loop.call_soon_threadsafe(call)

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` on the gateway's loop and wait for it, without a connection of Django's pool, which it may
        need. Deadlocks if called from the loop itself.
        """
        release_connection()
        future = self.submit(coroutine)
        with self.turn.released():
            return future.result()

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` on the gateway's loop, from that loop or any other."""
        if self._loop is asyncio.get_running_loop():
            return await coroutine
        if self.started and self._process == os.getpid():
            return await asyncio.wrap_future(self.submit(coroutine))
        return await asyncio.wrap_future(await asyncio.to_thread(self.submit, coroutine))  # the start takes its time

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is not None and self._process != os.getpid():
                self._loop, self._components = None, None  # a fork has the loop, but not the thread that ran it
            if self._loop is None:
                self._start_thread()
            assert self._loop is not None  # noqa: S101 - for the type checker: _start_thread has set it
            return self._loop

    def _start_thread(self) -> None:
        loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=(loop,), name="gateway", daemon=True).start()
        try:
            asyncio.run_coroutine_threadsafe(self.start(), loop).result()
        except BaseException:
            loop.call_soon_threadsafe(loop.stop)
            raise
        _before_exit(self._stop_thread, loop)

    def _stop_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what the thread's gateway has open, so that the last second's counts are not lost."""
        if self._loop is loop and self._process == os.getpid() and loop.is_running():
            with contextlib.suppress(Exception):
                asyncio.run_coroutine_threadsafe(self.stop(), loop).result(EXIT_SECONDS)


def _before_exit(function: Callable[..., object], *arguments: object) -> None:
    """Call `function` when the main thread ends. `atexit` would be too late: its functions run when thread pools, in
    which the last counts are written to the database, accept nothing more.
    """
    threading._register_atexit(function, *arguments)  # type: ignore[attr-defined]  # private; thread pools use it


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


_installed: Runtime | None = None


def install(runtime: Runtime) -> None:
    """Make `runtime` this process's: called once, by the composition root."""
    global _installed  # noqa: PLW0603 - a process has one gateway, as it has one set of Django settings
    _installed = runtime


def current() -> Runtime:
    """This process's runtime. Raises RuntimeError where no composition root has run."""
    if _installed is None:
        raise RuntimeError("no gateway is installed in this process")
    return _installed

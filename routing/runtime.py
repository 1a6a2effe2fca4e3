"""Where this process's gateway lives: on the server's loop, or, under any other host, on a thread of its own."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from resilience.cache.driver import Cache
from routing.observability.health import HealthPages
from routing.pipeline import Gateway
from routing.warming import Warmer

if TYPE_CHECKING:
    from routing.realtime.proxy import SocketProxy
    from routing.realtime.service import Realtime

Answer = TypeVar("Answer")


class Parts(Protocol):
    """What the composition root opens: the gateway, and how to close all that it stands on."""

    gateway: Gateway
    health: HealthPages
    cache: Cache
    warmer: Warmer
    realtime: "Realtime"
    proxy: "SocketProxy"

    async def close(self) -> None: ...


class Runtime:
    """One gateway on one event loop, reachable from any thread.

    `on_stopping` is called when the server has been told to stop, in the loop, while requests in flight still finish.
    """

    def __init__(self, open_parts: Callable[[], Awaitable[Parts]]) -> None:
        self._open = open_parts
        self.on_stopping: list[Callable[[], None]] = []
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._parts: Parts | None = None

    @property
    def started(self) -> bool:
        return self._parts is not None

    @property
    def gateway(self) -> Gateway:
        """The running gateway. Raises RuntimeError before `start`."""
        return self._opened.gateway

    @property
    def _opened(self) -> Parts:
        if self._parts is None:
            raise RuntimeError("the gateway has not been started in this process")
        return self._parts

    @property
    def health(self) -> HealthPages:
        """The pages of its health. Raises RuntimeError before `start`."""
        return self._opened.health

    def opened(self) -> Parts:
        """All that was opened, after opening it where nothing has yet. From another thread than the loop's."""
        self._running_loop()
        return self._opened

    @property
    def cache(self) -> Cache:
        """Its cache of answers. Raises RuntimeError before `start`."""
        return self._opened.cache

    @property
    def warmer(self) -> Warmer:
        """Raises RuntimeError before `start`."""
        return self._opened.warmer

    @property
    def realtime(self) -> "Realtime":
        """Where sockets and streams subscribe. Raises RuntimeError before `start`."""
        return self._opened.realtime

    @property
    def proxy(self) -> "SocketProxy":
        """Where sockets go to services. Raises RuntimeError before `start`."""
        return self._opened.proxy

    async def publish(self, topic: str, kind: str, data: object) -> str:
        """`Realtime.publish`, once the gateway runs: for `submit`, which starts it where need be."""
        return await self.realtime.publish(topic, kind, data)

    async def start(self) -> None:
        """Open the gateway on the running loop: a server's lifespan."""
        self._loop = asyncio.get_running_loop()
        self._parts = await self._open()

    def stopping(self) -> None:
        """The server has been told to stop and takes nothing new: whoever keeps a client waiting should let it go."""
        for tell in self.on_stopping:
            tell()

    async def stop(self) -> None:
        parts, self._parts, self._loop = self._parts, None, None
        if parts:
            await parts.close()

    def submit(self, coroutine: Coroutine[Any, Any, Answer]) -> Future[Answer]:
        """Run `coroutine` on the gateway's loop, from another thread or loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._start_thread()
            assert self._loop is not None  # noqa: S101 - for the type checker: _start_thread has set it
            return self._loop

    def _start_thread(self) -> None:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="gateway", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self.start(), loop).result()


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

"""A worker's life: open the gateway, serve, finish what is in flight, close it; end when its server is gone."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable
from typing import Final

from gateway_project import listening
from routing.asgi import Receive, Send
from routing.errors import GatewayError
from routing.runtime import Runtime

log = logging.getLogger(__name__)

ORPHAN_SECONDS: Final = 0.25
"""How often a worker looks whether its server still lives: killed outright, it can tell nobody."""
GRACE_SECONDS: Final = 10.0
"""How long requests in flight may take to finish once the gateway is told to stop."""


ENDINGS: Final = (signal.SIGTERM, signal.SIGINT)
SETTLING_SECONDS: Final = 0.5
"""How long a worker must have been open to be told that it ends: before, its server is not listening yet."""


def release() -> None:
    """From now on this thread hears SIGTERM and SIGINT; what came before comes now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)


class BrokenOff(Exception):
    """Tells the server to cut the connection: how a client learns that an answer is not whole."""


class Life:
    """One worker's: `serve` runs a request as long as the worker has to live, `span` is the ASGI lifespan protocol."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._in_flight: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, work: Awaitable[None]) -> None:
        """A request that takes time."""
        # Of the loop that is known: to find out which one runs is a system call, to see whether it was forked.
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._in_flight.add(task)
        try:
            await work
        except (GatewayError, asyncio.CancelledError):
            raise BrokenOff from None
        finally:
            self._in_flight.discard(task)

    async def span(self, receive: Receive, send: Send) -> None:
        """A gateway that cannot start says why, and the server stops."""
        self._loop = asyncio.get_running_loop()
        watch = asyncio.create_task(_end_with(os.getppid()))
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._start()
                except Exception as error:
                    log.exception("the gateway cannot start")
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                watch.cancel()
                await self._runtime.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        await self._runtime.start()
        self._runtime.on_stopping.append(self._stopping)
        asyncio.get_running_loop().call_later(SETTLING_SECONDS, self._settled)

    def _settled(self) -> None:
        release()
        listening.cut_the_deaf()

    def _stopping(self) -> None:
        """The server waits for requests in flight, and would kill a worker outright that has one without an end."""
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._cut)

    def _cut(self) -> None:
        for task in self._in_flight:
            task.cancel()


async def _end_with(parent: int) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110 - a parent's death is no event of this loop
        await asyncio.sleep(ORPHAN_SECONDS)
    log.error("the server is gone; this worker ends too")
    os.kill(os.getpid(), signal.SIGTERM)

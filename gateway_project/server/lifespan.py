"""A worker's life: open the gateway, serve, close it; end when its server is gone."""

import asyncio
import logging
import os
import signal
from typing import Final

from routing.asgi import Receive, Send
from routing.runtime import Runtime

log = logging.getLogger(__name__)

ORPHAN_SECONDS: Final = 0.25
"""How often a worker looks whether its server still lives: killed outright, it can tell nobody."""
GRACE_SECONDS: Final = 10.0
"""How long requests in flight may take to finish once the gateway is told to stop."""


ENDINGS: Final = (signal.SIGTERM, signal.SIGINT)


def release() -> None:
    """From now on this thread hears SIGTERM and SIGINT; what came before comes now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)


class Life:
    """One worker's, as the ASGI lifespan protocol tells it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def span(self, receive: Receive, send: Send) -> None:
        """A gateway that cannot start says why, and the server stops."""
        watch = asyncio.create_task(_end_with(os.getppid()))
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._runtime.start()
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


async def _end_with(parent: int) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110 - a parent's death is no event of this loop
        await asyncio.sleep(ORPHAN_SECONDS)
    log.error("the server is gone; this worker ends too")
    os.kill(os.getpid(), signal.SIGTERM)

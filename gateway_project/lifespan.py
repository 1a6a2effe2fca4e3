"""A worker's life: open the gateway, serve, close it; and end when the process that started it is gone."""

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


async def lifespan(runtime: Runtime, receive: Receive, send: Send) -> None:
    """The ASGI lifespan protocol. A gateway that cannot start says why, and the server stops."""
    watch = asyncio.create_task(_end_with(os.getppid()))
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await runtime.start()
            except Exception as error:
                log.exception("the gateway cannot start")
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
        else:
            watch.cancel()
            await runtime.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _end_with(parent: int) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110 - a parent's death is no event of this loop
        await asyncio.sleep(ORPHAN_SECONDS)
    log.error("the server is gone; this worker ends too")
    os.kill(os.getpid(), signal.SIGTERM)

"""A worker's lifespan: opens the gateway, closes it, and ends the worker if the main process dies."""

import asyncio
import logging
import multiprocessing
import os
import signal
from typing import Final

from routing.asgi import Receive, Send
from routing.runtime import Runtime

log = logging.getLogger(__name__)

ORPHAN_SECONDS: Final = 0.25
"""How often a worker checks that the main process is alive: after a SIGKILL that process cannot stop its workers."""
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""What the main process handles."""
FINISH: Final = signal.SIGUSR1
"""The main process sends it to a worker that stops without draining."""
WORKER_SIGNALS: Final = (*STOP_SIGNALS, FINISH)


def unblock_signals() -> None:
    """Deliver a worker's signals to this thread, including those that arrived while they were blocked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)


class Lifespan:
    """The ASGI lifespan protocol."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def __call__(self, receive: Receive, send: Send) -> None:
        """If the gateway cannot start, the error is logged and the server stops."""
        orphan_watch = asyncio.create_task(exit_without_parent())
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
                orphan_watch.cancel()
                await self._runtime.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def exit_without_parent() -> None:
    """End this process when the one that has started it dies. That may have happened already: then this one has
    another parent from the beginning.
    """
    parent, main = os.getppid(), multiprocessing.parent_process()
    process = main.pid if main is not None else None
    while os.getppid() == parent and _exists(process):  # noqa: ASYNC110 - the loop has no event for it
        await asyncio.sleep(ORPHAN_SECONDS)
    log.error("the main process has died; this worker stops")
    os.kill(os.getpid(), signal.SIGTERM)


def _exists(process: int | None) -> bool:
    """Whether a process with this id exists; True where it is not known."""
    if process is None:
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True

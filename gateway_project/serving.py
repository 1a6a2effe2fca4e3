"""The server: granian with uvloop, its workers, their end, and the word `ready`."""

import asyncio
import http.client
import logging
import os
import signal
import sys
import threading
import time
from typing import Any, Final

from granian import Granian, _signals
from granian._granian import WorkerSignal
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LOGGING_CONFIG, LogLevels
from granian.server.common import AbstractServer

from gateway_project.config import Config
from gateway_project.lifespan import ENDINGS, GRACE_SECONDS, BrokenOff, release
from routing import runtime

KILL_SECONDS: Final = int(GRACE_SECONDS) + 2
"""A worker that has not ended by then hangs, and is killed."""
FAREWELL_SECONDS: Final = 0.3
"""Time for sockets to be told of the restart, before the server drops them."""
POLL_SECONDS: Final = 0.05


class Unintended(logging.Filter):
    """Keeps what the server says of broken-off answers out of the log: their access lines have the reason."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().rpartition("\n")[2].startswith(BrokenOff.__name__)


LOGGING: Final[dict[str, Any]] = {
    **LOGGING_CONFIG,
    "filters": {"unintended": {"()": Unintended}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "generic", "filters": ["unintended"]}},
    "loggers": {"_granian": {"handlers": ["console"], "propagate": False}},
}
"""Granian's own, quieter."""


def hear_of_the_end(loop: asyncio.AbstractEventLoop) -> WorkerSignal:
    """In a worker, and in place of Granian's own: what SIGTERM does there.

    A terminal's Ctrl-C, and systemd's stop, reach workers beside their server, which then ends them once more: Granian
    would act on both. And a worker told while its server's threads begin misses it, or locks up, and has to be killed.
    """
    end, told = WorkerSignal(), asyncio.Event()

    def stop() -> None:
        if not told.is_set():
            told.set()
            runtime.current().stopping()
            loop.call_later(FAREWELL_SECONDS, end.set)

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    return end


def _hold() -> None:
    """A worker is born with its server's handlers, which would swallow what tells it to end: until it has its own and
    listens, the kernel keeps the signals for it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)


_signals.set_loop_signals = hear_of_the_end


def server(application: str, *, host: str, port: int, workers: int) -> AbstractServer[Any]:
    """Granian as the gateway runs on it; benchmarks put other applications on the same."""
    return Granian(
        application,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=30_000),
        backlog=4096,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        log_dictconfig=LOGGING,
        workers_kill_timeout=KILL_SECONDS,
    )


def serve(config: Config, greeting: str) -> None:
    """Serve until SIGINT or SIGTERM; print `greeting` and `ready` once requests are answered."""
    serving = server("gateway_project.asgi:application", host=config.host, port=config.port, workers=config.workers)
    os.register_at_fork(before=_hold, after_in_parent=release)
    threading.Thread(target=_announce, args=(config, greeting, os.getpid()), daemon=True).start()
    serving.serve()


def _announce(config: Config, greeting: str, server: int) -> None:
    while not _is_ready(config) and os.getpid() == server:
        time.sleep(POLL_SECONDS)
    sys.stdout.write(f"{greeting}ready\n")
    sys.stdout.flush()


def _is_ready(config: Config) -> bool:
    """Whether a worker answers, and has its configuration."""
    host = "127.0.0.1" if config.host in ("", "0.0.0.0", "::") else config.host  # noqa: S104 - asking, not listening
    connection = http.client.HTTPConnection(host, config.port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

"""The server: granian with uvloop, its workers, their end, and the word `ready`."""

import http.client
import logging
import os
import sys
import threading
import time
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LOGGING_CONFIG, LogLevels
from granian.server import MPServer

from gateway_project.config import Config
from gateway_project.lifespan import GRACE_SECONDS, STOPPING, BrokenOff

KILL_SECONDS: Final = int(GRACE_SECONDS) + 2
"""A worker that has not ended by then hangs, and is killed."""
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


class _Server(MPServer):
    """Granian, whose workers learn that it stops: by itself it only closes their door."""

    def _stop_workers(self) -> None:
        for worker in self.wrks:
            if worker.is_alive():  # type: ignore[no-untyped-call]
                os.kill(worker.inner.pid, STOPPING)
        super()._stop_workers()  # type: ignore[no-untyped-call]


def serve(config: Config, greeting: str) -> None:
    """Serve until SIGINT or SIGTERM; print `greeting` and `ready` once requests are answered."""
    server = _Server(
        "gateway_project.asgi:application",
        address=config.host,
        port=config.port,
        interface=Interfaces.ASGI,
        workers=config.workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=30_000),
        backlog=4096,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        log_dictconfig=LOGGING,
        workers_kill_timeout=KILL_SECONDS,
    )
    threading.Thread(target=_announce, args=(config, greeting, os.getpid()), daemon=True).start()
    server.serve()


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

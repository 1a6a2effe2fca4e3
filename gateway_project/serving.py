"""The server: granian with uvloop, its workers, their end, and the word `ready`."""

import http.client
import os
import sys
import threading
import time
from typing import Final

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from gateway_project.config import Config

GRACE_SECONDS: Final = 10
"""How long requests in flight may take to finish once the gateway is told to stop."""
POLL_SECONDS: Final = 0.05


def serve(config: Config, greeting: str) -> None:
    """Serve until SIGINT or SIGTERM; print `greeting` and `ready` once requests are answered."""
    server = Granian(
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
        workers_kill_timeout=GRACE_SECONDS + 2,
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

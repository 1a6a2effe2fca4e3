"""Serves the gateway: binds the sockets, runs the workers under a supervisor, and prints `ready`."""

import http.client
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from importlib import import_module
from typing import Final

from gateway_project.config import Config
from gateway_project.server import listen_sockets
from gateway_project.server.supervisor import Supervisor, WorkerTarget
from gateway_project.starting import open_files
from routing.messages.proxies import TrustedProxies
from routing.observability import text_output

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.05
WORKER_MODULES: Final = ("gateway_project.asgi", "gateway_project.container", "gateway_project.server.worker")


def run(
    target: WorkerTarget,
    *,
    host: str,
    port: int,
    workers: int,
    drain: float = 0.0,
    grace: float = 10.0,
    announce: Callable[[], None] = lambda: None,
    shared: Sequence[socket.socket] = (),
) -> int:
    """Serve until a stop signal, as `Supervisor` does. Returns the exit status."""
    try:
        sockets = listen_sockets.bind(host, port, workers)
    except OSError as error:
        log.error("cannot listen on %s:%s: %s", host, port, error.strerror or error)
        return 1
    return Supervisor(sockets, target, drain=drain, grace=grace, shared=shared).run(announce)


def refused_address(config: Config) -> str | None:
    """Why the gateway cannot listen on an address of its configuration; None if it can. To ask before anything is
    written, such as an API key that would be shown once the gateway is ready.
    """
    for port in (config.server.port, config.staff.port):
        try:
            for each in () if port is None else listen_sockets.bind(config.server.host, port, 1):
                each.close()
        except OSError as error:
            return f"cannot listen on {config.server.host}:{port}: {error.strerror or error}"
    return None


def load() -> None:
    """Import what workers run before they are forked: each would take a third of a second, and memory of its own."""
    for name in WORKER_MODULES:
        import_module(name)


def serve(config: Config, greeting: str) -> int:
    """Serve the gateway. Prints `greeting` and `ready` once it is ready."""
    open_files.raise_limit()
    try:
        staff = _staff_socket(config)
    except OSError as error:
        log.error("cannot listen on %s:%s: %s", config.server.host, config.staff.port, error.strerror or error)
        return 1
    announcer = threading.Thread(target=_announce, args=(config, greeting, os.getpid()), daemon=True)
    return run(
        partial(_run_gateway, config, staff),
        host=config.server.host,
        port=config.server.port,
        workers=config.server.workers,
        drain=config.server.drain,
        grace=config.server.grace,
        announce=announcer.start,
        shared=() if staff is None else (staff,),
    )


def _staff_socket(config: Config) -> socket.socket | None:
    """The listener of STAFF_PORT, which the workers share: few people use it. Raises OSError."""
    return None if config.staff.port is None else listen_sockets.bind(config.server.host, config.staff.port, 1)[0]


def _run_gateway(
    config: Config,
    staff: socket.socket | None,
    listening_socket: socket.socket,
    on_ready: Callable[[], None],
    is_successor: bool,
) -> None:
    from gateway_project import asgi  # noqa: PLC0415 - it reads the settings, which a command's options change
    from gateway_project.server.worker import Worker  # noqa: PLC0415 - as above
    from routing import runtime  # noqa: PLC0415 - as above
    from routing.http1.counted_connection import ConnectionLimit  # noqa: PLC0415 - as above

    gateway, proxies = runtime.current(), TrustedProxies(config.trusted_proxies)
    worker = Worker(
        asgi.default_application,
        asgi.handle_request,
        proxies=proxies if config.server.proxy_protocol else None,
        connection_limit=ConnectionLimit(
            config.server.max_connections_per_client, proxies, total=open_files.for_clients()
        ),
        keep_alive=config.server.keep_alive,
        drain=config.server.drain,
        grace=config.server.grace,
        may_accept=(lambda: gateway.gateway.live.table.is_loaded) if is_successor else None,
        on_ready=on_ready,
        on_draining=gateway.begin_drain,
        on_stopping=gateway.begin_shutdown,
    )
    if staff is not None:
        worker.listen_for_staff(staff, asgi.handle_staff_request)
    worker.run([listening_socket])


def _announce(config: Config, greeting: str, main_process: int) -> None:
    while not _is_ready(config) and os.getpid() == main_process:
        time.sleep(POLL_SECONDS)
    try:
        sys.stdout.write(f"{greeting}ready\n")
        sys.stdout.flush()
    except BrokenPipeError:
        text_output.discard(sys.stdout)


def _is_ready(config: Config) -> bool:
    """Whether a worker serves requests and has loaded its configuration."""
    host = "127.0.0.1" if config.server.host in ("", "0.0.0.0", "::") else config.server.host  # noqa: S104 - a client, not a listener
    with closing(http.client.HTTPConnection(host, config.server.port, timeout=2)) as connection:
        with suppress(OSError, http.client.HTTPException):
            connection.connect()
            if config.server.proxy_protocol and TrustedProxies(config.trusted_proxies).trusts(host):
                connection.sock.sendall(b"PROXY UNKNOWN\r\n")
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False

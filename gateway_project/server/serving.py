"""The server: its workers, one process each, their end, and the word `ready`."""

import http.client
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from multiprocessing.process import BaseProcess
from typing import Final

from gateway_project.config import Config
from gateway_project.server import listen_sockets
from gateway_project.server.lifespan import ENDINGS, GRACE_SECONDS

log = logging.getLogger(__name__)

KILL_SECONDS: Final = GRACE_SECONDS + 2
"""A worker that has not ended by then hangs, and is killed."""
POLL_SECONDS: Final = 0.05
RESPAWN_SECONDS: Final = 1.0
"""How long a worker must have lived to be replaced at once: one that dies at birth would keep a processor busy."""
CANNOT_START: Final = 3
"""A worker's exit status when its application could not start, which the next one could not either."""

Work = Callable[[socket.socket], None]
"""What a worker does: serves what comes to its socket, until it is told to end."""


class Workers:
    """One process for each socket, replaced when it dies."""

    def __init__(self, sockets: list[socket.socket], work: Work) -> None:
        self._sockets = sockets
        self._work = work
        self._told = False
        self._running: list[BaseProcess] = []
        self._born: list[float] = []

    def run(self, announce: Callable[[], None]) -> int:
        """Until SIGTERM or SIGINT, or until a worker cannot start: the exit status. Workers are born without threads
        beside them; `announce` may begin some.
        """
        self._running = [self._spawned(slot) for slot in range(len(self._sockets))]
        self._born = [time.monotonic()] * len(self._sockets)
        wake, woken = socket.socketpair()
        with wake, woken:
            wake.setblocking(False)
            signal.set_wakeup_fd(wake.fileno())
            for ending in ENDINGS:
                signal.signal(ending, lambda *_: setattr(self, "_told", True))
            announce()
            status = self._watch(woken)
            self._end()
            signal.set_wakeup_fd(-1)
        return status

    def _watch(self, woken: socket.socket) -> int:
        while not self._told:
            multiprocessing.connection.wait([woken, *(worker.sentinel for worker in self._running)])
            for slot, worker in enumerate(self._running):
                if worker.exitcode is None or self._told:
                    continue
                if worker.exitcode == CANNOT_START:
                    return 1
                log.error("worker %s died (%s); another takes its place", worker.pid, worker.exitcode)
                time.sleep(max(0.0, self._born[slot] + RESPAWN_SECONDS - time.monotonic()))
                self._born[slot] = time.monotonic()
                self._running[slot] = self._spawned(slot)
        return 0

    def _end(self) -> None:
        for listening_socket in self._sockets:
            listening_socket.close()
        for worker in self._running:
            worker.terminate()
        deadline = time.monotonic() + KILL_SECONDS
        for worker in self._running:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.exitcode is None:
                log.error("Killing worker %s, which does not end", worker.pid)
                worker.kill()
                worker.join()

    def _spawned(self, slot: int) -> BaseProcess:
        """Until it has handlers of its own the kernel keeps from a worker what tells it to end."""
        worker = multiprocessing.get_context("fork").Process(target=self._live, args=(slot,))
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
        try:
            worker.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
        return worker

    def _live(self, slot: int) -> None:
        signal.set_wakeup_fd(-1)
        for other, listening_socket in enumerate(self._sockets):
            if other != slot:
                listening_socket.close()
        self._work(self._sockets[slot])


def run(work: Work, *, host: str, port: int, workers: int, announce: Callable[[], None] = lambda: None) -> int:
    """Serve with so many workers until told to stop: the exit status."""
    try:
        sockets = listen_sockets.bound(host, port, workers)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {host}:{port}: {error.strerror or error}\n")
        return 1
    return Workers(sockets, work).run(announce)


def serve(config: Config, greeting: str) -> int:
    """Serve the gateway; print `greeting` and `ready` once requests are answered."""
    announcing = threading.Thread(target=_announce, args=(config, greeting, os.getpid()), daemon=True)
    return run(_gateway, host=config.host, port=config.port, workers=config.workers, announce=announcing.start)


def _gateway(listening_socket: socket.socket) -> None:
    from gateway_project import asgi  # noqa: PLC0415 - a worker's own, made after the fork
    from gateway_project.server.worker import Worker  # noqa: PLC0415 - as above
    from routing import runtime  # noqa: PLC0415 - as above

    Worker(asgi.default_application, asgi.handle_request, runtime.current().stopping).run([listening_socket])


def _announce(config: Config, greeting: str, server: int) -> None:
    while not _is_ready(config) and os.getpid() == server:
        time.sleep(POLL_SECONDS)
    sys.stdout.write(f"{greeting}ready\n")
    sys.stdout.flush()


def _is_ready(config: Config) -> bool:
    """Whether a worker answers, and has its configuration."""
    host = "127.0.0.1" if config.host in ("", "0.0.0.0", "::") else config.host  # noqa: S104 - asking, not listening
    with closing(http.client.HTTPConnection(host, config.port, timeout=2)) as connection:
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False

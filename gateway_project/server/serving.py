"""The main process: starts, replaces and stops the workers, and prints `ready`."""

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
from gateway_project.server.lifespan import GRACE_SECONDS, STOP_SIGNALS

log = logging.getLogger(__name__)

KILL_SECONDS: Final = GRACE_SECONDS + 2
"""How long after SIGTERM a worker is killed."""
POLL_SECONDS: Final = 0.05
RESPAWN_SECONDS: Final = 1.0
"""The least time between two starts of a worker, so that one that fails at once does not busy a processor."""
STARTUP_FAILURE: Final = 3
"""uvicorn's exit status of a worker whose lifespan startup failed. Its replacement would fail too."""

WorkerTarget = Callable[[socket.socket], None]
"""What a worker runs: it serves the connections of its socket until SIGTERM."""


class Workers:
    """One process per socket, replaced when it dies."""

    def __init__(self, sockets: list[socket.socket], target: WorkerTarget) -> None:
        self._sockets = sockets
        self._target = target
        self._stopping = False
        self._processes: list[BaseProcess] = []
        self._started_at: list[float] = []

    def run(self, announce: Callable[[], None]) -> int:
        """Run until SIGTERM or SIGINT, or until a worker fails to start. Returns the exit status.

        `announce` is called once the workers are forked: only then is it safe to start threads.
        """
        self._processes = [self._spawn(slot) for slot in range(len(self._sockets))]
        self._started_at = [time.monotonic()] * len(self._sockets)
        wake_writer, wake_reader = socket.socketpair()
        with wake_writer, wake_reader:
            wake_writer.setblocking(False)
            signal.set_wakeup_fd(wake_writer.fileno())
            for number in STOP_SIGNALS:
                signal.signal(number, lambda *_: setattr(self, "_stopping", True))
            announce()
            status = self._watch(wake_reader)
            self._stop()
            signal.set_wakeup_fd(-1)
        return status

    def _watch(self, wake_reader: socket.socket) -> int:
        while not self._stopping:
            multiprocessing.connection.wait([wake_reader, *(worker.sentinel for worker in self._processes)])
            for slot, worker in enumerate(self._processes):
                if worker.exitcode is None or self._stopping:
                    continue
                if worker.exitcode == STARTUP_FAILURE:
                    return 1
                log.error("worker %s died (exit code %s) and is replaced", worker.pid, worker.exitcode)
                time.sleep(max(0.0, self._started_at[slot] + RESPAWN_SECONDS - time.monotonic()))
                self._started_at[slot] = time.monotonic()
                self._processes[slot] = self._spawn(slot)
        return 0

    def _stop(self) -> None:
        for listening_socket in self._sockets:
            listening_socket.close()
        for worker in self._processes:
            worker.terminate()
        deadline = time.monotonic() + KILL_SECONDS
        for worker in self._processes:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.exitcode is None:
                log.error("killing worker %s, which did not stop in time", worker.pid)
                worker.kill()
                worker.join()

    def _spawn(self, slot: int) -> BaseProcess:
        """Stop signals stay blocked in the worker until it has its own handlers (`unblock_signals`)."""
        worker = multiprocessing.get_context("fork").Process(target=self._run_worker, args=(slot,))
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            worker.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return worker

    def _run_worker(self, slot: int) -> None:
        signal.set_wakeup_fd(-1)
        for other, listening_socket in enumerate(self._sockets):
            if other != slot:
                listening_socket.close()
        self._target(self._sockets[slot])


def run(
    target: WorkerTarget, *, host: str, port: int, workers: int, announce: Callable[[], None] = lambda: None
) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    try:
        sockets = listen_sockets.bind(host, port, workers)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {host}:{port}: {error.strerror or error}\n")
        return 1
    return Workers(sockets, target).run(announce)


def serve(config: Config, greeting: str) -> int:
    """Serve the gateway. Prints `greeting` and `ready` once it is ready."""
    announcer = threading.Thread(target=_announce, args=(config, greeting, os.getpid()), daemon=True)
    return run(_run_gateway, host=config.host, port=config.port, workers=config.workers, announce=announcer.start)


def _run_gateway(listening_socket: socket.socket) -> None:
    from gateway_project import asgi  # noqa: PLC0415 - imported after the fork, since it sets up Django and the gateway
    from gateway_project.server.worker import Worker  # noqa: PLC0415 - as above
    from routing import runtime  # noqa: PLC0415 - as above

    Worker(asgi.default_application, asgi.handle_request, runtime.current().stopping).run([listening_socket])


def _announce(config: Config, greeting: str, main_process: int) -> None:
    while not _is_ready(config) and os.getpid() == main_process:
        time.sleep(POLL_SECONDS)
    sys.stdout.write(f"{greeting}ready\n")
    sys.stdout.flush()


def _is_ready(config: Config) -> bool:
    """Whether a worker serves requests and has loaded its configuration."""
    host = "127.0.0.1" if config.host in ("", "0.0.0.0", "::") else config.host  # noqa: S104 - a client, not a listener
    with closing(http.client.HTTPConnection(host, config.port, timeout=2)) as connection:
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False

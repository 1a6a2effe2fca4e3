"""The main process's supervision of the workers: starts, replaces, renews and stops them."""

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

from gateway_project.server.lifespan import FINISH, STOP_SIGNALS, WORKER_SIGNALS

log = logging.getLogger(__name__)

RESPAWN_SECONDS: Final = 1.0
"""The least time between two starts of a worker, so that one that fails at once does not busy a processor."""
STARTUP_FAILURE: Final = 3
"""uvicorn's exit status of a worker whose lifespan startup failed. Its replacement would fail too."""
KILL_MARGIN_SECONDS: Final = 2.0
"""How long after the end of its grace period a worker is killed."""

STDIN: Final = 0

WorkerTarget = Callable[[socket.socket, Callable[[], None], bool], None]
"""What a worker runs: it serves the connections of its socket, and calls the function once it accepts them. Last,
whether it succeeds another worker, which goes on serving until then.
"""


class _Worker:
    """A worker process. `ready` becomes readable once it accepts connections, or has exited."""

    def __init__(
        self, target: WorkerTarget, sockets: list[socket.socket], slot: int, *, is_successor: bool = False
    ) -> None:
        self.slot = slot
        self.started_at = time.monotonic()
        self.kill_at = float("inf")
        self.ready, writer = multiprocessing.Pipe(duplex=False)
        self._process = multiprocessing.get_context("fork").Process(
            target=_run, args=(target, sockets, slot, writer, is_successor)
        )
        # Stop signals stay blocked in the worker until it has its own handlers (`unblock_signals`).
        signal.pthread_sigmask(signal.SIG_BLOCK, WORKER_SIGNALS)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)
        writer.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def sentinel(self) -> int:
        return self._process.sentinel

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    @property
    def ending(self) -> str:
        """How it has ended: a signal or an exit code."""
        code = self.exit_code or 0
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name
        return f"{name}, as the kernel sends when memory runs out" if -code == signal.SIGKILL else name

    def is_ready(self) -> bool:
        """Whether it accepts connections. Once only: it reads what the worker has reported."""
        try:
            return self.ready.poll() and bool(self.ready.recv_bytes())
        except (EOFError, OSError):
            return False

    def stop(self, number: int, seconds: float) -> None:
        """Send a stop signal, and have the worker killed if it runs on for longer than `seconds`."""
        self.kill_at = time.monotonic() + seconds
        if self.exit_code is None and self.pid is not None:
            os.kill(self.pid, number)

    def kill_if_late(self, now: float) -> None:
        if now >= self.kill_at and self.exit_code is None:
            log.error("killing worker %s, which did not stop in time", self.pid)
            self._process.kill()
            self.kill_at = float("inf")


def _run(target: WorkerTarget, sockets: list[socket.socket], slot: int, ready: Connection, is_successor: bool) -> None:
    signal.set_wakeup_fd(-1)
    for other, listening_socket in enumerate(sockets):
        if other != slot:
            listening_socket.close()

    def report_ready() -> None:
        ready.send_bytes(b"ready")
        ready.close()

    try:
        target(sockets[slot], report_ready, is_successor)
    except Exception:
        log.exception("a worker has failed")
        raise SystemExit(1) from None


class Supervisor:
    """One worker per socket, replaced when it dies. `drain` and `grace` are in seconds. `shared` are sockets that every
    worker listens on: like the others, they are closed here when the workers stop.

    SIGTERM lets each worker drain, then finish its requests. SIGINT, or a second SIGTERM, lets it finish them at once,
    and SIGQUIT aborts them. SIGHUP renews the workers one after another: the old one finishes its requests when the
    new one accepts connections; while they stop it does nothing. At a terminal, SIGHUP stops them as SIGINT does, since
    it means that the terminal has been closed.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        target: WorkerTarget,
        *,
        drain: float,
        grace: float,
        shared: Sequence[socket.socket] = (),
    ) -> None:
        self._sockets = sockets
        self._shared = shared
        self._target = target
        self._drain, self._grace = drain, grace
        self._signals: deque[int] = deque()
        self._workers: list[_Worker] = []
        self._retired: list[_Worker] = []
        self._to_renew: deque[int] = deque()
        self._successor: _Worker | None = None

    def run(self, announce: Callable[[], None]) -> int:
        """Run until a stop signal, or until a worker fails to start. Returns the exit status.

        `announce` is called once the workers are forked: only then is it safe to start threads.
        """
        self._workers = [self._start(slot) for slot in range(len(self._sockets))]
        wake_writer, wake_reader = socket.socketpair()
        with wake_writer, wake_reader:
            wake_writer.setblocking(False)
            wake_reader.setblocking(False)
            signal.set_wakeup_fd(wake_writer.fileno(), warn_on_full_buffer=False)
            for number in STOP_SIGNALS:
                signal.signal(number, lambda number, _frame: self._signals.append(number))
            announce()
            status = self._supervise(wake_reader)
            self._stop(wake_reader)
            signal.set_wakeup_fd(-1)
        return status

    def _start(self, slot: int, *, is_successor: bool = False) -> _Worker:
        return _Worker(self._target, self._sockets, slot, is_successor=is_successor)

    def _supervise(self, wake_reader: socket.socket) -> int:
        """Until a stop signal, which stays in `_signals`. Returns the exit status."""
        while True:
            while self._signals:
                if not self._renews(self._signals[0]):
                    return 0
                self._signals.popleft()
                log.info("renewing the workers")
                self._to_renew = deque(range(len(self._sockets)))
            self._advance_renewal()
            for worker in self._workers:
                if worker.exit_code == STARTUP_FAILURE:
                    return 1
                if worker.exit_code is not None:
                    self._replace(worker)
            self._wait(wake_reader)

    def _renews(self, number: int) -> bool:
        return number == signal.SIGHUP and not os.isatty(STDIN)

    def _replace(self, worker: _Worker) -> None:
        log.error("worker %s died (%s) and is replaced", worker.pid, worker.ending)
        time.sleep(max(0.0, worker.started_at + RESPAWN_SECONDS - time.monotonic()))
        self._workers[worker.slot] = self._start(worker.slot)

    def _advance_renewal(self) -> None:
        """Start the next successor; retire a worker whose successor accepts connections."""
        successor = self._successor
        if successor is None:
            if self._to_renew:
                self._successor = self._start(self._to_renew.popleft(), is_successor=True)
        elif successor.is_ready():
            old, self._workers[successor.slot], self._successor = self._workers[successor.slot], successor, None
            old.stop(FINISH, self._grace + KILL_MARGIN_SECONDS)
            self._retired.append(old)
            self._advance_renewal()
        elif successor.exit_code is not None:
            log.error("the new worker does not start (%s): the old ones stay", successor.ending)
            self._successor = None
            self._to_renew.clear()

    def _stop(self, wake_reader: socket.socket) -> None:
        for listening_socket in (*self._sockets, *self._shared):
            listening_socket.close()
        if self._successor is not None:
            self._retired.append(self._successor)
        self._retired += self._workers
        self._workers, self._successor = [], None
        number = self._signals.popleft() if self._signals else int(signal.SIGINT)
        self._signal_workers(number, draining=False)
        while self._retired:
            while self._signals:
                number = self._signals.popleft()
                if not self._renews(number):  # there is nothing to renew any more
                    self._signal_workers(number, draining=True)
            self._wait(wake_reader)

    def _signal_workers(self, number: int, *, draining: bool) -> None:
        """Pass a stop signal on. `draining`: whether the workers are stopping already."""
        seconds = self._grace
        if number == signal.SIGQUIT:
            seconds = 0.0
        elif number == signal.SIGTERM and not draining:
            seconds += self._drain
        else:
            number = FINISH
        for worker in self._retired:
            worker.stop(number, seconds + KILL_MARGIN_SECONDS)

    def _wait(self, wake_reader: socket.socket) -> None:
        """Until a signal arrives, a worker exits, a successor is ready or a retired worker is due to be killed."""
        processes = [*self._workers, *self._retired, *([self._successor] if self._successor else ())]
        waited: list[Any] = [wake_reader, *(worker.sentinel for worker in processes)]
        if self._successor:
            waited.append(self._successor.ready)
        kill_at = min((worker.kill_at for worker in self._retired), default=float("inf"))
        timeout = None if kill_at == float("inf") else max(0.0, kill_at - time.monotonic())
        multiprocessing.connection.wait(waited, timeout)
        _empty(wake_reader)
        now = time.monotonic()
        for worker in self._retired:
            worker.kill_if_late(now)
        self._retired = [worker for worker in self._retired if worker.exit_code is None]


def _empty(wake_reader: socket.socket) -> None:
    try:
        while wake_reader.recv(1_024):
            pass
    except BlockingIOError:
        pass

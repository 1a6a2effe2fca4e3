"""Threads that end soon after their last work, unlike those of concurrent.futures."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

IDLE_SECONDS: Final = 1.0
"""How long a thread waits for more work: a flood reuses threads, and an idle worker has none."""

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPool(Executor):
    """As many threads as there is work at a time: the submitter has to bound it. The threads do not keep the process
    alive.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work = SimpleQueue[Callable[[], None]]()
        self._idle = threading.Semaphore(0)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future = Future[T]()
        self._work.put(lambda: _run(future, fn, args, kwargs))
        if not self._idle.acquire(blocking=False):
            threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        return future

    def _serve(self) -> None:
        """Run work until none comes for IDLE_SECONDS. Each item was queued with a thread for it: a new one, or a permit
        of `_idle`.
        """
        self._work.get()()
        while True:
            self._idle.release()
            try:
                work = self._work.get(timeout=IDLE_SECONDS)
            except Empty:
                if self._idle.acquire(blocking=False):
                    return
                work = self._work.get()  # it was submitted in the same moment, for this thread
            work()


def _run(future: "Future[T]", fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(fn(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 - the caller's
        future.set_exception(error)

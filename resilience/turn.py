"""Turns for threads that compete with an event loop for the interpreter (ADR 19)."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

MAX_WAIT_SECONDS: Final = 0.25
"""After this long, the holder is more likely to wait for a database or a password hash than for the interpreter."""


class Turn:
    """One thread at a time, in the order of arrival: a loop that waits for the interpreter has one competitor.

    A thread that has waited for `max_wait` seconds runs in any case: a turn orders work and protects no data.
    """

    def __init__(self, max_wait: float = MAX_WAIT_SECONDS) -> None:
        self._max_wait = max_wait
        self._mutex = threading.Lock()
        self._is_free = True
        self._waiting: deque[threading.Lock] = deque()
        self._thread = threading.local()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Run with the turn. Not reentrant."""
        self._thread.has_turn = self._take()
        try:
            yield
        finally:
            self._release()
            del self._thread.has_turn

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Wait for something else without the turn. Does nothing in a thread that is not within `taken`."""
        if not hasattr(self._thread, "has_turn"):
            yield
            return
        self._release()
        try:
            yield
        finally:
            self._thread.has_turn = self._take()

    def _take(self) -> bool:
        """Wait for the turn. Returns whether it was taken; otherwise the wait has timed out."""
        with self._mutex:
            if self._is_free:
                self._is_free = False
                return True
            handed_over = threading.Lock()
            handed_over.acquire()
            self._waiting.append(handed_over)
        if handed_over.acquire(timeout=self._max_wait):
            return True
        with self._mutex:
            if handed_over in self._waiting:
                self._waiting.remove(handed_over)
                return False
        return True

    def _release(self) -> None:
        if not self._thread.has_turn:
            return
        self._thread.has_turn = False
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_free = True

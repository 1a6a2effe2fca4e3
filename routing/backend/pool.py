"""Idle connections. The most recently used is taken first, so that surplus connections reach their idle timeout."""

from collections import deque
from collections.abc import Callable
from math import inf

from routing.backend.connection import BackendConnection


class ConnectionPool:
    """At most `max_idle` connections for each origin, each idle for less than `idle_seconds`, and none outdated."""

    def __init__(self, clock: Callable[[], float], max_idle: int, idle_seconds: float) -> None:
        self._clock = clock
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._idle: dict[tuple[str, int, bool], deque[BackendConnection]] = {}
        self._closed = False

    def take(self, key: tuple[str, int, bool]) -> BackendConnection | None:
        """An idle connection that appears to be usable, or None."""
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            if connection.is_reusable() and not self._has_expired(connection, self._clock()):
                return connection
            connection.abort()
        return None

    def put(self, connection: BackendConnection, idle_limit: float = inf) -> None:
        """Add an idle connection unless it is outdated, closing the one idle for longest if the pool is full.

        `idle_limit` is for how many seconds it may be idle by what the target says, where that is less than the pool's.
        """
        now = self._clock()
        connection.idle_until = now + min(idle_limit, self._idle_seconds)
        if self._has_expired(connection, now):
            connection.abort()
            return
        idle = self._idle.setdefault(connection.key, deque())
        idle.append(connection)
        while idle and (self._closed or len(idle) > self._max_idle or self._has_expired(idle[0], now)):
            idle.popleft().abort()

    def sweep(self) -> None:
        """Close expired and dead connections of every origin, and drop origins without any."""
        now = self._clock()
        for key, idle in list(self._idle.items()):
            while idle and (not idle[0].alive or self._has_expired(idle[0], now)):
                idle.popleft().abort()
            if not idle:
                del self._idle[key]

    def close(self) -> None:
        """Close all idle connections, and from now on every connection that is put back."""
        self._closed = True
        for idle in self._idle.values():
            while idle:
                idle.pop().abort()

    def _has_expired(self, connection: BackendConnection, now: float) -> bool:
        return now >= connection.idle_until or connection.is_outdated(now)

"""Connections at rest. The last to rest is the first to work, so that those not needed grow old."""

from collections import deque
from collections.abc import Callable

from routing.backend.connection import BackendConnection


class ConnectionPool:
    """At most `max_idle` connections for each origin, none of which has rested for `idle_seconds`."""

    def __init__(self, clock: Callable[[], float], max_idle: int, idle_seconds: float) -> None:
        self._clock = clock
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._idle: dict[tuple[str, int, bool], deque[BackendConnection]] = {}
        self._closed = False

    def take(self, key: tuple[str, int, bool]) -> BackendConnection | None:
        """A connection that works as far as can be seen, or None."""
        resting = self._idle.get(key)
        while resting:
            connection = resting.pop()
            if connection.usable() and not self._too_old(connection, self._clock()):
                return connection
            connection.abort()
        return None

    def put(self, connection: BackendConnection) -> None:
        """Lets a connection rest, in the place of the one that has rested longest if need be."""
        resting = self._idle.setdefault(connection.key, deque())
        now = connection.rested = self._clock()
        resting.append(connection)
        while resting and (self._closed or len(resting) > self._max_idle or self._too_old(resting[0], now)):
            resting.popleft().abort()

    def sweep(self) -> None:
        """Closes what is too old to be taken, wherever it leads, and forgets origins that nobody calls."""
        now = self._clock()
        for key, resting in list(self._idle.items()):
            while resting and (not resting[0].alive or self._too_old(resting[0], now)):
                resting.popleft().abort()
            if not resting:
                del self._idle[key]

    def close(self) -> None:
        """Closes all, and from now on what comes back."""
        self._closed = True
        for resting in self._idle.values():
            while resting:
                resting.pop().abort()

    def _too_old(self, connection: BackendConnection, now: float) -> bool:
        return now - connection.rested >= self._idle_seconds

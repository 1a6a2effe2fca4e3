"""A pool of connections that are made by the threads that need them.

A thread that cannot connect gets the server's own error at once, and the first one after the server's return gets a
connection. A pool that connects in the background makes each wait for its timeout, and itself longer and longer.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus

from gateway_project.postgresql.connection import QueryTimeout

LIFETIME_SECONDS: Final = 3_600.0
"""After which a connection is not used again, so that connections spread over servers that were added."""
PAUSE_SECONDS: Final = 1.0
"""After a server has not answered, how long no other request waits for it: what reads several times, as a scrape of
the metrics does, would wait as often.
"""


class ConnectionPool:
    """At most `size` connections that `connect` makes, those that were used last first. One that was idle for `idle`
    seconds is closed when another one returns; a request that finds none waits for at most `timeout` seconds.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        size: int,
        timeout: float,
        idle: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._size = size
        self._timeout = timeout
        self._idle_seconds = idle
        self._clock = clock
        self._free = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[tuple[Any, float]] = []
        self._made: dict[int, float] = {}
        """When each connection was made, by its id."""
        self._silent_until = float("-inf")
        self._is_closed = False

    def open(self) -> None:
        """Django calls it before `getconn`; a closed pool is used again."""
        self._is_closed = False

    def getconn(self) -> Any:
        """Raises psycopg.OperationalError: the server's, that it has just not answered, or that all connections are in
        use.
        """
        if self._clock() < self._silent_until:
            raise psycopg.OperationalError("the database has not answered a moment ago")
        if not self._free.acquire(timeout=self._timeout):
            raise psycopg.OperationalError(f"all {self._size} connections are in use (DATABASE_CONNECTIONS)")
        try:
            connection = self._take()
        except (QueryTimeout, psycopg.errors.ConnectionTimeout):
            self._silent_until = self._clock() + PAUSE_SECONDS
            self._free.release()
            raise
        except BaseException:
            self._free.release()
            raise
        connection._pool = self  # where Django returns it
        return connection

    def putconn(self, connection: Any) -> None:
        try:
            is_usable = self._reset(connection)
            with self._lock:
                is_kept = is_usable and not self._is_closed and not self._is_old(connection)
                if is_kept:
                    self._idle.append((connection, self._clock()))
            if not is_kept:
                self._discard(connection)
        finally:
            self._free.release()
        self._close_unused()

    def close(self) -> None:
        """Close idle connections now, and the others when they return."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            self._discard(connection)

    def _take(self) -> Any:
        """An idle connection that the server still knows, or a new one."""
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection, _ = self._idle.pop()
            try:
                connection.check()
            except QueryTimeout:
                self._discard(connection)
                raise  # the others would take as long
            except psycopg.Error:
                self._discard(connection)
            else:
                return connection
        made = self._connect()
        self._made[id(made)] = self._clock()
        return made

    def _reset(self, connection: Any) -> bool:
        """Whether it can be used by another thread."""
        if (
            connection.closed
            or not connection.is_usable
            or connection.info.transaction_status is TransactionStatus.ACTIVE
        ):
            return False
        try:
            if connection.info.transaction_status is not TransactionStatus.IDLE:
                connection.rollback()
            if not connection.autocommit:
                connection.autocommit = True
        except psycopg.Error:
            return False
        return True

    def _is_old(self, connection: Any) -> bool:
        return self._clock() - self._made[id(connection)] > LIFETIME_SECONDS

    def _close_unused(self) -> None:
        since = self._clock() - self._idle_seconds
        with self._lock:
            unused = [connection for connection, at in self._idle if at < since]
            self._idle = [(connection, at) for connection, at in self._idle if at >= since]
        for connection in unused:
            self._discard(connection)

    def _discard(self, connection: Any) -> None:
        self._made.pop(id(connection), None)
        connection.close()

"""How long the queries of this process may take."""

import time
from collections.abc import Callable
from typing import Final

QUERY_SECONDS: Final = 20.0
"""Of one query in a process that serves. The longest of a page takes less than a second; others that write at the same
time may be waited for.
"""
END_SECONDS: Final = 10.0
"""Of all queries together that a process makes as it ends: less than it has until it is killed."""


class QueryLimit:
    """No limit, until `begin`: migrations, backups and other commands take as long as they take.

    Times are in seconds. Queries that wait already are subject to changes too.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = self._end_at = float("inf")

    def begin(self, seconds: float = QUERY_SECONDS) -> None:
        """From now on a query may take this long."""
        self._seconds, self._end_at = seconds, float("inf")

    def end_within(self, seconds: float = END_SECONDS) -> None:
        """The process ends: all its queries must be over by then, if they are limited at all."""
        if self._seconds < float("inf"):
            self._end_at = self._clock() + seconds

    def deadline(self, began: float, seconds: float = float("inf")) -> float:
        """When a query that began then must be over, of which one may take at most `seconds`."""
        return min(began + min(seconds, self._seconds), self._end_at)

    def now(self) -> float:
        return self._clock()


QUERY_LIMIT: Final = QueryLimit()
"""That of this process."""

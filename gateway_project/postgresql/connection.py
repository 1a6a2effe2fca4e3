"""A connection to PostgreSQL that gives up waiting for a query.

A server that is stopped, but whose host accepts packets, and one where another transaction holds a lock, answer
nothing and refuse nothing. A timeout of the server's session helps against the second alone, and PgBouncer in
transaction mode keeps no settings of a session.
"""

import contextlib
from collections.abc import Callable, Generator
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.waiting import Ready, Wait

from gateway_project.postgresql.query_limit import QUERY_LIMIT, QueryLimit

T = TypeVar("T")

CHECK_SECONDS: Final = 5.0
"""How long the check of a connection may take: as long as connecting."""
CANCEL_SECONDS: Final = 2.0
"""How long the server may take to accept that a query is cancelled."""
INTERVAL_SECONDS: Final = 0.1
"""How often a query that waits looks at the clock."""


class QueryTimeout(psycopg.OperationalError):
    """The server has not answered in time. The connection is closed."""


class LimitedConnection(psycopg.Connection[Any]):
    """Raises QueryTimeout after the time that the limit of the process sets, and has the server cancel the query."""

    limit: QueryLimit = QUERY_LIMIT
    is_usable = True
    """Whether the next user may have it."""
    _at_most = float("inf")

    @classmethod
    def open(cls, parameters: dict[str, Any]) -> Self:
        """A new connection, in autocommit mode. Raises QueryTimeout if no query may be made any more."""
        if cls.limit.now() >= cls.limit.deadline(cls.limit.now()):
            raise QueryTimeout("the process is ending")
        return cls.connect(**{**parameters, "autocommit": True})

    def check(self) -> None:
        """Ask whether the server still knows the connection. Raises psycopg.Error."""
        self._at_most = CHECK_SECONDS
        try:
            self.execute("")
        finally:
            self._at_most = float("inf")

    def wait(self, gen: PQGen[T], interval: float = INTERVAL_SECONDS, timeout: float | None = None) -> T:
        began = self.limit.now()
        try:
            return super().wait(_limited(gen, lambda: self.limit.now() >= self._deadline(began)), interval, timeout)
        except QueryTimeout as error:
            with contextlib.suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL_SECONDS)
            self.close()
            waited = f"{self.limit.now() - began:.0f}"
            raise QueryTimeout(f"the database has not answered for {waited} s") from error

    def _deadline(self, began: float) -> float:
        return self.limit.deadline(began, self._at_most)


def _limited(steps: PQGen[T], is_late: Callable[[], bool]) -> Generator[Wait, Ready | int, T]:
    """The steps of a query. Raises QueryTimeout if the server has nothing to say for too long."""
    try:
        state = next(steps)
        while True:
            ready = yield state
            if not ready and is_late():
                raise QueryTimeout
            state = steps.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result

"""Refusals of a PostgreSQL server that are outages, though psycopg calls them internal errors."""

from types import TracebackType
from typing import Final

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DatabaseErrorWrapper

from gateway_project.postgresql.connection import LimitedConnection

OUTAGES: Final = frozenset({"25006", "25P03", "25P04"})
"""PostgreSQL's codes of a write to a read-only server (a standby, or one whose disk is full), and of transactions that
it has ended because they were idle or lasted for too long.
"""


class OutageErrorWrapper(DatabaseErrorWrapper):
    """Raises them as OperationalError, as every other outage of the database. The connection is not used again: a new
    one may lead to the server that accepts writes now.
    """

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        super().__init__(wrapper)
        self._database = wrapper

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and getattr(error, "sqlstate", None) in OUTAGES:
            if isinstance(self._database.connection, LimitedConnection):
                self._database.connection.is_usable = False
            raise OperationalError(*error.args).with_traceback(traceback) from error
        super().__exit__(kind, error, traceback)

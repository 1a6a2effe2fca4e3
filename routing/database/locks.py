"""Locks that processes on different machines share through the database."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Final

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

log = logging.getLogger(__name__)

MIGRATION: Final = 0x67_61_74_65_01
CONFIGURATION: Final = 0x67_61_74_65_02
"""Keys of PostgreSQL's advisory locks, which are numbers."""
_TIMEOUTS: Final = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
"""PostgreSQL's settings that would end the wait for a lock, or the lock."""
_WAITING: Final = "waiting for another process, which migrates the database"


def lock_configuration() -> None:
    """Wait until no other transaction that has called this is open. SQLite admits one writing transaction anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CONFIGURATION])


@contextmanager
def migration_lock(database: BaseDatabaseWrapper) -> Iterator[None]:
    """Wait until no other process migrates `database`, and let none begin until the end of the block.

    The lock ends with the process that holds it, however that ends.
    """
    if database.vendor == "postgresql":
        with _advisory_lock(database, MIGRATION):
            yield
    elif database.vendor == "sqlite" and not database.is_in_memory_db():  # type: ignore[attr-defined] # SQLite's alone
        with _file_lock(Path(f"{database.settings_dict['NAME']}.migrate")):
            yield
    else:
        yield


@contextmanager
def _advisory_lock(database: BaseDatabaseWrapper, key: int) -> Iterator[None]:
    """Held by a transaction of a connection of its own. A session's lock would stay at the server's connection of a
    pooler that gives each transaction another one, and nobody could release it.
    """
    import psycopg  # noqa: PLC0415 - not every database needs it

    with database.wrap_database_errors:
        holder = psycopg.connect(**database.get_connection_params())
    try:
        with database.wrap_database_errors:
            for setting in _TIMEOUTS:
                holder.execute(f"SET LOCAL {setting} = 0")
            locked = holder.execute("SELECT pg_try_advisory_xact_lock(%s)", [key]).fetchone()
            if locked is None or not locked[0]:
                log.info(_WAITING)
                holder.execute("SELECT pg_advisory_xact_lock(%s)", [key])
        yield
    finally:
        holder.close()


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            log.info(_WAITING)
            flock(file, LOCK_EX)
        yield

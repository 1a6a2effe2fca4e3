"""At the start: waits for an unavailable database, and migrates its tables, or reports that they are out of date."""

import logging
import math
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from django.core.management import call_command
from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from gateway_project.django_settings.databases import describe
from routing.database.locks import migration_lock

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.5
CONNECT_SECONDS: Final = 5
"""How long one attempt may take: a host that drops packets answers nothing."""
REPORT_SECONDS: Final = 10.0
"""How often an attempt is logged while the reason stays the same."""
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class DatabaseUnavailable(Exception):
    """The database cannot be used, for the reason in the message. It contains no password."""


def wait_for_database(
    database: BaseDatabaseWrapper,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once the database accepts connections. Raises DatabaseUnavailable after `seconds`.

    All errors of a server are waited for, since one that is being set up refuses users and databases too. A SQLite
    file that is not merely locked is reported at once.
    """
    began = clock()
    reported_at, reported = float("-inf"), ""
    with _stoppable():
        while True:
            try:
                _connect(database)
            except DatabaseError as error:
                reason, waited = describe(error), clock() - began
                if waited >= seconds or not _may_pass(database, error):
                    after = f" for {seconds:g} s" if seconds and _may_pass(database, error) else ""
                    raise DatabaseUnavailable(f"cannot connect to the database{after}: {reason}") from None
                if reason != reported or clock() - reported_at >= REPORT_SECONDS:
                    log.warning("waiting for the database, up to %d s more: %s", math.ceil(seconds - waited), reason)
                    reported_at, reported = clock(), reason
                sleep(RETRY_SECONDS)
            else:
                break
    if reported:
        log.info("the database accepts connections")


def prepare_database(database: BaseDatabaseWrapper, seconds: float) -> None:
    """Wait for the database, and migrate a SQLite file.

    A database server may be shared, so there unapplied migrations are an error, unless a process is about to apply
    them. Raises DatabaseUnavailable.
    """
    wait_for_database(database, seconds)
    if not has_unapplied_migrations(database):
        return
    if database.vendor == "sqlite":
        call_command("migrate", verbosity=0)
        return
    with migration_lock(database):
        pass  # no process applies migrations any more
    if has_unapplied_migrations(database):
        raise DatabaseUnavailable("the database has unapplied migrations: run `manage.py migrate` first")


def has_unapplied_migrations(database: BaseDatabaseWrapper) -> bool:
    executor = MigrationExecutor(database)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _connect(database: BaseDatabaseWrapper) -> None:
    """Connect without the pool, which retries by itself and hides the reason. Raises DatabaseError."""
    if database.vendor != "postgresql":
        database.ensure_connection()
        return
    import psycopg  # noqa: PLC0415 - not every database needs it

    parameters: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, **database.get_connection_params()}
    with database.wrap_database_errors:
        psycopg.connect(**parameters).close()


def _may_pass(database: BaseDatabaseWrapper, error: DatabaseError) -> bool:
    if database.vendor == "sqlite":
        return getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF in _LOCKED
    return isinstance(error, OperationalError)


@contextmanager
def _stoppable() -> Iterator[None]:
    """End the process at SIGTERM. As process 1 of a container it would ignore the signal without a handler."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)

"""Django's DATABASES setting, derived from DATABASE_URL."""

import os
import re
import shutil
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import dj_database_url
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections

from gateway_project.environment.database_address import split_hosts
from gateway_project.environment.variables import ConfigurationFault

POOL: Final = {"timeout": 10.0, "idle": 60.0}
"""Times in seconds. A request that finds no free connection waits for `timeout`."""
CLIENT: Final = {
    "application_name": "intelligence-gateway",
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""libpq's parameters, unless DATABASE_URL has others: a host that vanishes is noticed within half a minute, instead of
a quarter of an hour. Times in seconds, the last one in milliseconds.
"""
SQLITE: Final = {
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    "timeout": 10,
    "transaction_mode": "IMMEDIATE",
}
"""Workers can read while the admin writes; a second writer waits instead of failing."""

NO_SPACE: Final = 1024**2
"""Bytes below which a disk counts as full: SQLite writes a file of 32 kB before it reads, and some pages with a row."""
_PRIMARY_CODE: Final = 0xFF
_DISK: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_UNDEFINED: Final = frozenset({"42P01", "42703"})
"""PostgreSQL's codes of an undefined table and column."""
_ADVICE: Final = {
    "42501": "make the role of DATABASE_URL the owner of the database and of its tables (ALTER DATABASE NAME OWNER TO "
    "ROLE), or grant it these rights",
    "3F000": "create a schema of the role's search_path, or ALTER ROLE NAME RESET search_path",
    "57014": "raise the statement_timeout of the role of DATABASE_URL",
}
"""What to do about PostgreSQL's codes of a right or schema that is missing, and of a query that was cancelled."""
_POSTGRESQL: Final = re.compile(r'(relation|column) "?([\w.]+)"?')
_SQLITE: Final = re.compile(r"no such (table|column): ([\w.]+)")


def databases(url: str, connections: int = 10) -> dict[str, Any]:
    """The setting. Creates the directory of a SQLite file; no other database needs one. Raises ConfigurationFault for
    a file that cannot be written.

    Connections do not persist in threads: under ASGI each request has a thread of its own, whose connection would stay
    open after it. PostgreSQL's are pooled instead, at most `connections` of each process. Nothing is kept in a session
    of the server, so that a pooler may give each transaction another one.
    """
    single, hosts = split_hosts(url)
    database: dict[str, Any] = dict(dj_database_url.parse(single, conn_max_age=0, conn_health_checks=True))
    if database["ENGINE"].endswith("sqlite3"):
        if ":memory:" not in database["NAME"]:
            _check_writable(Path(database["NAME"]))
        database["OPTIONS"] = SQLITE
        _leave_out_postgresql()
    else:
        if len(hosts) > 1:
            database |= {
                "HOST": ",".join(name for name, _ in hosts),
                "PORT": ",".join(port or "5432" for _, port in hosts),
            }
        os.environ.setdefault("PGDATESTYLE", "ISO")  # psycopg reads times in no other form, which a role may have set
        pool = {**POOL, "size": connections}
        database |= {
            "ENGINE": "gateway_project.postgresql",
            "OPTIONS": {**CLIENT, **database.get("OPTIONS", {}), "pool": pool},
            "DISABLE_SERVER_SIDE_CURSORS": True,
        }
    return {"default": database}


def _leave_out_postgresql() -> None:
    """Unfold and Django REST framework import `django.contrib.postgres` wherever it can be, and thereby psycopg: an
    eighth of the processor time of each command, and 9 MB of each process, of which nothing is used with SQLite.
    """
    halted: Any = None  # as Python marks a module that is not to be imported
    sys.modules.setdefault("django.contrib.postgres", halted)


def _check_writable(file: Path) -> None:
    """SQLite writes files beside the database's own, and its own error does not name what it cannot write."""
    directory, reason = file.absolute().parent, ""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    else:
        for path in (directory, file):
            if path.exists() and not os.access(path, os.W_OK):
                reason = reason or f"{path} cannot be written by the user {os.geteuid()}"
    if reason:
        advice = "set DATA_DIR to a directory that it can write, or DATABASE_URL to a PostgreSQL server"
        raise ConfigurationFault([f"DATABASE_URL: {reason}; {advice}"])


def close_connections() -> None:
    """Close this process's connections and pools before it forks: a child has no threads to maintain a pool."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()


def explain(error: BaseException) -> str | None:
    """What an operator can do about an error of the database, in one line; None if it is a fault of the code."""
    if (table := missing_table(error)) is not None:
        return f"the database lacks {table}: run `manage.py migrate` first"
    if (refused := refusal(error)) is not None:
        return f"the database refuses it: {refused[0]}; {refused[1]}"
    if isinstance(error, OperationalError) and not _is_fault(error):
        return f"the database is unavailable: {describe(error)}"
    if getattr(error.__cause__, "sqlite_errorcode", 0) & _PRIMARY_CODE in _DAMAGED:
        return f"the database cannot be used: {describe(error)}; restore a backup of it"
    return None


def refusal(error: BaseException) -> tuple[str, str] | None:
    """The first line of PostgreSQL's error and what to do about it, if the role, and no fault of the code, is the
    reason; otherwise None. Django's error about the table of migrations has only a context, and no cause.
    """
    found: BaseException | None = error
    while found is not None:
        if (advice := _ADVICE.get(getattr(found, "sqlstate", None) or "")) is not None:
            return str(found).partition("\n")[0], advice
        found = found.__cause__ or found.__context__
    return None


def describe(error: BaseException) -> str:
    """The error on one line: psycopg lists all addresses that it has tried, and SQLite does not say that a disk is full
    if it cannot make one of the files beside the database's own.
    """
    text = " ".join(str(error).split())
    if getattr(error.__cause__, "sqlite_errorcode", 0) & _PRIMARY_CODE in _DISK:
        directory = Path(connections[DEFAULT_DB_ALIAS].settings_dict["NAME"]).absolute().parent
        with suppress(OSError):
            if shutil.disk_usage(directory).free < NO_SPACE:
                return f"{text}; no space is left in {directory}"
    return text


def _is_fault(error: OperationalError) -> bool:
    """SQLite reports statements that are wrong with the general code of its errors."""
    return getattr(error.__cause__, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR


def missing_table(error: BaseException) -> str | None:
    """The missing table or column, which a migration would create, if the error is about one; otherwise None.

    SQLite has no error code for it.
    """
    cause = error.__cause__
    if getattr(cause, "sqlstate", None) in _UNDEFINED:
        found = _POSTGRESQL.search(str(cause))
    else:
        found = _SQLITE.search(str(error)) if isinstance(error, OperationalError) else None
    return None if found is None else f"the {found[1].replace('relation', 'table')} {found[2]}"

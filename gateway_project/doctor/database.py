"""The database: whether it can be used, and how well."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.config import Config
from gateway_project.django_settings.databases import describe, refusal
from gateway_project.doctor.finding import Finding, error, ok, warning
from gateway_project.starting.database import DatabaseUnavailable, has_unapplied_migrations, wait_for_database

SLOW_MS: Final = 20.0
OLDEST_POSTGRESQL: Final = 14
SKEW_SECONDS: Final = 1.0
ROUNDS: Final = 5
UNAVAILABLE: Final = {
    "postgresql": "check DATABASE_URL, and that the server runs and accepts this machine",
    "sqlite": "check that DATA_DIR or DATABASE_URL names the gateway's database, and that its disk has space",
}
"""What to do, by the kind of database."""
MIGRATIONS: Final = "migrations"
LACKS_RIGHTS: Final = """
SELECT relname FROM pg_class
WHERE relname = ANY(%s) AND pg_table_is_visible(oid) AND NOT (
    has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
    AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')
)
"""
NAMED: Final = 5
"""Tables that a finding names."""


def check_database(config: Config, database: BaseDatabaseWrapper) -> Iterator[Finding]:
    """The findings about the database; only the first one if it cannot be used."""
    file = Path(database.settings_dict["NAME"]) if database.vendor == "sqlite" else None
    if file is not None and not file.exists():
        yield warning("database", f"there is no {file} yet", "`manage.py migrate` makes it, as the first start does")
        return
    try:
        wait_for_database(database, 0)
        yield _latency(database)
        if database.vendor == "postgresql":
            yield from _postgresql(config, database)
        else:
            yield _journal(database)
            yield from check_readers(Path(database.settings_dict["NAME"]))
        yield _migrations(database)
        if database.vendor == "postgresql":
            yield from check_rights(database)
    except DatabaseUnavailable as fault:
        yield error("database", str(fault), UNAVAILABLE[database.vendor])
    except DatabaseError as fault:
        message, advice = refusal(fault) or (describe(fault), "check that DATABASE_URL names the gateway's database")
        yield error("database", message, advice)


def _latency(database: BaseDatabaseWrapper) -> Finding:
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        _value(database, "SELECT 1")
        seconds.append(time.perf_counter() - began)
    took = median(seconds) * 1_000
    message = f"{database.display_name} {'.'.join(map(str, database.get_database_version()))}, {took:.1f} ms a query"
    if took > SLOW_MS:
        return warning("database", message, "put it nearer: the admin, the dashboard and logins wait for it")
    return ok("database", message)


def _postgresql(config: Config, database: BaseDatabaseWrapper) -> Iterator[Finding]:
    version = int(_value(database, "SHOW server_version_num")) // 10_000
    if version < OLDEST_POSTGRESQL:
        yield error("database version", f"PostgreSQL {version}", f"upgrade to {OLDEST_POSTGRESQL} or later")
    yield from check_transactions(database)
    yield from check_role(database)
    yield from check_encoding(database)
    yield _clock(database)
    yield check_connections(database, config.server.workers * config.database_connections)


def check_connections(database: BaseDatabaseWrapper, needed: int) -> Finding:
    """Whether the server, the role and the database allow `needed` connections. -1 is no limit of the last two."""
    limits = {
        "max_connections": int(_value(database, "SHOW max_connections"))
        - int(_value(database, "SHOW superuser_reserved_connections")),
        "the role's CONNECTION LIMIT": _value(database, "SELECT rolconnlimit FROM pg_roles WHERE rolname=current_user"),
        "the database's CONNECTION LIMIT": _value(
            database, "SELECT datconnlimit FROM pg_database WHERE datname=current_database()"
        ),
    }
    known = {name: limit for name, limit in limits.items() if limit is not None and limit >= 0}
    least = min(known, key=lambda name: known[name])
    message = f"{known[least]} connections; this gateway opens at most {needed}"
    if known[least] >= needed:
        return ok("database connections", message)
    advice = f"raise {least}, lower WORKERS or DATABASE_CONNECTIONS, or put PgBouncer between"
    return warning("database connections", message, advice)


def check_transactions(database: BaseDatabaseWrapper) -> Iterator[Finding]:
    """Nothing if transactions are accepted. PgBouncer refuses them with `pool_mode = statement`."""
    try:
        database.set_autocommit(False)
        _value(database, "SELECT 1")
        database.rollback()
        database.set_autocommit(True)
    except DatabaseError as fault:
        database.close()
        yield error("database transactions", describe(fault), "set pool_mode of PgBouncer to transaction or session")


def check_encoding(database: BaseDatabaseWrapper) -> Iterator[Finding]:
    """Nothing for UTF-8."""
    encoding = _value(database, "SHOW server_encoding")
    if encoding != "UTF8":
        advice = "CREATE DATABASE NAME ENCODING 'UTF8' TEMPLATE template0, and restore a backup into it"
        yield warning("database encoding", f"{encoding}: texts in other scripts may be refused", advice)


def check_role(database: BaseDatabaseWrapper) -> Iterator[Finding]:
    """Nothing if the server accepts writes."""
    if _value(database, "SELECT pg_is_in_recovery()"):
        yield error("database role", "a standby, which is read only", "name the primary in DATABASE_URL")
    elif _value(database, "SHOW transaction_read_only") == "on":
        advice = "find out who has set default_transaction_read_only, and why: a provider does where the disk is full"
        yield error("database role", "a primary that is read only", advice)


def _clock(database: BaseDatabaseWrapper) -> Finding:
    before = time.time()
    theirs = float(_value(database, "SELECT extract(epoch FROM clock_timestamp())"))
    skew = theirs - (before + time.time()) / 2
    if abs(skew) > SKEW_SECONDS:
        return warning("database clock", f"differs by {skew:.1f} s from this machine's", "run an NTP client on both")
    return ok("database clock", "agrees with this machine's")


def _journal(database: BaseDatabaseWrapper) -> Finding:
    mode = _value(database, "PRAGMA journal_mode")
    if mode != "wal":
        advice = "use a local disk: a network file system cannot share the write-ahead log between workers"
        return warning("database journal", f"{mode} instead of wal: reads wait for writes", advice)
    return ok("database journal", "wal; for more than one machine, use PostgreSQL")


def check_readers(file: Path) -> Iterator[Finding]:
    """Nothing if no other user of the machine can read a SQLite file. DATA_DIR keeps them out, unless it was there
    before the first start.
    """
    if file.stat().st_mode & 0o044 and file.absolute().parent.stat().st_mode & 0o011:
        advice = f"chmod 700 {file.absolute().parent}: the database has sessions, and may have secrets"
        yield warning("database readers", f"other users of this machine can read {file}", advice)


def _migrations(database: BaseDatabaseWrapper) -> Finding:
    if has_unapplied_migrations(database):
        return error(MIGRATIONS, "some are not applied", _obstacle(database) or "run `manage.py migrate`")
    return ok(MIGRATIONS, "all are applied")


def check_rights(database: BaseDatabaseWrapper) -> Iterator[Finding]:
    """Nothing if the role may read and write all tables of the gateway."""
    with database.cursor() as cursor:
        cursor.execute(LACKS_RIGHTS, [database.introspection.django_table_names()])
        refused = sorted(name for (name,) in cursor.fetchall())
    if refused:
        names = ", ".join(refused[:NAMED]) + (f" and {len(refused) - NAMED} more" if len(refused) > NAMED else "")
        advice = "ALTER TABLE NAME OWNER TO ROLE, or GRANT SELECT, INSERT, UPDATE, DELETE on them"
        yield error("database rights", f"the role may not read and write {names}", advice)


def _obstacle(database: BaseDatabaseWrapper) -> str:
    """What has to be done before `migrate` can create tables; empty for nothing."""
    if database.vendor != "postgresql":
        return ""
    schema = _value(database, "SELECT current_schema()")
    if schema is None:
        return "no schema of the role's search_path exists: create one, or ALTER ROLE NAME RESET search_path"
    if not _value(database, "SELECT has_schema_privilege(current_schema(), 'CREATE')"):
        return (
            f"the role may not create tables in the schema {schema}: ALTER DATABASE NAME OWNER TO ROLE, "
            "then run `manage.py migrate`"
        )
    return ""


def _value(database: BaseDatabaseWrapper, query: str) -> Any:
    with database.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
    return row[0] if row else None

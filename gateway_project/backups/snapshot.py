"""Writes a backup of one moment, while the gateway goes on serving and writing."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, Final

import msgspec
from django.apps import apps
from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from gateway_project.backups.format import BackupHeader, Table, Writer
from gateway_project.backups.tables import LEFT_OUT, SEALED, Model, columns, stored_models
from gateway_project.version import VERSION
from routing.credentials.cipher import Cipher

KEY: Final = "backup"
"""The name, and the content, of the header's `key`."""
CHUNK_BYTES: Final = 4_000_000
"""About how much is read at a time: some tables have rows of a megabyte."""
FEW_ROWS: Final = 20
MANY_ROWS: Final = 2_000


def write_backup(file: IO[bytes], database: BaseDatabaseWrapper, cipher: Cipher) -> int:
    """Write all tables as they are at one moment. Returns the number of rows. Raises DatabaseError."""
    with _snapshot(database):
        writer = Writer(file, _header(database, cipher))
        for model in stored_models(apps):
            if model._meta.label not in LEFT_OUT:
                _write_table(writer, model, database, cipher)
        writer.close()
    return writer.rows


def seal_name(label: str, column: str) -> str:
    """The column that a ciphertext is bound to, so that it cannot be moved to another one."""
    return f"backup {label}.{column}"


def _header(database: BaseDatabaseWrapper, cipher: Cipher) -> BackupHeader:
    applied: dict[str, list[str]] = {}
    installed = {app.label for app in apps.get_app_configs()}
    for app, name in sorted(MigrationRecorder(database).applied_migrations()):
        if app in installed:
            applied.setdefault(app, []).append(name)
    return BackupHeader(
        gateway=VERSION,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        database=database.vendor,
        migrations=applied,
        key=cipher.encrypt(KEY, KEY.encode()).decode(),
    )


def _write_table(writer: Writer, model: Model, database: BaseDatabaseWrapper, cipher: Cipher) -> None:
    label, names = model._meta.label, [field.attname for field in columns(model)]
    sealed = SEALED.get(label, ())
    writer.table(Table(table=label, columns=names, sealed=list(sealed)))
    places = [(names.index(column), seal_name(label, column)) for column in sealed]
    for row in _rows(model, names, database, writer):
        for place, name in places:
            if row[place] is not None:
                row[place] = cipher.encrypt(name, msgspec.json.encode(row[place])).decode()
        writer.row([bytes(value) if isinstance(value, memoryview) else value for value in row])


def _rows(model: Model, names: list[str], database: BaseDatabaseWrapper, writer: Writer) -> Iterator[list[Any]]:
    """All rows by primary key, a chunk at a time. Not by a server-side cursor: behind a transaction pooler, it ends
    with its transaction.
    """
    rows: models.QuerySet[Any] = model._base_manager.using(database.alias).order_by("pk")
    pk, count, last = names.index(model._meta.pk.attname), FEW_ROWS, None
    while True:
        chunk = list((rows if last is None else rows.filter(pk__gt=last)).values_list(*names)[:count])
        before = writer.size
        for row in chunk:
            yield list(row)
        if len(chunk) < count:
            return
        last = chunk[-1][pk]
        count = min(max(count * CHUNK_BYTES // max(writer.size - before, 1), FEW_ROWS), MANY_ROWS)


@contextmanager
def _snapshot(database: BaseDatabaseWrapper) -> Iterator[None]:
    """Let all reads of the block see the database at one moment."""
    if database.vendor == "postgresql":
        with transaction.atomic(using=database.alias), database.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
        return
    # Not `atomic`: on SQLite it begins a write transaction, which would keep the gateway from writing.
    with database.cursor() as cursor:
        cursor.execute("BEGIN DEFERRED")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")

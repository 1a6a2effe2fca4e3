"""Restores a backup into a database of either kind, in one transaction.

The whole file is checked before anything is changed. A backup of an earlier version is loaded at the migrations that it
was made with, and then migrated.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from django.apps import apps as installed_apps
from django.core.management import call_command
from django.core.management.color import no_style
from django.core.management.commands import migrate
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from gateway_project.backups.format import BackupHeader, Table, UnreadableBackup, read, read_header
from gateway_project.backups.snapshot import KEY, seal_name
from gateway_project.backups.tables import MADE_BY_MIGRATIONS, Model, columns, stored_models
from gateway_project.version import VERSION
from routing.credentials.cipher import Cipher
from routing.database.locks import lock_configuration, migration_lock

BATCH_ROWS: Final = 500
_BATCH_LINES: Final = 4_000_000
"""How many characters of rows are inserted at a time, approximately."""
Node = tuple[str, str]
"""App and name of a migration."""


class NotEmpty(Exception):
    """The database has data, which would be replaced."""


class Restore:
    """Checks the file at once. Raises UnreadableBackup."""

    def __init__(self, path: Path, database: BaseDatabaseWrapper, cipher: Cipher) -> None:
        self._path = path
        self._database = database
        self._cipher = cipher
        self.header = read_header(path)
        self._nodes = _nodes(self.header, MigrationExecutor(database))
        if cipher.decrypt(KEY, self.header.key.encode()) is None:
            raise UnreadableBackup("it was made with another SECRET_KEY or other CREDENTIAL_KEYS: set those")
        self.rows = sum(not isinstance(line, BackupHeader | Table) for line in read(path))

    def run(self, actor: str, *, replace: bool) -> None:
        """Restore. Data that the database has is deleted if `replace`. Raises NotEmpty, UnreadableBackup and
        DatabaseError; the database then has what it had before, perhaps without its newest migrations.
        """
        with migration_lock(self._database):
            has_data = self.has_data()
            if has_data and not replace:
                raise NotEmpty
            executor = MigrationExecutor(self._database)
            if has_data and self._is_earlier(executor):
                raise UnreadableBackup(
                    f"it is of version {self.header.gateway}, and this gateway is {VERSION}: restore it into an "
                    "empty database, which is then migrated"
                )
            targets = _leaves(self._nodes, executor)
            if self._is_earlier(executor):
                executor.migrate(targets)
                executor = MigrationExecutor(self._database)
            else:
                self._migrate()
            with transaction.atomic(using=self._database.alias):
                lock_configuration()
                self._load(executor.loader.project_state(targets).apps, actor)
            self._migrate()

    def _migrate(self) -> None:
        """Django's own command: the lock is held already."""
        call_command(migrate.Command(), database=self._database.alias, verbosity=0)

    def _is_earlier(self, executor: MigrationExecutor) -> bool:
        """Whether there are migrations that the backup was made without."""
        return any(node not in self._nodes for node in executor.loader.graph.nodes if node[0] in self.header.migrations)

    def has_data(self) -> bool:
        """Whether the database has rows that would be replaced."""
        present = set(self._database.introspection.table_names())
        with self._database.cursor() as cursor:
            for model in stored_models(installed_apps):
                if model._meta.db_table in present and model._meta.label not in MADE_BY_MIGRATIONS:
                    cursor.execute(f"SELECT 1 FROM {self._quote(model._meta.db_table)} LIMIT 1")  # noqa: S608 - a table's name
                    if cursor.fetchone():
                        return True
        return False

    def _load(self, apps: Any, actor: str) -> None:
        models = {model._meta.label: model for model in stored_models(apps)}
        version = apps.get_model("routing", "ConfigurationVersion")
        numbers = [version.objects.values_list("number", flat=True).first() or 0]
        with self._database.cursor() as cursor:
            for model in models.values():
                cursor.execute(f"DELETE FROM {self._quote(model._meta.db_table)}")  # noqa: S608 - a table's name
            self._insert(cursor, models)
            for statement in self._database.ops.sequence_reset_sql(no_style(), list(models.values())):
                cursor.execute(statement)
        numbers.append(version.objects.values_list("number", flat=True).first() or 0)
        # Newer than any that a worker has seen, and without recorded changes: all is read again.
        version.objects.update_or_create(pk=1, defaults={"number": max(numbers) + 1})
        apps.get_model("metrics", "Operation").objects.create(
            at=datetime.now(UTC),
            actor=actor[:200],
            action="database.restore",
            after={"created_at": self.header.created_at, "version": self.header.gateway, "rows": self.rows},
        )

    def _insert(self, cursor: Any, models: dict[str, Model]) -> None:
        lines = read(self._path)
        next(lines)
        for table, rows in _batches(lines):
            model = models.get(table.table)
            if model is None or sorted(field.attname for field in columns(model)) != sorted(table.columns):
                raise UnreadableBackup(f"its table {table.table} has other columns than this version's")
            fields = {field.attname: field for field in columns(model)}
            chosen = [fields[name] for name in table.columns]
            names = ", ".join(self._quote(str(field.column)) for field in chosen)
            values = ", ".join(["%s"] * len(chosen))
            cursor.executemany(
                f"INSERT INTO {self._quote(model._meta.db_table)} ({names}) VALUES ({values})",  # noqa: S608 - names of the model
                [self._prepared(table, chosen, row) for row in rows],
            )

    def _prepared(self, table: Table, fields: Sequence[Any], row: list[Any]) -> list[Any]:
        if len(row) != len(fields):
            raise UnreadableBackup("it is damaged")
        return [
            field.get_db_prep_save(
                field.to_python(self._opened(table, name, value) if name in table.sealed else value), self._database
            )
            for field, name, value in zip(fields, table.columns, row, strict=True)
        ]

    def _opened(self, table: Table, column: str, value: str | None) -> Any:
        if value is None:
            return None
        content = self._cipher.decrypt(seal_name(table.table, column), value.encode())
        if content is None:
            raise UnreadableBackup(f"{table.table}.{column} cannot be decrypted: a key of CREDENTIAL_KEYS is missing")
        return msgspec.json.decode(content)

    def _quote(self, name: str) -> str:
        return str(self._database.ops.quote_name(name))


def _nodes(header: BackupHeader, executor: MigrationExecutor) -> set[Node]:
    """The backup's migrations. Raises UnreadableBackup if there is one that this version does not have."""
    nodes = {(app, name) for app, names in header.migrations.items() for name in names}
    known = set(executor.loader.graph.nodes)
    apps = {app for app, _ in known}
    if missing := sorted(header.migrations.keys() - apps):
        raise UnreadableBackup(
            f"it has data of {', '.join(missing)}, which this environment does not have: set the STAFF_ variables "
            "as they were"
        )
    if unknown := sorted(nodes - known):
        raise UnreadableBackup(
            f"it was made by version {header.gateway}, and this gateway is {VERSION}: it does not know the migration "
            f"{'.'.join(unknown[0])}"
        )
    return nodes


def _leaves(nodes: set[Node], executor: MigrationExecutor) -> list[Node]:
    """The last migration of each app."""
    graph = executor.loader.graph
    return [
        node
        for node in sorted(nodes)
        if not any(child.key in nodes and child.key[0] == node[0] for child in graph.node_map[node].children)
    ]


def _batches(lines: Iterator[Any]) -> Iterator[tuple[Table, list[list[Any]]]]:
    """Rows of one table at a time."""
    table: Table | None = None
    rows: list[list[Any]] = []
    size = 0
    for line in lines:
        if isinstance(line, Table) or len(rows) >= BATCH_ROWS or size >= _BATCH_LINES:
            if table and rows:
                yield table, rows
            rows, size = [], 0
        if isinstance(line, Table):
            table = line
            continue
        rows.append(line)
        size += sum(len(value) for value in line if isinstance(value, str))
    if table and rows:
        yield table, rows

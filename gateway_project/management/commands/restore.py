"""`manage.py restore FILE`: what `manage.py backup` has written."""

import shutil
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection

from gateway_project.backups.format import UnreadableBackup
from gateway_project.backups.restore import NotEmpty, Restore
from gateway_project.django_settings.databases import describe
from gateway_project.starting.database import DatabaseUnavailable, wait_for_database
from routing.credentials.cipher import Cipher
from routing.database.actor import command_user

STANDARD_INPUT: Final = Path("-")


class Command(BaseCommand):
    help = (
        "Restore a backup into an empty database, SQLite or PostgreSQL, which is migrated. The file is checked as a "
        "whole first, and everything is restored in one transaction, or nothing is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="a file that `backup` has written; - for standard input")
        parser.add_argument("--replace", action="store_true", help="delete what the database has")
        parser.add_argument("--check", action="store_true", help="check the file, and change nothing")

    def handle(self, *, file: Path, **options: Any) -> None:
        with _read_twice(file) as readable:
            self._restore(readable, "standard input" if file == STANDARD_INPUT else str(file), **options)

    def _restore(self, file: Path, name: str, *, replace: bool, check: bool, **_: Any) -> None:
        config = settings.CONFIG
        try:
            wait_for_database(connection, config.server.start_timeout)
            restore = Restore(file, connection, Cipher(config.credential_keys, config.secret_key))
            described = f"{restore.rows} rows of version {restore.header.gateway} at {restore.header.created_at}"
            if check:
                how = (
                    " with --replace, which deletes what the database has" if not replace and restore.has_data() else ""
                )
                self.stdout.write(f"{name}: {described}; it can be restored{how}")
                return
            restore.run(command_user(), replace=replace)
        except DatabaseUnavailable as error:
            raise CommandError(str(error)) from None
        except UnreadableBackup as error:
            raise CommandError(f"{name}: {error}") from None
        except DatabaseError as error:
            raise CommandError(f"nothing was restored: {describe(error)}") from None
        except NotEmpty:
            raise CommandError("the database is not empty; --replace deletes what it has") from None
        self.stdout.write(f"restored {described}")


@contextmanager
def _read_twice(file: Path) -> Iterator[Path]:
    """The file itself, or a copy of standard input or a pipe: a backup is checked as a whole before it is restored."""
    if file != STANDARD_INPUT and not _is_pipe(file):
        yield file
        return
    with tempfile.NamedTemporaryFile(prefix="restore-") as copy:
        if file == STANDARD_INPUT:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        else:
            with file.open("rb") as pipe:
                shutil.copyfileobj(pipe, copy)
        copy.flush()
        yield Path(copy.name)


def _is_pipe(file: Path) -> bool:
    try:
        return file.is_fifo()
    except OSError:  # what reads it says why
        return False

"""`manage.py backup FILE`: the whole database as one file, of one moment."""

import os
import signal
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from types import FrameType
from typing import IO, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from gateway_project.backups.snapshot import write_backup
from gateway_project.starting.database import DatabaseUnavailable, has_unapplied_migrations, wait_for_database
from routing.credentials.cipher import Cipher


class Command(BaseCommand):
    help = (
        "Write the whole database to one file, as it is at one moment. The gateway goes on serving meanwhile. The file "
        "has no secret in clear: SECRET_KEY and CREDENTIAL_KEYS are needed to restore it, and are kept apart from it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="the file to write, which must not exist; - for standard output")

    def handle(self, *, file: str, **_: Any) -> None:
        _check_database()
        if file == "-":
            rows = _write(sys.stdout.buffer)
            self.stderr.write(f"{rows} rows written")
            return
        path = Path(file)
        try:
            if os.path.lexists(path):  # a link to a file that is not there too
                raise FileExistsError
            rows = _write_whole(path)
        except FileExistsError:
            raise CommandError(f"{path} exists already") from None
        except OSError as error:  # whose own file name is that of the temporary file
            raise CommandError(f"{path}: {error.strerror}") from None
        self.stdout.write(f"{path}: {rows} rows, {path.stat().st_size} bytes")


def _check_database() -> None:
    try:
        wait_for_database(connection, settings.CONFIG.server.start_timeout)
    except DatabaseUnavailable as error:
        raise CommandError(str(error)) from None
    if has_unapplied_migrations(connection):
        raise CommandError("the database has unapplied migrations: run `manage.py migrate` first")


def _write_whole(path: Path) -> int:
    """The file has its name once it is complete and on disk. Only its owner may read it."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # else the temporary file would stay
        signal.signal(number, _exit)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            rows = _write(file)
            file.flush()
            os.fsync(file.fileno())
        _name(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
    return rows


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _name(temporary: str, path: Path) -> None:
    """Give the file its name, and replace no other that was made meanwhile. Raises FileExistsError then."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, as on a USB stick or a network drive
        path.touch(mode=0o600, exist_ok=False)
        Path(temporary).replace(path)


def _write(file: IO[bytes]) -> int:
    return write_backup(file, connection, Cipher(settings.CONFIG.credential_keys, settings.CONFIG.secret_key))

"""Finds the private Valkey of a running gateway, for commands such as `cache warm` in another process."""

import os
import stat
import tempfile
from pathlib import Path

from gateway_project.server.embedded import DATABASE, PREFIX, SOCKET, send_command


def running_valkey(database: str, root: Path | None = None) -> str | None:
    """The URL of the Valkey that a gateway with this database has started last; None if none runs.

    `database` is a digest; an empty one is that of no gateway. Only directories of this user are looked at.
    """
    directories = sorted((root or Path(tempfile.gettempdir())).glob(f"{PREFIX}*"), key=_started_at, reverse=True)
    for directory in directories:
        if database and _database_of(directory) == database:
            socket = directory / SOCKET
            if send_command(socket, b"PING").startswith(b"+PONG"):
                return f"unix://{socket}"
    return None


def _started_at(directory: Path) -> float:
    try:
        return directory.lstat().st_mtime
    except OSError:
        return 0.0


def _database_of(directory: Path) -> str | None:
    try:
        about = directory.lstat()
        is_own = stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
        return (directory / DATABASE).read_text() if is_own else None
    except (OSError, ValueError):
        return None

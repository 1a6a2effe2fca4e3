"""The file of a backup: gzip of lines of JSON.

The first line is the header, the last one a checksum of all before it. Between them each table has a line that names
its columns, and then a line for each row: an array of values. Times are RFC 3339, bytes are base64.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

NAME: Final = "intelligence-gateway-backup"
VERSION: Final = 1
"""The format's version, raised when an earlier release could not read what this one writes."""
MAX_LINE: Final = 512 * 1024 * 1024
"""The longest row, in bytes."""
_LEVEL: Final = 6


class UnreadableBackup(Exception):
    """The file is not a backup, is damaged, or is not for this version or environment. The message says which."""


class BackupHeader(msgspec.Struct, frozen=True, kw_only=True):
    """`migrations` are those that had been applied, by app. `key` is a text that the installation's keys decrypt."""

    format: str = NAME
    version: int = VERSION
    gateway: str
    created_at: str
    database: str
    migrations: dict[str, list[str]]
    key: str


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """The values of the columns `sealed` are encrypted."""

    table: str
    columns: list[str]
    sealed: list[str] = []


class End(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    sha256: str


Line = Table | list[Any]

_encode: Final = msgspec.json.Encoder().encode


class Writer:
    """Writes a backup to `file`, which stays open. `size` is what was written in bytes, before compression."""

    def __init__(self, file: IO[bytes], header: BackupHeader) -> None:
        self._zipped = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file)
        self._digest = hashlib.sha256()
        self.rows = self.size = 0
        self._write(header)

    def table(self, table: Table) -> None:
        self._write(table)

    def row(self, values: Sequence[Any]) -> None:
        self.rows += 1
        self._write(values)

    def close(self) -> None:
        """Write the last line. Without it the file is not a valid backup."""
        self._write(End(rows=self.rows, sha256=self._digest.hexdigest()))
        self._zipped.close()

    def _write(self, item: object) -> None:
        line = _encode(item) + b"\n"
        self._zipped.write(line)
        self._digest.update(line)
        self.size += len(line)


def read(path: Path) -> Iterator[BackupHeader | Line]:
    """The header, tables and rows. Raises UnreadableBackup, at the end too if lines are missing or were changed."""
    try:
        with gzip.open(path, "rb") as file:
            yield from _lines(file)
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise UnreadableBackup("it is no backup, or it is damaged") from None
        raise UnreadableBackup(str(error.strerror or error)) from None
    except (EOFError, zlib.error):
        raise UnreadableBackup("it is damaged, or ends too early") from None


def read_header(path: Path) -> BackupHeader:
    """Raises UnreadableBackup."""
    found = next(read(path))
    assert isinstance(found, BackupHeader)  # noqa: S101 - the first one is
    return found


def _lines(file: gzip.GzipFile) -> Iterator[BackupHeader | Line]:
    digest, rows = hashlib.sha256(), 0
    line = file.readline(MAX_LINE)
    yield _header(line)
    while True:
        digest.update(line)
        line = file.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            raise UnreadableBackup("it ends too early")
        if line.startswith(b'{"rows"'):
            end = _decode(line, End)
            if (end.rows, end.sha256) != (rows, digest.hexdigest()) or file.readline(1):
                raise UnreadableBackup("it is damaged: its checksum differs")
            return
        if line.startswith(b"["):
            rows += 1
            yield _decode(line, list)
        else:
            yield _decode(line, Table)


def _header(line: bytes) -> BackupHeader:
    """The version is checked first: a later one may have another header."""
    try:
        start = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        start = None
    if not isinstance(start, dict) or start.get("format") != NAME:
        raise UnreadableBackup("it is no backup of a gateway")
    if start.get("version") != VERSION:
        raise UnreadableBackup(f"its format is version {start.get('version')}, and this gateway reads {VERSION}")
    found: BackupHeader = _decode(line, BackupHeader)
    return found


def _decode(line: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnreadableBackup("it is damaged") from None

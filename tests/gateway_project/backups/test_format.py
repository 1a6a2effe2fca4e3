"""A file that is no whole backup, or not for this gateway, is refused with the reason."""

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.db import connection

from gateway_project.backups.format import BackupHeader, Table, UnreadableBackup, Writer, read
from gateway_project.backups.restore import Restore
from gateway_project.backups.snapshot import KEY
from routing.credentials.cipher import Cipher

CIPHER = Cipher((), "a secret key that is long enough to derive from")
MIGRATIONS = {"routing": ["0001_initial"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.backup"


def write(path: Path, migrations: dict[str, list[str]] = MIGRATIONS, **changed: Any) -> BackupHeader:
    key = CIPHER.encrypt(KEY, KEY.encode()).decode()
    header = BackupHeader(
        gateway="9.9.9", created_at="2026-01-01T00:00:00+00:00", database="sqlite", migrations=migrations, key=key
    )
    header = msgspec.structs.replace(header, **changed)
    with path.open("wb") as file:
        writer = Writer(file, header)
        writer.table(Table(table="routing.Service", columns=["id", "name"]))
        writer.row([1, "crm"])
        writer.row([2, "ma\nil"])
        writer.close()
    return header


def refusal(path: Path, cipher: Cipher = CIPHER) -> str:
    with pytest.raises(UnreadableBackup) as refused:
        Restore(path, connection, cipher)
    return str(refused.value)


def test_what_was_written_is_read(path: Path) -> None:
    header = write(path)
    table = Table(table="routing.Service", columns=["id", "name"])
    assert list(read(path)) == [header, table, [1, "crm"], [2, "ma\nil"]]


@pytest.mark.django_db
def test_a_whole_backup_is_accepted(path: Path) -> None:
    write(path)
    assert Restore(path, connection, CIPHER).rows == 2


@pytest.mark.django_db
def test_a_damaged_file_is_refused_wherever_it_ends(path: Path) -> None:
    write(path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        assert refusal(path)
    content = gzip.decompress(whole)
    path.write_bytes(gzip.compress(content.replace(b"crm", b"crn")))
    assert refusal(path) == "it is damaged: its checksum differs"
    path.write_bytes(gzip.compress(content.replace(b'[1,"crm"]\n', b"")))
    assert refusal(path) == "it is damaged: its checksum differs"
    path.write_bytes(gzip.compress(content[: content.rindex(b'{"rows"')]))
    assert refusal(path) == "it ends too early"
    path.write_bytes(gzip.compress(content.replace(b'[1,"crm"]', b'[1,"crm"')))
    assert refusal(path) == "it is damaged"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"SQLite format 3\0", gzip.compress(b'{"a":1}\n', mtime=0), gzip.compress(b"\xff\n", mtime=0)],
)
def test_another_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "no backup" in refusal(path)


@pytest.mark.django_db
def test_a_file_that_is_away_is_refused(path: Path) -> None:
    assert refusal(path) == "No such file or directory"


@pytest.mark.django_db
def test_another_format_is_refused(path: Path) -> None:
    write(path, version=2)
    assert refusal(path) == "its format is version 2, and this gateway reads 1"


@pytest.mark.django_db
def test_a_backup_of_a_later_version_is_refused(path: Path) -> None:
    write(path, {"routing": ["0001_initial", "9999_future"]})
    assert "made by version 9.9.9" in refusal(path)
    assert "routing.9999_future" in refusal(path)


@pytest.mark.django_db
def test_a_backup_with_tables_that_are_not_installed_is_refused(path: Path) -> None:
    write(path, {**MIGRATIONS, "mfa": ["0001_initial"]})
    assert "it has data of mfa, which this environment does not have" in refusal(path)


@pytest.mark.django_db
def test_a_backup_of_another_installation_is_refused(path: Path) -> None:
    write(path)
    assert "another SECRET_KEY" in refusal(path, Cipher((), "another secret key, as long as the first one"))

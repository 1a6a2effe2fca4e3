"""The name of a backup, on file systems with and without hard links."""

import errno
import os
import signal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from gateway_project.management.commands import backup
from gateway_project.management.commands.backup import _name


@pytest.fixture(params=[True, False], ids=["hard links", "no hard links"])
def temporary(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not request.param:

        def refused(*_: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / ".first.backup.tmp"
    path.write_text("rows")
    return path


def test_a_backup_has_its_name_once_it_is_complete(temporary: Path) -> None:
    path = temporary.with_name("first.backup")
    _name(str(temporary), path)
    assert path.read_text() == "rows"


def test_a_backup_replaces_no_file_that_was_made_meanwhile(temporary: Path) -> None:
    path = temporary.with_name("first.backup")
    path.write_text("another")
    with pytest.raises(FileExistsError):
        _name(str(temporary), path)
    assert (path.read_text(), temporary.read_text()) == ("another", "rows")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("link", "exists already"),
        ("missing/first.backup", "No such file or directory"),
        ("file/first.backup", "Not a directory"),
        ("n" * 300, "File name too long"),
    ],
)
def test_a_name_that_cannot_be_written_is_named(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_check_database", lambda: None)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(CommandError) as refused:
        call_command("backup", str(tmp_path / name))
    assert str(refused.value).startswith(str(tmp_path / name))
    assert str(refused.value).endswith(reason)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_backup_that_is_ended_leaves_no_file(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [(each, signal.getsignal(each)) for each in (signal.SIGTERM, signal.SIGHUP)]
    monkeypatch.setattr(backup, "_check_database", lambda: None)
    monkeypatch.setattr(backup, "_write", lambda _: signal.raise_signal(number))
    try:
        with pytest.raises(SystemExit) as ended:
            call_command("backup", str(tmp_path / "first.backup"))
    finally:
        for each, handler in before:
            signal.signal(each, handler)
    assert ended.value.code == 128 + number
    assert not list(tmp_path.iterdir())

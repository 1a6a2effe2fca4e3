"""The name of a backup, on file systems with and without hard links."""

import errno
import os
from pathlib import Path

import pytest

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

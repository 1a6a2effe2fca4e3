"""A start waits for a database that is away, and says what it waits for."""

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, DatabaseError, OperationalError
from django.db.backends.sqlite3.base import DatabaseWrapper

from gateway_project.django_settings import databases as django_databases
from gateway_project.starting import database as database_start
from gateway_project.starting.database import DatabaseUnavailable, wait_for_database
from tests.clock import FakeClock as Clock


class Server:
    """A database server that raises each of these errors, and then accepts."""

    vendor = "postgresql"

    def __init__(self, *errors: DatabaseError) -> None:
        self.errors = list(errors)
        self.attempts = 0

    def connect(self, _database: Any) -> None:
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def databases(django_db_blocker: Any) -> Iterator[None]:
    """Files of a test's own, not the suite's database."""
    with django_db_blocker.unblock():
        yield


def wait(server: Server, seconds: float, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_start, "_connect", server.connect)
    wait_for_database(server, seconds, clock=clock, sleep=clock.advance)  # type: ignore[arg-type] # what it uses of it


def test_a_server_that_comes_up_is_waited_for_with_each_reason_logged_once(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway_project.starting.database")
    refused, starting = (
        OperationalError("connection\n  refused"),
        OperationalError("the database system is starting up"),
    )
    server = Server(refused, refused, refused, starting, starting)
    wait(server, 60, clock, monkeypatch)
    assert server.attempts == 6
    assert caplog.messages == [
        "waiting for the database, up to 60 s more: connection refused",
        "waiting for the database, up to 59 s more: the database system is starting up",
        "the database accepts connections",
    ]


def test_a_server_that_stays_away_is_reported_after_the_time_limit(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(*[OperationalError("refused")] * 100)
    with pytest.raises(DatabaseUnavailable, match=r"cannot connect to the database for 25 s: refused"):
        wait(server, 25, clock, monkeypatch)
    assert len(caplog.messages) == 3  # every ten seconds
    server.attempts = 0
    with pytest.raises(DatabaseUnavailable, match=r"cannot connect to the database: refused"):
        wait(server, 0, clock, monkeypatch)
    assert server.attempts == 1


def test_a_database_that_is_ready_is_not_spoken_of(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wait(Server(), 60, clock, monkeypatch)
    assert caplog.messages == []


def test_a_file_that_is_no_database_is_reported_at_once(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "db").write_text("this is not a database, and will not become one " * 100)
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        wait_for_database(sqlite(tmp_path / "db"), 60, clock=clock, sleep=clock.advance)
    with pytest.raises(DatabaseUnavailable, match="unable to open"):
        wait_for_database(sqlite(tmp_path / "away" / "db"), 60, clock=clock, sleep=clock.advance)


@pytest.mark.parametrize(("free", "is_told"), [(0, True), (20_000, True), (10 * 1024**2, False)])
def test_a_full_disk_is_told_which_sqlite_does_not(
    free: int, is_told: bool, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = sqlite(tmp_path / "away" / "db")
    monkeypatch.setattr(django_databases, "connections", {DEFAULT_DB_ALIAS: database})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(DatabaseUnavailable) as failed:
        wait_for_database(database, 60, clock=clock, sleep=clock.advance)
    told = f"; no space is left in {tmp_path / 'away'}" if is_told else ""
    assert str(failed.value) == f"cannot connect to the database: unable to open database file{told}"


def test_a_file_that_is_locked_is_waited_for(clock: Clock, tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    def release(seconds: float) -> None:
        clock.advance(seconds)
        holder.execute("COMMIT")

    database = sqlite(tmp_path / "db")
    wait_for_database(database, 60, clock=clock, sleep=release)
    database.close()
    holder.close()


def sqlite(file: Path) -> DatabaseWrapper:
    options = {"init_command": "PRAGMA journal_mode=WAL;", "timeout": 0.01}
    settings = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(file),
        "OPTIONS": options,
        "CONN_HEALTH_CHECKS": False,
    }
    more: dict[str, Any] = {
        "ATOMIC_REQUESTS": False,
        "AUTOCOMMIT": True,
        "CONN_MAX_AGE": 0,
        "TIME_ZONE": None,
        "TEST": {},
    }
    return DatabaseWrapper({**settings, **more})

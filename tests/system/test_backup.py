"""`manage.py backup` and `restore`, rehearsed: everything comes back in either kind of database, or nothing changes."""

import gzip
import json
import sqlite3
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.system.server import PYTHON, ROOT, Server, document
from tests.system.test_postgres import database

__all__ = ["database"]  # the fixture

PLANTED = "planted-secret"
"""Begins every secret that the database has as it is."""
TARGETS = [{"url": "http://127.0.0.1:9"}]
OAUTH2 = {"grant": "client_credentials", "token_url": "https://id.example.com/t", "client_id": "gateway"}
SERVICES = {
    "crm": {
        "targets": TARGETS,
        "headers": {"Authorization": f"{PLANTED}-1"},
        "routes": [{"path": "/a", "cache": False}],
    },
    "mail": {"targets": TARGETS, "credential": {"oauth2": OAUTH2 | {"client_secret": f"{PLANTED}-2"}}},
}
WEBHOOKS = {"slack": {"verify": "shared_token", "secret": f"{PLANTED}-3"}}
FILL = """
from datetime import UTC, date, datetime, timedelta
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from metrics.models import Aggregate, CircuitChange, DailyUsage, Operation
from routing.models import ApiKey, ConfigurationVersion, Consumer, FailedDelivery, Plan
long_ago = datetime(2020, 2, 29, 12, 30, 1, 123456, UTC)
ann = User.objects.create_user("ann", password="a long password")
ann.groups.add(Group.objects.get(name="Operator"))
plan = Plan.objects.create(name="gold", quota=[{"amount": 10, "per": "month"}])
consumer = Consumer.objects.create(name="acme", plan=plan)
key = ApiKey.objects.create(name="theirs", prefix="p" * 8, digest="d" * 64, consumer=consumer, scopes=["crm"])
ApiKey.objects.filter(pk=key.pk).update(created_at=long_ago)
Aggregate.objects.create(resolution="day", start=1, service="crm", counts={"requests|200": 2**60})
CircuitChange.objects.create(at=long_ago, service="crm", before="CLOSED", after="OPEN", reason='"\\u00e4\\n\\u2028')
DailyUsage.objects.create(key="k", day=date(2020, 2, 29), requests=7, amount=2**62, emitted=[1, 2])
Operation.objects.create(actor="staff:ann", action="x", before=None, after={"a": [1, None, 0.1]})
FailedDelivery.objects.create(webhook="slack", received_at=long_ago, data=bytes(range(256)), size=256)
Session.objects.create(session_key="s" * 32, session_data="PLANTED-session", expire_date=long_ago)
""".replace("PLANTED", PLANTED)
RUN = """
import contextlib, io, json
from django.core.management import call_command
found = []
for command in %r:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        call_command(*command)
    found.append(output.getvalue())
print(json.dumps(found))
"""
SHOW_HEADERS = "from routing.models import Service; print(Service.objects.get(name='crm').headers)"
WRITE_MEANWHILE = """
import io, threading
from django.core.management import call_command
from django.db import connection
from gateway_project.backups.snapshot import write_backup
from metrics.models import CircuitChange
from django.utils import timezone
from routing.credentials.cipher import Cipher

class File(io.BytesIO):
    is_written = False
    def write(self, data):
        if not self.is_written:
            self.is_written = True
            writer = threading.Thread(target=add)
            writer.start()
            writer.join()
        return super().write(data)

def add():
    CircuitChange.objects.create(at=timezone.now(), service="meanwhile", before="CLOSED", after="OPEN")
    connection.close()

call_command("migrate", verbosity=0)
file = File()
write_backup(file, connection, Cipher((), "x" * 32))
import gzip
print(CircuitChange.objects.filter(service="meanwhile").count(), b"meanwhile" in gzip.decompress(file.getvalue()))
"""
"""Writes as the backup begins. Prints how often, and whether the backup has it."""


@pytest.fixture(scope="module")
def source() -> Iterator[Server]:
    server = Server(migrated=True)
    file = server.directory / "gateway.json"
    file.write_text(document(SERVICES, WEBHOOKS))
    run(
        server,
        ["config", "apply", file, "--allow-literal-secrets"],
        ["shell", "--no-imports", "-c", FILL],
    )
    yield server
    server.close()


@pytest.fixture(scope="module")
def backup(source: Server) -> Path:
    path = source.directory / "first.backup"
    assert str(path) in source.manage("backup", str(path))
    return path


@pytest.fixture
def empty() -> Iterator[Server]:
    server = Server()
    (server.directory / "third.json").write_text(document({"third": {"targets": TARGETS}}))
    yield server
    server.close()


def run(server: Server, *commands: Sequence[object]) -> list[str]:
    """The output of each command, run one after another in one process, since each start of Django takes seconds."""
    output: list[str] = json.loads(
        server.manage("shell", "--no-imports", "-c", RUN % [[str(word) for word in command] for command in commands])
    )
    return output


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def rows(path: Path) -> dict[str, list[Any]]:
    """The rows of each table, without what differs between two backups of the same data: ciphertexts, the version of
    the configuration, and the restore in the audit log.
    """
    found: dict[str, list[Any]] = {}
    for line in lines(path)[1:-1]:
        if isinstance(line, dict):
            table = line
            found[table["table"]] = []
        elif table["table"] != "routing.ConfigurationVersion" and "database.restore" not in line:
            shown = zip(table["columns"], line, strict=True)
            found[table["table"]].append([value is None if name in table["sealed"] else value for name, value in shown])
    return found


def test_the_file_has_everything_but_no_secret_and_only_its_owner_reads_it(source: Server, backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    content = gzip.decompress(backup.read_bytes()).decode()
    assert PLANTED in source.database.read_bytes().decode("latin-1")
    assert PLANTED not in content
    assert source.environment["SECRET_KEY"] not in content
    assert len(rows(backup)["routing.Service"]) == 2
    with pytest.raises(AssertionError, match="exists already"):
        source.manage("backup", str(backup))
    assert [path.name for path in backup.parent.glob("*backup*")] == [backup.name]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_backup_is_restored_into_an_empty_database(
    kind: str, source: Server, backup: Path, empty: Server, request: pytest.FixtureRequest
) -> None:
    if kind == "postgresql":
        empty.environment["DATABASE_URL"] = request.getfixturevalue("database")
    again = empty.directory / "second.backup"
    checked, _, _, exported, _, headers = run(
        empty,
        ["restore", "--check", backup],
        ["restore", backup],
        ["backup", again],
        ["config", "export"],
        # New rows get ids of their own, and secrets are as they were.
        ["config", "apply", empty.directory / "third.json", "--only", "third"],
        ["shell", "--no-imports", "-c", SHOW_HEADERS],
    )
    assert checked.endswith("; it can be restored\n")
    assert "it can be restored with --replace" in empty.manage("restore", "--check", str(backup))
    assert rows(again) == rows(backup)
    assert f"{PLANTED}-1" in headers
    with pytest.raises(AssertionError, match="not empty; --replace"):
        empty.manage("restore", str(backup))
    # And back.
    third = source.directory / f"third.{kind}.backup"
    _, _, former = run(source, ["restore", "--replace", again], ["backup", third], ["config", "export"])
    assert rows(third) == rows(backup)
    assert former == exported


@pytest.mark.parametrize("file", ["-", "/dev/stdin"])
def test_a_backup_is_restored_from_a_pipe(file: str, backup: Path, empty: Server) -> None:
    done = subprocess.run(
        [*PYTHON, "restore", file],
        cwd=ROOT,
        env=empty.environment,
        input=backup.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    again = empty.directory / "again.backup"
    empty.manage("backup", str(again))
    assert rows(again) == rows(backup)


def test_a_restore_that_fails_changes_nothing(source: Server, backup: Path) -> None:
    damaged = source.directory / "damaged.backup"
    damaged.write_bytes(backup.read_bytes()[:-200])
    with pytest.raises(AssertionError, match="damaged, or ends too early"):
        source.manage("restore", "--replace", str(damaged))
    # A check of SQLite that refuses a row, after all tables have been emptied.
    with sqlite3.connect(source.database) as held:
        held.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON metrics_operation BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    with pytest.raises(AssertionError, match="nothing was restored: refused") as refused:
        source.manage("restore", "--replace", str(backup))
    assert "Traceback" not in str(refused.value)
    with sqlite3.connect(source.database) as held:
        held.execute("DROP TRIGGER refuse")
    after = source.directory / "after.backup"
    source.manage("backup", str(after))
    assert rows(after) == rows(backup)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_backup_is_of_one_moment_and_lets_others_write(
    kind: str, source: Server, request: pytest.FixtureRequest, empty: Server
) -> None:
    if kind == "postgresql":
        empty.environment["DATABASE_URL"] = request.getfixturevalue("database")
    server = source if kind == "sqlite" else empty
    assert server.manage("shell", "--no-imports", "-c", WRITE_MEANWHILE).split() == ["1", "False"]

"""Replicas that migrate one database at the same time all succeed."""

import contextlib
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.system.server import PYTHON, ROOT, Server, document
from tests.system.test_postgres import database

__all__ = ["database"]  # the fixture

REPLICAS = 3
SERVICES = {name: {"targets": [{"url": "http://127.0.0.1:9"}]} for name in ("crm", "mail", "files")}


def run_at_once(
    server: Server, *arguments: str, stdin: str = "", replicas: int = REPLICAS
) -> list[subprocess.CompletedProcess[str]]:
    def run(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PYTHON, *arguments],
            cwd=ROOT,
            env=server.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    with ThreadPoolExecutor(replicas) as pool:
        return list(pool.map(run, range(replicas)))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_replicas_that_migrate_and_apply_at_once_all_succeed(kind: str, request: pytest.FixtureRequest) -> None:
    environment = {"DATABASE_URL": request.getfixturevalue("database")} if kind == "postgresql" else {}
    server = Server(environment=environment)
    try:
        for done in run_at_once(server, "migrate"):
            assert done.returncode == 0, done.stderr
        applied = run_at_once(server, "config", "apply", "-", stdin=document(SERVICES))
        assert [done.returncode for done in applied] == [0] * REPLICAS, [done.stderr for done in applied]
        assert sum("created crm" in done.stdout for done in applied) == 1
    finally:
        server.close()
    assert not Path(server.directory).exists()


def test_a_locked_file_is_told_from_a_lack_of_json() -> None:
    """Django asks SQLite for JSON in a transaction, and takes whatever that raises for a lack of it."""
    server = Server()
    try:
        server.manage("migrate")
        with contextlib.closing(sqlite3.connect(server.database, isolation_level=None)) as held:
            held.execute("BEGIN IMMEDIATE")
            (done,) = run_at_once(server, "migrate", replicas=1)
        assert "JSON" not in done.stderr
        assert (done.returncode, "database is locked" in done.stderr) in [(0, False), (1, True)]
    finally:
        server.close()

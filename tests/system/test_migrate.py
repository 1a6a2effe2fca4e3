"""Replicas that migrate one database at the same time all succeed."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.system.server import PYTHON, ROOT, Server, document
from tests.system.test_postgres import database

__all__ = ["database"]  # the fixture

REPLICAS = 3
SERVICES = {name: {"targets": [{"url": "http://127.0.0.1:9"}]} for name in ("crm", "mail", "files")}


def run_at_once(server: Server, *arguments: str, stdin: str = "") -> list[subprocess.CompletedProcess[str]]:
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

    with ThreadPoolExecutor(REPLICAS) as replicas:
        return list(replicas.map(run, range(REPLICAS)))


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

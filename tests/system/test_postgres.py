"""The gateway over PostgreSQL: migrations in a private cluster, then one request."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import skip_or_fail
from tests.system.backend import Backend
from tests.system.conftest import services
from tests.system.server import Server, document, free_port


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of an empty database on a server that is stopped after the test."""
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    directory, port = Path(tempfile.mkdtemp(prefix="pg-")), free_port()
    cluster, user = str(directory / "cluster"), _unprivileged()
    if user:
        shutil.chown(directory, user)

    def run(*command: str) -> None:
        subprocess.run(command, user=user, cwd=directory, check=True, stdout=subprocess.DEVNULL)

    run(initdb, "--pgdata", cluster, "--username", "gateway", "--auth", "trust", "--no-sync", "--encoding", "UTF8")
    settings = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory} -c fsync=off"
    run(pg_ctl, "--pgdata", cluster, "--wait", "--log", str(directory / "log"), "-o", settings, "start")
    try:
        yield f"postgresql://gateway@127.0.0.1:{port}/postgres"
    finally:
        run(pg_ctl, "--pgdata", cluster, "--wait", "--mode", "immediate", "stop")
        shutil.rmtree(directory)


def _program(name: str) -> str:
    """On Debian the server's programs are not in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name) or skip_or_fail(f"there is no {name}: PostgreSQL is missing")


def _unprivileged() -> str | None:
    """PostgreSQL does not run as root."""
    return "nobody" if os.getuid() == 0 else None


def test_a_gateway_over_postgresql_requires_migrate_and_then_serves(database: str, backend: Backend) -> None:
    server = Server(environment={"DATABASE_URL": database})
    try:
        with pytest.raises(AssertionError, match="unapplied migrations"):
            server.start()
        server.manage("migrate", "--verbosity", "0")
        key = server.manage("apikey", "create", "ours").split()[-1]
        server.manage("config", "apply", "-", stdin=document(services(backend.targets)))
        server.start()
        assert server.get("/api/v1/plain/x", key).status_code == 200
        assert server.get("/health/deep").json()["checks"]["database"]["status"] == "ok"
        server.terminate()
        assert server.wait() == 0
    finally:
        server.close()

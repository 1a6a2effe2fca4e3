"""The gateway on PostgreSQL: a private cluster, which migrate fills and one request is served from."""

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
    """The address of an empty database, whose server ends with the test."""
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    place, port = Path(tempfile.mkdtemp(prefix="pg-")), free_port()
    cluster, who = str(place / "cluster"), _unprivileged()
    if who:
        shutil.chown(place, who)

    def run(*command: str) -> None:
        subprocess.run(command, user=who, cwd=place, check=True, stdout=subprocess.DEVNULL)

    run(initdb, "--pgdata", cluster, "--username", "gateway", "--auth", "trust", "--no-sync", "--encoding", "UTF8")
    settings = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={place} -c fsync=off"
    run(pg_ctl, "--pgdata", cluster, "--wait", "--log", str(place / "log"), "-o", settings, "start")
    try:
        yield f"postgresql://gateway@127.0.0.1:{port}/postgres"
    finally:
        run(pg_ctl, "--pgdata", cluster, "--wait", "--mode", "immediate", "stop")
        shutil.rmtree(place)


def _program(name: str) -> str:
    """Debian keeps the server's programs off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name) or skip_or_fail(f"there is no {name}: PostgreSQL is missing")


def _unprivileged() -> str | None:
    """PostgreSQL refuses to be run by root."""
    return "nobody" if os.getuid() == 0 else None


def test_a_gateway_on_postgresql_asks_for_migrate_and_then_serves(database: str, backend: Backend) -> None:
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
        assert server.end() == 0
    finally:
        server.close()

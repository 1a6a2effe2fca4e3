"""The recipe for Debian, pasted as it is written, with PostgreSQL, Redis, nginx and a service of its own."""

import contextlib
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import fresh_checkout, installing
from tests.deploy.debian import install_commands, install_packages, moved
from tests.deploy.proxies import replaced
from tests.needs import skip_or_fail
from tests.ports import free_port
from tests.postgres_server import PostgresServer, program
from tests.redis_server import RedisServer
from tests.system.backend import Backend, ok
from tests.system.server import ROOT
from tests.walkthrough import agrees, record, run, with_ports

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "deployment.md"
ARCHIVE = "intelligence-gateway-0.2.0.tar.gz"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Path]:
    """The directory in place of the machine's root; what was started on it is ended."""
    yield tmp_path
    for file in tmp_path.glob("*.service.pid"):
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(file.read_text()), signal.SIGTERM)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(file.read_text()), 0)


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    """Its superuser is `postgres`, as on Debian."""
    server = PostgresServer()
    try:
        server.start()
        psql = [program("psql"), "-q", "-h", "127.0.0.1", "-p", str(server.port), "-d", "postgres"]
        subprocess.run([*psql, "-U", "gateway", "-c", "CREATE ROLE postgres SUPERUSER LOGIN"], check=True)
        subprocess.run([*psql, "-U", "postgres", "-c", "ALTER ROLE gateway RENAME TO initial"], check=True)
        yield server
    finally:
        server.close()


@pytest.fixture
def redis_port() -> Iterator[int]:
    port = free_port()
    server = RedisServer("--port", str(port), "--bind", "127.0.0.1")
    server.start()
    yield port
    server.stop()


@pytest.fixture
def shop() -> Iterator[int]:
    with Backend({"/prices": ok(b'{"tea": 3}')}) as backend:
        yield backend.port


class Ports:
    """Of this machine, instead of those of the recipe and of the files that it installs."""

    def __init__(self, **others: int) -> None:
        self.https, self.http, self.gateway = free_port(), free_port(), free_port()
        others = {"9000": others["shop"], "5432": others["database"], "6379": others["redis"]}
        self._numbers = {"8000": self.gateway, **others}

    def of(self, text: str) -> str:
        return with_ports(text, self._numbers)

    def of_site(self, text: str) -> str:
        text = replaced(text, (r"    listen \[::\].*\n", ""))
        listen = ((r"listen 443", f"listen 127.0.0.1:{self.https}"), (r"listen 80;", f"listen 127.0.0.1:{self.http};"))
        return self.of(replaced(text, *listen))


def archive(machine: Path, ports: Ports) -> None:
    """What `git archive` makes of the files as they are now, with the ports and directories of this machine."""
    checkout = fresh_checkout(machine / "clone")
    deploy = checkout / "deploy"
    for file in (deploy / "systemd" / "environment.example", deploy / "systemd" / "intelligence-gateway.service"):
        file.write_text(ports.of(moved(file.read_text(), machine)))
    site = deploy / "nginx" / "intelligence-gateway.conf"
    site.write_text(ports.of_site(moved(site.read_text(), machine)))
    with tarfile.open(machine / ARCHIVE, "w:gz") as packed:
        packed.add(checkout, "gateway")


def test_the_recipe_for_debian_works_as_it_is_written(
    machine: Path, database: PostgresServer, redis_port: int, shop: int
) -> None:
    if not Path("/usr/sbin/nginx").exists():
        skip_or_fail("nginx is not installed")
    ports = Ports(database=database.port, redis=redis_port, shop=shop)
    archive(machine, ports)
    install_packages(machine)
    names = "\n".join(f'connect-to = "{name}.example.com:443:127.0.0.1:{ports.https}"' for name in ("api", "staff"))
    (machine / ".curlrc").write_text(f"insecure\n{names}\n")
    environment = {
        "PATH": f"{install_commands(machine)}:{os.environ['PATH']}",
        "HOME": str(machine),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(database.port),
        "PGUSER": "postgres",
        "PGDATABASE": "postgres",
        **installing(),
    }
    section = PAGE.read_text().split("## Debian\n")[1].split("### Caddy\n")[0]
    page = moved(ports.of(section), machine)
    done = run(page, directory=machine, environment=environment, seconds=560)
    for step, output, _ in done:
        assert step.expected is None or agrees(step.expected, output), f"{step.commands}\n{output}"
    assert ((machine / "etc/intelligence-gateway/environment").stat().st_mode & 0o777) == 0o600
    record("production-on-debian", done)

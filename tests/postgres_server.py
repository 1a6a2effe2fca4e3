"""Real PostgreSQL servers for tests, and PgBouncer in front of one."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.needs import skip_or_fail
from tests.ports import free_port
from tests.processes import eventually

USER = "gateway"


class PostgresServer:
    """A cluster of its own without durability, at a port that survives a restart."""

    def __init__(self, *, standby_of: "PostgresServer | None" = None, port: int | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pg-"))
        self.port = port or free_port()
        self._cluster = str(self.directory / "cluster")
        shutil.chown(self.directory, unprivileged() or os.getuid())
        if standby_of is None:
            self._run(
                *("initdb", "--pgdata", self._cluster, "--username", USER, "--auth", "trust", "--no-sync"),
                *("--encoding", "UTF8"),
            )
        else:
            source = f"postgresql://{USER}@127.0.0.1:{standby_of.port}/"
            self._run(
                "pg_basebackup", "--pgdata", self._cluster, "--dbname", source, "--write-recovery-conf", "--no-sync"
            )

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> Self:
        settings = f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.directory}"
        settings += " -c fsync=off -c full_page_writes=off"
        self._control("--wait", "--log", str(self.directory / "log"), "-o", settings, "start")
        return self

    def stop(self) -> None:
        """At once, as in a crash."""
        self._control("--wait", "--mode", "immediate", "stop")

    def promote(self) -> None:
        """Let a standby become the primary."""
        self._control("--wait", "promote")

    def close(self) -> None:
        if (Path(self._cluster) / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.directory)

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "--pgdata", self._cluster, *arguments)

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            (program(name), *arguments), user=unprivileged(), cwd=self.directory, check=True, stdout=subprocess.DEVNULL
        )


class PgBouncer:
    """In transaction mode: each transaction of a client may get another connection of the server."""

    def __init__(self, server: PostgresServer, *, size: int = 3, mode: str = "transaction") -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        self.port = free_port()
        self._size = size
        self._mode = mode
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> Self:
        users, configuration = self.directory / "users", self.directory / "pgbouncer.ini"
        users.write_text(f'"{USER}" ""\n"german" ""\n')
        configuration.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={self._server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\npool_mode = {self._mode}\ndefault_pool_size = {self._size}\n"
            "max_client_conn = 200\nserver_login_retry = 1\nquery_wait_timeout = 2\n"
        )
        shutil.chown(self.directory, unprivileged() or os.getuid())
        command = (_bouncer(), str(configuration))
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(command, user=unprivileged(), stdout=log, stderr=log)
        assert eventually(lambda: b"up" in (self.directory / "log").read_bytes())
        return self

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory)


def program(name: str) -> str:
    """On Debian the server's programs are not in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name) or skip_or_fail(f"there is no {name}: PostgreSQL is missing")


def unprivileged() -> str | None:
    """PostgreSQL and PgBouncer do not run as root."""
    return "nobody" if os.getuid() == 0 else None


def _bouncer() -> str:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    return shutil.which("pgbouncer", path=path) or skip_or_fail("there is no pgbouncer")

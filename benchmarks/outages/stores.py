"""Redis and PostgreSQL behind a SlowLink, and what may happen to them."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

import psycopg
from redis import Redis

from benchmarks.outages.slow_link import SlowLink
from benchmarks.processes import NotStarted, accepts, free_port, server_process
from benchmarks.servers import temporary_directory

DELAY_SECONDS: Final = 0.3
"""Of a slow store, in each direction."""
FULL: Final = """
CREATE OR REPLACE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON %I EXECUTE FUNCTION disk_full()', name);
    END LOOP;
END $$;
"""
EMPTIED: Final = "DROP FUNCTION disk_full CASCADE"
"""PostgreSQL fails so when it cannot write: a full disk of its own would need a file system for each run."""


class Store(Protocol):
    """A store as the gateway sees it: `url` stays while the server is stopped and started."""

    name: str
    url: str

    def start(self) -> None: ...

    def stop(self) -> None:
        """Kill it: every connection ends."""

    def fill(self) -> None:
        """From now on it refuses to store more."""

    def drain(self) -> None:
        """It has room again."""

    def slow_down(self) -> None: ...

    def speed_up(self) -> None: ...


class _Linked:
    """A server of which one process at a time runs, on a port of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.link = SlowLink(self.port)
        self._running = ExitStack()

    def run(self, command: list[str], ready: Callable[[], bool], *, user: str | None = None) -> None:
        self._running.enter_context(server_process(command, ready, user=user))

    def stop(self) -> None:
        self._running.close()

    def slow_down(self) -> None:
        self.link.delay = DELAY_SECONDS

    def speed_up(self) -> None:
        self.link.delay = 0.0


class RedisStore(_Linked):
    name = "Redis"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self.url = f"redis://127.0.0.1:{self.link.port}/0"

    def start(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise NotStarted("redis-server is not installed")
        options = ["--save", "", "--appendonly", "no", "--dir", str(self._directory)]
        self.run([program, "--port", str(self.port), *options], accepts(self.port))

    def fill(self) -> None:
        with self._client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)

    def drain(self) -> None:
        with self._client() as client:
            client.config_set("maxmemory", 0)

    def _client(self) -> Redis:
        return Redis(port=self.port)


class PostgresStore(_Linked):
    name = "PostgreSQL"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory / "cluster"
        self._user = "nobody" if os.getuid() == 0 else None  # it does not run as root
        self._directory.mkdir()
        if self._user:
            shutil.chown(self._directory, self._user)
        options = ["--username", "gateway", "--auth", "trust", "--no-sync", "--encoding", "UTF8"]
        command = [_program("initdb"), "--pgdata", str(self._directory), *options]
        subprocess.run(command, user=self._user, cwd=self._directory, check=True, stdout=subprocess.DEVNULL)
        self.url = f"postgresql://gateway@127.0.0.1:{self.link.port}/postgres"

    def start(self) -> None:
        directory = str(self._directory)
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": directory}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.run([_program("postgres"), "-D", directory, *options], self._responds, user=self._user)

    def fill(self) -> None:
        self._execute(FULL)

    def drain(self) -> None:
        self._execute(EMPTIED)

    def _responds(self) -> bool:
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, command: str) -> None:
        with psycopg.connect(port=self.port, host="127.0.0.1", user="gateway", dbname="postgres") as connection:
            connection.execute(command)


@contextmanager
def stores() -> Iterator[tuple[RedisStore, PostgresStore]]:
    """Both, not started. Raises NotStarted if one is not installed."""
    with temporary_directory() as directory, ExitStack() as stack:
        both = RedisStore(directory), PostgresStore(directory)
        for store in both:
            stack.callback(store.stop)
            stack.enter_context(store.link)
        yield both


def _program(name: str) -> str:
    """On Debian the server's programs are not in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    program = str(found[-1]) if found else shutil.which(name)
    if program is None:
        raise NotStarted(f"there is no {name}: PostgreSQL is not installed")
    return program

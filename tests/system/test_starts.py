"""The gateway starts wherever it is put: as any user, without a home, and before its database and its Redis."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import resident_bytes
from tests.needs import skip_or_fail
from tests.ports import free_port
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend
from tests.system.conftest import services
from tests.system.server import PYTHON, ROOT, Server, document
from tests.system.test_postgres import database

__all__ = ["database"]  # the fixture

STRANGER = "54321"
"""A user that /etc/passwd does not have."""


def as_stranger() -> list[str]:
    """Run a command as a user without a name, who can read everything and write nothing of ours."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.getuid() != 0:
        skip_or_fail("only root can run a process as another user, with setpriv")
    # Reading is allowed, since the interpreter may be in a home directory.
    able = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    return [setpriv, f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", *able]


@pytest.fixture
def data() -> Iterator[Path]:
    """A directory that the stranger owns."""
    server = Server()
    server.directory.chmod(0o755)
    directory = server.directory / "data"
    directory.mkdir()
    if os.getuid() == 0:
        os.chown(directory, int(STRANGER), int(STRANGER))
        os.chown(server.temporary, int(STRANGER), int(STRANGER))
    yield directory
    server.close()


def test_any_user_serves_from_another_directory_without_a_home(data: Path, backend: Backend) -> None:
    file = data / "my.yaml"
    file.write_text(document(services(backend.targets)))
    program = [*as_stranger(), sys.executable, str(ROOT / "manage.py")]
    environment = {
        "SECRET_KEY": "",
        "DATABASE_URL": "",
        "DATA_DIR": str(data),
        "HOME": "",
        "TMPDIR": str(data.parent / "tmp"),
    }
    with Server(str(file), environment=environment, command=[*program, "serve"]) as server:
        key = key_in(server.log)
        assert server.get("/api/v1/plain/x", key).status_code == 200
        assert server.get("/health/deep").json()["checks"]["redis"]["status"] == "ok"
        assert server.get("/health/ready", headers={"Host": "10.1.2.3:8000"}).status_code == 200
        assert f"{server.address}/api/v1/" in server.log
        again = subprocess.run(
            [*program, "apikey", "list"], env=server.environment, cwd="/", capture_output=True, text=True, check=False
        )
        assert again.returncode == 0, again.stderr
        assert "first" in again.stdout
    assert (data / "secret_key").stat().st_mode & 0o777 == 0o600
    with Server(str(file), environment=environment, command=[*program, "serve"]) as server:
        assert server.get("/api/v1/plain/x", key).status_code == 200
        assert key not in server.log  # it was shown once
        assert "apikey list" in server.log


def test_a_directory_that_cannot_be_written_is_named_with_what_to_do(data: Path) -> None:
    program = [*as_stranger(), sys.executable, str(ROOT / "manage.py")]
    environment = {"PATH": os.defpath, "SECRET_KEY": "x" * 40, "DATA_DIR": "/proc/gateway"}
    done = subprocess.run([*program, "rungateway"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "set DATA_DIR to a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_redis_may_start_later(backend: Backend) -> None:
    with contextlib.closing(RedisServer()) as redis:
        server = Server("--workers", "2", environment={"REDIS_URL": redis.url})
        file = server.directory / "gateway.yaml"
        file.write_text(document(services(backend.targets)))
        server.environment["GATEWAY_CONFIG"] = str(file)
        with server:
            assert server.get("/api/v1/open/x").status_code == 200
            assert status(server, "redis") == "degraded"
            redis.start()
            assert eventually(lambda: status(server, "redis") == "ok", 20)


def test_a_database_server_may_start_later(database: str, backend: Backend) -> None:
    """Its port is closed until the gateway has said that it waits, and was told to reload."""
    with Forwarder(database) as forwarder:
        server = Server(environment={"DATABASE_URL": forwarder.url, "START_TIMEOUT": "50"})
        server.environment["DATABASE_URL"] = database
        server.manage("migrate", "--verbosity", "0")
        server.environment["DATABASE_URL"] = forwarder.url
        opener = threading.Thread(target=forwarder.open_when, args=(lambda: is_reloaded(server),))
        with contextlib.closing(server):
            (server.directory / "log").touch()
            opener.start()
            server.start()
            opener.join()
            messages = [json.loads(line)["message"] for line in server.log.splitlines() if line.startswith("{")]
            assert messages[0].startswith("waiting for the database, up to ")
            assert "refused" in messages[0]
            assert "the database accepts connections" in messages
            assert server.get("/health/deep").json()["checks"]["database"]["status"] == "ok"
            assert doctor(server, "database", "migrations") == dict.fromkeys(
                ["database", "database clock", "database connections", "migrations"], "ok"
            )


def is_reloaded(server: Server) -> bool:
    """Send SIGHUP once the server waits. Returns whether it does."""
    if "waiting" not in server.log:
        return False
    os.kill(server.pid, signal.SIGHUP)
    return True


@pytest.mark.parametrize("command", ["rungateway", "migrate"])
def test_a_database_that_stays_away_ends_the_start_with_one_clear_line(command: str) -> None:
    url = f"postgresql://gateway:hunter2@127.0.0.1:{free_port()}/gateway"
    server = Server(environment={"DATABASE_URL": url, "START_TIMEOUT": "1"})
    with contextlib.closing(server), pytest.raises(AssertionError) as refused:
        server.manage(command)
    text = str(refused.value)
    assert "cannot connect to the database for 1 s: " in text
    assert "refused" in text
    assert "Traceback" not in text
    assert "hunter2" not in text


def test_replicas_that_start_at_once_on_a_new_file_all_serve(backend: Backend) -> None:
    first = Server()
    second = Server(environment={"DATABASE_URL": f"sqlite:///{first.database}"})
    with contextlib.closing(first), contextlib.closing(second):
        starts = [threading.Thread(target=server.start) for server in (first, second)]
        for start in starts:
            start.start()
        for start in starts:
            start.join()
        assert [server.get("/health/ready").status_code for server in (first, second)] == [200, 200]


def test_a_start_that_migrates_keeps_no_memory_of_it() -> None:
    """Migrations need 30 MB: the states of all models at each of them."""
    with Server() as server:
        (worker,) = server.workers
        first = [resident_bytes(pid) for pid in (server.pid, worker)]
        server.terminate()
        server.wait()
        server.start()
        (worker,) = server.workers
        again = [resident_bytes(pid) for pid in (server.pid, worker)]
    assert first == pytest.approx(again, rel=0.1)


def doctor(server: Server, *checks: str) -> dict[str, str]:
    """The levels of its findings whose names begin so."""
    done = subprocess.run(
        [*PYTHON, "doctor", "--json"], cwd=ROOT, env=server.environment, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    found = {item["check"]: item["level"] for item in json.loads(done.stdout)["findings"]}
    return {check: level for check, level in found.items() if check.startswith(checks)}


def status(server: Server, check: str) -> str:
    return str(server.get("/health/deep").json()["checks"][check]["status"])


def key_in(log: str) -> str:
    (line,) = [line for line in log.splitlines() if line.startswith("API key")]
    return line.split()[2]


class Forwarder:
    """A port that is closed until `open_when`, and then leads to the server of `url`."""

    def __init__(self, url: str) -> None:
        self._port = free_port()
        self._target = int(url.rpartition("/")[0].rpartition(":")[2])
        self.url = url.replace(f":{self._target}/", f":{self._port}/")
        self._process: subprocess.Popen[Any] | None = None

    def __enter__(self) -> "Forwarder":
        return self

    def open_when(self, condition: Callable[[], bool]) -> None:
        eventually(condition, 40)
        self._process = subprocess.Popen([sys.executable, "-c", FORWARD, str(self._port), str(self._target)])

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


FORWARD = """
import asyncio, sys
listening, target = map(int, sys.argv[1:])
async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def serve(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", target)
    await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)
async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", listening)).serve_forever()
asyncio.run(main())
"""

"""Runs `manage.py rungateway` as users do, in its own process with its own database."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import requests

from tests.ports import free_port
from tests.processes import children, eventually, has_exited

ROOT: Final = Path(__file__).resolve().parents[2]
PYTHON: Final = [sys.executable, "-W", "error::ResourceWarning", "manage.py"]
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
"""How long to wait for a server that does not stop; normally it takes a fraction of that."""
QUICK_PASSWORDS: Final = {"DJANGO_SETTINGS_MODULE": "tests.server_settings"}
"""The environment of a gateway that many people log in to."""
MAX_CONNECTIONS: Final = 100
"""How many are opened and kept before a pause: a worker that has just been started accepts none yet."""


class Server:
    """`directory` has its database, log and temporary files."""

    def __init__(
        self,
        *arguments: str,
        seed: Path | None = None,
        migrated: bool = False,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (*PYTHON, "rungateway"),
        root: Path = ROOT,
    ) -> None:
        """`root` is the directory of the code. Its database begins as a copy of `seed`, or `migrated` and empty."""
        self.directory = Path(tempfile.mkdtemp(prefix="gw-"))  # short: a socket's path has a limit
        self.temporary = self.directory / "tmp"
        self.temporary.mkdir()
        if seed:
            shutil.copy(seed, self.database)
        elif migrated:
            self.database.write_bytes(_migrated())
        self.port = free_port()
        self.environment = _environment(self.directory, self.temporary) | dict(environment or {})
        self.root = root
        self._command = command
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._family: set[int] = set()
        self._opened: list[WorkerConnection] = []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def database(self) -> Path:
        return self.directory / "gateway.sqlite3"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written to stdout and stderr since its last start."""
        return (self.directory / "log").read_text()

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers, in the order they were started."""
        return [pid for pid in children(self.pid) if _command(pid) == _command(self.pid)]

    def start(self) -> Self:
        """Start it and wait until it prints `ready`."""
        with (self.directory / "log").open("wb") as output:
            self._process = subprocess.Popen(
                [*self._command, "--port", str(self.port), *self._arguments],
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that `interrupt` reaches this process group only
            )
        if not eventually(lambda: "\nready\n" in f"\n{self.log}" or self.exited, START_SECONDS) or self.exited:
            log = self.log
            self._end()
            raise AssertionError(f"the gateway did not start:\n{log}")
        self._family = family(self.pid)
        return self

    @property
    def exited(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to the process group."""
        self._family |= family(self.pid)
        os.killpg(self.pid, signal.SIGINT)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it and its child processes have exited. Returns its exit status."""
        assert self._process is not None
        status = self._process.wait(STOP_SECONDS)
        assert eventually(lambda: not self.leftovers(), STOP_SECONDS), self.leftovers()
        return status

    def leftovers(self) -> list[str]:
        """Its remaining processes and temporary files."""
        running = [f"{pid} {_command(pid).strip(bytes(1))!r}" for pid in self._family if not has_exited(pid)]
        return running + [str(path) for path in self.temporary.iterdir()]

    def close(self) -> None:
        """Stop it, and remove its directory."""
        try:
            self._end()
        finally:
            for worker in self._opened:
                worker.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    def manage(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a management command with the same environment. Returns its output."""
        done = subprocess.run(
            [*PYTHON, *arguments],
            cwd=self.root,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, path: str, key: str | None = None, **more: Any) -> requests.Response:
        return self.request("GET", path, key, **more)

    def request(self, method: str, path: str, key: str | None = None, **more: Any) -> requests.Response:
        headers = {**({"X-API-Key": key} if key else {}), **more.pop("headers", {})}
        return requests.request(method, self.address + path, headers=headers, timeout=30, **more)

    def connect(self) -> socket.socket:
        """A socket, to send bytes that no client library would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def connections(self) -> dict[int, "WorkerConnection"]:
        """An open connection to each worker, by its process id. `close` closes them."""
        found: dict[int, WorkerConnection] = {}

        assert eventually(lambda: self._connect_to_each(found)), "one worker accepts all connections"
        return found

    def _connect_to_each(self, found: dict[int, "WorkerConnection"]) -> bool:
        """Add connections to workers that `found` lacks. Returns whether it has one to each."""
        opened: list[WorkerConnection] = []
        for _ in range(MAX_CONNECTIONS):
            worker = WorkerConnection(self.port)
            opened.append(worker)
            found.setdefault(self._worker_of(worker.local_port), worker)
            if found.keys() >= set(self.workers):
                self._opened += opened
                return True
        self._opened += found.values()
        for worker in set(opened).difference(found.values()):
            worker.close()
        return False

    def _worker_of(self, client_port: int) -> int:
        """The worker that accepted the connection from `client_port`: the one that has its socket open."""
        owners: list[int] = []

        def find_owner() -> bool:
            inode = _inode(self.port, client_port)
            owners[:] = [pid for pid in self.workers if inode and f"socket:[{inode}]" in _descriptors(pid)]
            return bool(owners)

        assert eventually(find_owner), "no worker accepts the connection"
        return owners[0]

    def _signal(self, number: signal.Signals) -> None:
        self._family |= family(self.pid)
        os.kill(self.pid, number)

    def _end(self) -> None:
        if self.exited:
            return
        self.terminate()
        try:
            self.wait()
        except (subprocess.TimeoutExpired, AssertionError):
            for pid in self._family:
                if not has_exited(pid):
                    os.kill(pid, signal.SIGKILL)
            raise


@cache
def _migrated() -> bytes:
    """An SQLite file with all tables, made once by each process of the tests: it takes a second of a processor."""
    with contextlib.closing(Server()) as server:
        server.manage("migrate", "--verbosity", "0")
        return server.database.read_bytes()


class WorkerConnection:
    """A persistent connection, and therefore always the same worker."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.connect()
        self.local_port: int = self._connection.sock.getsockname()[1]

    def get(self, path: str, key: str = "", **fields: str) -> tuple[int, dict[str, str], bytes]:
        """Status, fields by lower-case name, body. In the names of `fields`, underscores are hyphens."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        self._connection.request("GET", path, headers=({"X-API-Key": key} if key else {}) | named)
        response = self._connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

    def close(self) -> None:
        self._connection.close()


def family(pid: int) -> set[int]:
    """The process and all its descendants."""
    return {pid}.union(*(family(child) for child in children(pid)))


def document(services: Mapping[str, Any], webhooks: Mapping[str, Any] | None = None) -> str:
    """The text of a configuration file."""
    return json.dumps({"version": 1, "services": services, "webhooks": webhooks or {}})


def _environment(directory: Path, temporary: Path) -> dict[str, str]:
    """Independent of the developer's environment, except for PATH."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "SECRET_KEY": "for tests alone, and long enough for Django's own checks",
        "DATABASE_URL": f"sqlite:///{directory / 'gateway.sqlite3'}",
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
        "LOG_FORMAT": "json",
        "DRAIN_SECONDS": "0",
    }


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _inode(port: int, client_port: int) -> str:
    """The inode of the server's socket of a connection; empty until it is accepted."""
    ends = (f"0100007F:{port:04X}", f"0100007F:{client_port:04X}")
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (fields[1], fields[2]) == ends:
            return fields[9] if fields[9] != "0" else ""
    return ""


def _descriptors(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(os.readlink(entry))
        except OSError:
            continue  # closed in the meantime
    return found

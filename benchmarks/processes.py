"""Server processes for benchmarks: starting, waiting until ready, stopping, and their memory."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import requests

ROOT: Final = Path(__file__).resolve().parent.parent
START_TIMEOUT: Final = 60.0
STOP_TIMEOUT: Final = 15.0


class NotStarted(Exception):
    """A server cannot be measured on this machine; the message says why."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def server_process(
    command: Sequence[str],
    ready: Callable[[], bool],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path = ROOT,
    user: str | None = None,
) -> Iterator[int]:
    """Run a server until the block ends, as `user` if given; yields its process id once `ready`.

    Raises NotStarted if it is not ready in time, after printing the end of its output.
    """
    variables = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        **(environment or {}),
    }
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=variables,
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    print(output.read()[-2_000:], file=sys.stderr)
                    raise NotStarted("did not start")
                time.sleep(0.05)
            yield process.pid
        finally:
            _stop(process)


def responds(url: str, status: int = 200) -> Callable[[], bool]:
    """A readiness check: a GET of `url` returns `status`."""

    def check() -> bool:
        try:
            return requests.get(url, timeout=2).status_code == status
        except requests.RequestException:
            return False

    return check


def accepts(port: int) -> Callable[[], bool]:
    """A readiness check: `port` accepts connections."""

    def check() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return check


def children(pid: int) -> list[int]:
    """The process ids of a process's direct children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident_bytes(pid: int) -> int:
    """A process's resident memory, including pages shared with its parent."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()

"""Servers that a benchmark starts, waits for and ends; and how much memory they take."""

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
START_SECONDS: Final = 60.0
END_SECONDS: Final = 15.0


class NotStarted(Exception):
    """A server that cannot be measured here, and why."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(
    command: Sequence[str],
    ready: Callable[[], bool],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path = ROOT,
) -> Iterator[int]:
    """A server's process id, from when it is `ready` until it has ended. Raises NotStarted, and prints why."""
    given = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/"), **(environment or {})}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=given, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    print(said.read()[-2_000:], file=sys.stderr)
                    raise NotStarted("did not start")
                time.sleep(0.05)
            yield process.pid
        finally:
            _end(process)


def answers(url: str, status: int = 200) -> Callable[[], bool]:
    """A question for `serving`: does this address answer, and so?"""

    def ask() -> bool:
        try:
            return requests.get(url, timeout=2).status_code == status
        except requests.RequestException:
            return False

    return ask


def accepts(port: int) -> Callable[[], bool]:
    """A question for `serving`: does something listen there?"""

    def ask() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ask


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident(pid: int) -> int:
    """Bytes of memory that a process has, those it shares with its parent included."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()

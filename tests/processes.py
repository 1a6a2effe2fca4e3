"""Conditions to wait for in tests of real processes, instead of sleeping."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Wait for the condition, at most `seconds`. Returns whether it became true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def has_exited(pid: int) -> bool:
    """Whether the process has exited. Also true for a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] in "ZX"


def children(pid: int) -> list[int]:
    """The running child processes of `pid`."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in listed.split() if not has_exited(int(child))]


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def session(pid: int) -> int:
    return os.getsid(pid)

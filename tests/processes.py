"""What tests of real processes wait for: conditions, never a while."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether the condition came true; `seconds` is only how long a broken one is waited for."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def has_exited(pid: int) -> bool:
    """Whether the process has ended. One that ended and was not yet collected by its parent has."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] in "ZX"


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that still run."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in listed.split() if not has_exited(int(child))]


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def session(pid: int) -> int:
    return os.getsid(pid)

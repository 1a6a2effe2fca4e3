"""The limit of open files, which distributions and systemd set to 1,024: too few for a server."""

import contextlib
import resource
import sys
from typing import Final

MAX_FILES: Final = 65_536
RESERVED: Final = 64
RESERVED_SHARE: Final = 8
"""Of the files that a process may open, one in so many is not for connections of clients, and at least RESERVED."""


def reachable(soft: int, hard: int) -> int:
    """How many files a process may have open once `raise_limit` was called; RLIM_INFINITY for no limit."""
    if soft == resource.RLIM_INFINITY or soft >= MAX_FILES:
        return soft
    return MAX_FILES if hard == resource.RLIM_INFINITY else max(soft, min(hard, MAX_FILES))


def raise_limit() -> None:
    """Raise the soft limit of this process, and of those that it will fork, as far as the hard one lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable(soft, hard), hard))


def for_clients() -> int:
    """How many connections of clients a process may have, so that it can still reach what it depends on."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(1, soft - max(RESERVED, soft // RESERVED_SHARE))

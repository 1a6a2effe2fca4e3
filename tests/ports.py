"""Ports for servers that tests start in other processes."""

import itertools
import random
import socket
from collections import deque
from typing import Final

_PORTS: Final = range(10_000, 32_000)
"""Below those that the kernel gives to clients, and to servers that name none, which would take one meanwhile."""
_next: Final = itertools.count(random.randrange(len(_PORTS)))
_held: Final = deque[socket.socket]()
_HELD: Final = 200
"""How many ports are held for this process at most. By then, the first ones are in use, or not used any more."""


def free_port() -> int:
    """A port at which nothing listens, and that no other process of tests gets."""
    while True:
        port = _PORTS[next(_next) % len(_PORTS)]
        if _hold(port) and _is_free(port):
            return port


def free_ports(count: int, *, distance: int) -> list[int]:
    """Ports such that the one `distance` above each is free too."""
    found: list[int] = []
    while len(found) < count:
        port = free_port()
        if port + distance in _PORTS and _hold(port + distance) and _is_free(port + distance):
            found.append(port)
    return found


def _hold(port: int) -> bool:
    """Take the name of a port, which is an abstract address: it ends with this process, and leaves no file."""
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0port of a test: {port}")
    except OSError:
        held.close()
        return False
    _held.append(held)
    if len(_held) > _HELD:
        _held.popleft().close()
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True

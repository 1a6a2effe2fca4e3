"""What the kernel does for the server's connections: it cuts those whose other side takes nothing any more.

Granian has no bound for that, and shows neither its sockets nor what waits in them: without an end, a client that stops
reading would keep its connection, and megabytes of the kernel's memory, for as long as it likes.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SECONDS: Final = 60
"""As long as nginx's send_timeout: without a byte taken, that is, and not for the whole of an answer."""
DESCRIPTORS: Final = Path("/proc/self/fd")


def cut_the_deaf(seconds: float = SECONDS) -> int:
    """Gives this process's listening sockets, and so all they accept from now on, the time limit: how many there are.

    tcp(7), TCP_USER_TIMEOUT; since Linux 5.11 also for a client whose window stays shut. Elsewhere there are none.
    """
    found = 0
    if DESCRIPTORS.exists() and hasattr(socket, "TCP_USER_TIMEOUT"):
        for listening in _listening():
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1_000))
            found += 1
    return found


def _listening() -> Iterator[socket.socket]:
    for entry in list(DESCRIPTORS.iterdir()):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as found:
            is_tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
            if is_tcp and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield found

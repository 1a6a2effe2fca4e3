"""The sockets that workers take connections from, and what the kernel does for those."""

import contextlib
import socket
from typing import Final

DEAF_SECONDS: Final = 60
"""A connection whose other side takes nothing for so long is cut, as by nginx's send_timeout: without a byte taken,
that is, and not for the whole of an answer."""


def bound(host: str, port: int, workers: int) -> list[socket.socket]:
    """A socket for each worker. Where there are several the kernel shares connections out among them evenly, and those
    that wait for one that has died wait for the next. Raises OSError.
    """
    family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    with _bound(family, address) as first:  # without sharing: somebody else's port would be taken for ours
        address = first.getsockname()
    return [_bound(family, address, shared=workers > 1) for _ in range(workers)]


def _bound(family: socket.AddressFamily, address: object, *, shared: bool = False) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            with contextlib.suppress(OSError):
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        cut_the_deaf(listening)
        listening.bind(address)  # type: ignore[arg-type]  # as getaddrinfo has it
    except BaseException:
        listening.close()
        raise
    return listening


def cut_the_deaf(listening: socket.socket, seconds: float = DEAF_SECONDS) -> None:
    """Give all that `listening` accepts the time limit.

    tcp(7), TCP_USER_TIMEOUT; since Linux 5.11 also for a client whose window stays shut. Elsewhere there is none.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1_000))

"""The listening sockets of the workers, and the kernel options of the connections they accept."""

import contextlib
import socket
from typing import Final

TCP_USER_TIMEOUT_SECONDS: Final = 60
"""How long a peer may acknowledge no data before the connection is dropped. As nginx's send_timeout, this is between
two reads by the client, not for the whole response."""


def bind(host: str, port: int, workers: int) -> list[socket.socket]:
    """A bound socket for each worker. Raises OSError.

    Several share the port with SO_REUSEPORT: the kernel spreads connections evenly, and those waiting for a worker that
    died are accepted by its replacement.
    """
    family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    # Without SO_REUSEPORT first, so that a port in use by another process is an error.
    with _bind(family, address) as first:
        address = first.getsockname()
    return [_bind(family, address, shared=workers > 1) for _ in range(workers)]


def _bind(family: socket.AddressFamily, address: object, *, shared: bool = False) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            with contextlib.suppress(OSError):
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        set_tcp_user_timeout(listening)
        listening.bind(address)  # type: ignore[arg-type]  # as getaddrinfo returns it
    except BaseException:
        listening.close()
        raise
    return listening


def set_tcp_user_timeout(listening: socket.socket, seconds: float = TCP_USER_TIMEOUT_SECONDS) -> None:
    """Drop connections accepted from `listening` whose peer acknowledges no data for this long.

    tcp(7), TCP_USER_TIMEOUT; since Linux 5.11 also for a peer whose receive window stays closed. Without effect on
    systems that lack the option.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1_000))

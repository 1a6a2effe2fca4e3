"""Whether a peer closed a connection before anything sent on it arrived, as the kernel knows (tcp(7), TCP_INFO).

Only Linux tells. Elsewhere nothing is known.
"""

import socket
import struct
from typing import Final, NamedTuple

_INFO: Final = struct.Struct("=B119xQQ")
"""struct tcp_info: tcpi_state, tcpi_bytes_acked and tcpi_bytes_received, at the same place since Linux 4.2."""
_CLOSE_WAIT: Final = 8
"""The peer has closed its side in order (FIN), and has not reset the connection."""


class TransportState(NamedTuple):
    """`acknowledged`: bytes sent that have arrived. `received`: bytes, and one more for the end of the peer's data."""

    state: int
    acknowledged: int
    received: int


def delivery_of(connection: socket.socket) -> TransportState | None:
    """None if the system does not tell, or the socket is closed."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        found = connection.getsockopt(socket.IPPROTO_TCP, option, _INFO.size)
    except OSError:
        return None
    return TransportState(*_INFO.unpack(found)) if len(found) == _INFO.size else None


def was_undelivered(before: TransportState | None, now: TransportState | None) -> bool:
    """Whether the peer had received nothing of what was sent after `before`, when it sent what it has sent since.

    Whatever a peer sends acknowledges what it has received, except for a reset.
    """
    return before is not None and now is not None and now.acknowledged == before.acknowledged


def was_closed_before(before: TransportState | None, now: TransportState | None) -> bool:
    """Whether the peer has closed its side (FIN), and had done so when that arrived which was sent after `before`: no
    application reads it. A reset alone does not show that: it may come from an application that has read all of it.
    """
    if before is None or now is None or not was_undelivered(before, now):
        return False
    return _CLOSE_WAIT in (before.state, now.state) or now.received == before.received + 1

"""Clients that close their side of a connection after a request (`shutdown(SHUT_WR)`), and wait for its response.

A client that has closed the whole connection looks the same until something is sent to it, which it answers with a
reset. Every response begins with the same bytes, so that these can be sent before there is one (ADR 65).
"""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Any, Final, cast

BEGINNING: Final = b"HTTP/1.1 "
"""How every response begins."""
FIRST_SECONDS: Final = 0.05
"""Until the first byte is sent. Each further one is sent after twice as long; 26 s in all."""


class HalfClosed:
    """A transport whose client has closed its side: sends the beginning of the response byte by byte until the response
    comes, whose first bytes are then left out.

    More than one byte is needed where a proxy of TCP is in between, which learns from the first one that the client is
    gone. `lost` is called if the client has reset the connection.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, lost: Callable[[], None]) -> None:
        self._transport = transport
        self._loop = loop
        self._lost = lost
        self._sent = 0
        self._has_response = False
        self._seconds = FIRST_SECONDS
        self._timer = loop.call_later(FIRST_SECONDS, self._probe)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data`, which begins with BEGINNING if it is the first."""
        if not self._has_response:
            self._has_response = True
            self._timer.cancel()
            data = data[self._sent :]
        self._transport.write(data)

    def _probe(self) -> None:
        if self._has_response or self._transport.is_closing():
            return
        if _is_reset(self._transport):
            self._lost()
            return
        if self._sent < len(BEGINNING):
            self._transport.write(BEGINNING[self._sent : self._sent + 1])
            self._sent += 1
            self._seconds *= 2
            self._timer = self._loop.call_later(self._seconds, self._probe)


def half_closed(
    transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, lost: Callable[[], None]
) -> asyncio.Transport:
    """A HalfClosed to be used in place of `transport`."""
    return cast(asyncio.Transport, HalfClosed(transport, loop, lost))


def _is_reset(transport: asyncio.Transport) -> bool:
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is None:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), 0)  # errors are always reported
    return bool(poll.poll(0))

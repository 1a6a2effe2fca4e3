"""Flow control of one connection in both directions, as asyncio.streams.FlowControlMixin does it for writing."""

import asyncio
import fcntl
import select
import socket
import struct
import termios
from typing import Final

from routing.http import CLIENT_SECONDS

_UNSENT_REQUEST: Final = termios.TIOCOUTQ
"""tcp(7), SIOCOUTQ: bytes in the socket's send queue that the peer has not acknowledged."""


class FlowControl(asyncio.Protocol):
    """Tracks whether reading from and writing to `transport` are paused.

    `write_timeout` is how long in seconds the peer may read nothing while writing is paused.
    """

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._read_paused = False
        self._write_paused = False
        self._drain_waiter: asyncio.Future[None] | None = None
        self.write_timeout = CLIENT_SECONDS
        self._unread = (0, 0)
        self._unread_since = 0.0

    def pause_writing(self) -> None:
        self._write_paused = True
        self._unread = (0, 0)

    def resume_writing(self) -> None:
        self._wake_drain()

    async def drain(self) -> None:
        """Wait until the transport's write buffer is below its low-water mark, or the connection closes."""
        while self._write_paused and not self.transport.is_closing():
            self._drain_waiter = self.loop.create_future()
            await self._drain_waiter

    def _wake_drain(self) -> bool:
        """End the pause of writing. Returns whether `drain` was waiting for it."""
        self._write_paused = False
        waiter, self._drain_waiter = self._drain_waiter, None
        if waiter is None or waiter.done():
            return False
        waiter.set_result(None)
        return True

    def _is_unread(self, now: float) -> bool:
        """Whether the peer has read nothing for `write_timeout`. To be called once a second while writing is paused.

        The socket's send queue shows progress that is too small to let the event loop write more.
        """
        unread = (self.transport.get_write_buffer_size(), _unacknowledged(self.transport))
        if unread != self._unread:
            self._unread, self._unread_since = unread, now
        return now - self._unread_since >= self.write_timeout

    def _has_input(self) -> bool:
        """Whether data, or the end of it, has arrived that the event loop has not read yet."""
        connection: socket.socket | None = self.transport.get_extra_info("socket")
        if connection is None or self._read_paused or self.transport.is_closing():
            return False
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _pause_reading(self) -> None:
        if not self._read_paused and not self.transport.is_closing():
            self._read_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()


def _unacknowledged(transport: asyncio.Transport) -> int:
    """The bytes in the kernel's send queue; 0 where the system does not report them."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is None:
        return 0
    try:
        queued: int = struct.unpack("i", fcntl.ioctl(connection.fileno(), _UNSENT_REQUEST, bytes(4)))[0]
    except OSError:
        return 0
    return queued

"""One connection to a target: bytes in and out, flow control both ways, and one deadline."""

import asyncio
import select
from math import inf
from typing import Final, Protocol, cast

POLLED: Final = select.POLLIN | select.POLLHUP | select.POLLERR


class ConnectionListener(Protocol):
    """Who hears what happens on a connection: the one call that is using it."""

    def received(self, data: bytes) -> None: ...
    def ended(self) -> None: ...
    def lost(self, error: Exception | None) -> None: ...
    def expired(self) -> None: ...


class BackendConnection(asyncio.Protocol):
    """At rest when `listener` is None; whatever happens then makes it useless.

    The deadline moves for free: its timer is set anew only when it rings too early, or would ring too late.
    """

    def __init__(self, key: tuple[str, int, bool], loop: asyncio.AbstractEventLoop) -> None:
        self.key = key
        self.loop = loop
        self.listener: ConnectionListener | None = None
        self.alive = True
        self.rested = 0.0
        self.deadline = inf
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._room: asyncio.Future[None] | None = None
        self.full = False
        self._poll = select.poll()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), POLLED)

    def data_received(self, data: bytes) -> None:
        if self.listener is None:
            self.abort()  # nobody asked
        else:
            self.listener.received(data)

    def eof_received(self) -> None:
        self.alive = False
        if self.listener is not None:
            self.listener.ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        if self._timer is not None:
            self._timer.cancel()
        if self.listener is not None:
            self.listener.lost(exc)
        self.resume_writing()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # What its user calls.

    def usable(self) -> bool:
        """Whether nothing has come on it at rest, not even what the event loop has yet to read.

        Bytes that wait there would be taken for the next caller's answer.
        """
        return self.alive and not self._poll.poll(0)

    def write(self, data: bytes) -> None:
        """Sends, or drops what can no longer be sent: the listener hears of it."""
        if self.alive:
            self._transport.write(data)

    async def drain(self) -> None:
        """Returns when it is no longer `full`."""
        self._room = self.loop.create_future()
        await self._room

    def pause_reading(self) -> None:
        """Takes no more in, until told to."""
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Closes it, at once and whatever is under way."""
        if self._timer is not None:
            self._timer.cancel()
        self.alive = False
        self._transport.abort()

    def expire_at(self, deadline: float) -> None:
        """Sets when the listener hears that its time is over, in the event loop's time."""
        self.deadline = deadline
        if self._timer is None:
            self._timer = self.loop.call_at(deadline, self._ring)
        elif deadline < self._timer.when():
            self._timer.cancel()
            self._timer = self.loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self.listener is None:
            return
        if self.loop.time() < self.deadline:
            self.expire_at(self.deadline)
        else:
            self.listener.expired()

"""Connections to targets: bytes in and out, flow control in both directions, a deadline; and the pool of idle ones."""

import asyncio
import os
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final, Protocol, cast

from routing.backend.delivery import TransportState, delivery_of, was_closed_before, was_undelivered
from routing.backend.names import Address
from routing.tls.policy import TlsPolicy

PoolKey = tuple[str, int, bool] | tuple[str, int, bool, TlsPolicy]
"""What connections are shared by: the server, and the TLS settings where there are any."""
READING_ROUNDS: Final = 2
"""Of the event loop, until it has read what has been received: asyncio's own runs ready tasks before it reads."""
MAX_UNREAD_BYTES: Final = 256 * 1024
"""Of a response that is read after its connection was lost."""
READABLE: Final = select.POLLIN | select.POLLHUP | select.POLLERR


class ConnectionListener(Protocol):
    """Receives the events of a connection: the call that is using it."""

    def received(self, data: bytes) -> None: ...
    def ended(self) -> None: ...
    def lost(self, error: Exception | None) -> None: ...
    def expired(self) -> None: ...


class BackendConnection(asyncio.Protocol):
    """Idle while `listener` is None; any event during that time makes it unusable.

    Moving the deadline is cheap: the timer is only rescheduled if it fires too early or would fire too late.
    By the pool's clock, `expires_at` is when it becomes too old for another call, `usable_until` when that or its idle
    timeout ends it, and `usable_from` when it may be used again.
    """

    def __init__(self, key: PoolKey, loop: asyncio.AbstractEventLoop, address: Address, expires_at: float) -> None:
        self.key = key
        self.address = address
        self.expires_at = expires_at
        self.loop = loop
        self.listener: ConnectionListener | None = None
        self.alive = True
        self.usable_from = 0.0
        self.usable_until = expires_at
        self.deadline = inf
        self._timer: asyncio.Handle | None = None
        self._timer_at = inf
        self._paused_at = inf
        self._paused_seconds = 0.0
        self._writable: asyncio.Future[None] | None = None
        self.full = False
        self._poll = select.poll()
        self._before_call: TransportState | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._poll.register(self._socket.fileno(), READABLE)

    def data_received(self, data: bytes) -> None:
        if self.listener is None:
            self.abort()  # data without a request
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
        if self.listener is not None and exc is not None and (data := self._unread()):
            self.listener.received(data)
        if self.listener is not None:
            self.listener.lost(exc)
        self.resume_writing()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # Called by the user of the connection.

    def is_reusable(self) -> bool:
        """Whether it is open and nothing has been received while idle, including data the event loop has not yet read.

        Such data would be taken for the response to the next request.
        """
        return self.alive and not self._poll.poll(0)

    def is_outdated(self, now: float) -> bool:
        """Whether it is too old or was idle for too long, or its target's name has moved to other addresses."""
        return now >= self.usable_until or now >= self.address.retires_at

    def carry(self, listener: ConnectionListener) -> None:
        """Begin a call: `listener` receives the connection's events until it sets `listener` to None."""
        self.listener = listener
        self._paused_seconds = 0.0

    def watch_delivery(self) -> None:
        """Let `was_undelivered` and `was_closed_before_call` tell of the call that is begun next."""
        self._before_call = delivery_of(self._socket)

    @property
    def was_undelivered(self) -> bool:
        """Whether the target is known to have received nothing of the call when it sent what was last received."""
        return self._before_call is not None and was_undelivered(self._before_call, delivery_of(self._socket))

    @property
    def was_closed_before_call(self) -> bool:
        """Whether the target is known to have closed the connection before anything of the call arrived."""
        return self._before_call is not None and was_closed_before(self._before_call, delivery_of(self._socket))

    @property
    def paused_seconds(self) -> float:
        """How long reading has been paused during the call."""
        return self._paused_seconds + max(0.0, self.loop.time() - self._paused_at)

    @property
    def is_cut(self) -> bool:
        """Whether it ended without TLS's close_notify, as one does that somebody else has ended (RFC 9112 section 9.8).

        To be asked at its end. uvloop takes such an end for a loss of the connection.
        """
        secured: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        if secured is None:
            return False
        try:
            secured.read(1)
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:
            return False
        return False

    def _unread(self) -> bytes:
        """What the kernel has still received before the connection was lost. A target that refuses an upload responds
        and closes; the rest of the upload is then what finds the connection reset (RFC 9112 section 9.6). Of TLS it
        would be what only the transport could decrypt.
        """
        if self._transport.get_extra_info("ssl_object") is not None:
            return b""
        try:
            with socket.socket(fileno=os.dup(self._socket.fileno())) as received:
                return received.recv(MAX_UNREAD_BYTES, socket.MSG_DONTWAIT)
        except OSError:
            return b""

    def write(self, data: bytes) -> None:
        """Send, or drop the data if the connection is closed, of which the listener is notified."""
        if self.alive:
            self._transport.write(data)

    async def write_next(self, data: bytes) -> None:
        """The same for a piece of a body, once what has been received is read: it may be the target's refusal, which a
        write on the connection that the target has then reset would lose.
        """
        if self._poll.poll(0):
            for _ in range(READING_ROUNDS):
                await asyncio.sleep(0)
        self.write(data)

    async def drain(self) -> None:
        """Wait until it is no longer `full`."""
        self._writable = self.loop.create_future()
        await self._writable

    def pause_reading(self) -> None:
        if self._paused_at == inf:
            self._paused_at = self.loop.time()
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused_at != inf:
            self._paused_seconds += self.loop.time() - self._paused_at
            self._paused_at = inf
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once, discarding unsent data."""
        if self._timer is not None:
            self._timer.cancel()
        self.alive = False
        self._transport.abort()

    def expire_at(self, deadline: float) -> None:
        """Set the time, in the event loop's time, at which the listener's `expired` is called; infinity for never."""
        self.deadline = deadline
        if deadline == inf:
            return  # a timer that is set will find nothing to do
        if self._timer is not None:
            if deadline >= self._timer_at:
                return
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self.loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self.listener is None:
            return
        if self.loop.time() < self.deadline:
            self.expire_at(self.deadline)
        else:
            self.listener.expired()


class ConnectionPool:
    """Idle connections: at most `max_idle` for each origin, each idle for less than `idle_seconds`, and none outdated.

    The most recently used is taken first, so that surplus connections reach their idle timeout.
    """

    def __init__(self, clock: Callable[[], float], max_idle: int, idle_seconds: float) -> None:
        self._clock = clock
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._idle: dict[PoolKey, deque[BackendConnection]] = {}
        self._closed = False

    def take(self, key: PoolKey) -> BackendConnection | None:
        """An idle connection that appears to be usable, or None."""
        idle, found = self._idle.get(key), None
        held: list[BackendConnection] = []
        while idle and found is None:
            connection = idle.pop()
            now = self._clock()
            if connection.usable_from > now:
                held.append(connection)
            elif connection.is_reusable() and not connection.is_outdated(now):
                found = connection
            else:
                connection.abort()
        if held and idle is not None:
            idle.extend(reversed(held))
        return found

    def put(self, connection: BackendConnection, idle_limit: float = inf, hold: float = 0.0) -> None:
        """Add an idle connection unless it is outdated, closing the one idle for longest if the pool is full.

        `idle_limit` is for how many seconds it may be idle by what the target says, where that is less than the pool's.
        It is not used again for `hold` seconds.
        """
        now = self._clock()
        connection.usable_from = now + hold
        connection.usable_until = min(connection.expires_at, now + min(idle_limit, self._idle_seconds))
        if self._closed or connection.is_outdated(now):
            connection.abort()
            return
        idle = self._idle.setdefault(connection.key, deque())
        while idle and (len(idle) >= self._max_idle or idle[0].is_outdated(now)):
            idle.popleft().abort()
        idle.append(connection)

    def sweep(self) -> None:
        """Close expired and dead connections of every origin, and drop origins without any."""
        now = self._clock()
        for key, idle in list(self._idle.items()):
            while idle and (not idle[0].alive or idle[0].is_outdated(now)):
                idle.popleft().abort()
            if not idle:
                del self._idle[key]

    def close(self) -> None:
        """Close all idle connections, and from now on every connection that is put back."""
        self._closed = True
        for idle in self._idle.values():
            while idle:
                idle.pop().abort()

"""The way to a backend: an HTTP/1.1 client that passes bytes on as they are. Every fault on it becomes ours here."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from routing.backend.call import LATE, CallStream
from routing.backend.connection import BackendConnection
from routing.backend.encoding import Call, Origin, encode_request_head, parse_origin
from routing.backend.head_cache import ResponseHead, ResponseHeadCache
from routing.backend.pool import ConnectionPool
from routing.backend.response_parser import ConnectionClosedEarly, ResponseParser
from routing.errors import BadGateway, UpstreamTimeout
from routing.http import IDEMPOTENT, Body, Headers
from routing.router.policy import Target, Timeout

__all__ = ["Backend", "BackendResponse", "Call", "ResponseStream"]

MAX_IDLE: Final = 128
"""Connections kept for each target: more than are in flight on a busy day would only age."""
IDLE_SECONDS: Final = 30.0
"""Below the 60 to 75 seconds after which most servers close, for a close can cross a request."""

UNREACHABLE: Final = "The service cannot be reached."


class ResponseStream(Protocol):
    """A body that can be given up, as any asynchronous generator is, and taken at once when all of it is there."""

    def __aiter__(self) -> Body: ...
    def __anext__(self) -> Awaitable[bytes]: ...
    def complete_body(self) -> bytes | None: ...
    def aclose(self) -> Awaitable[None]: ...


@dataclass(slots=True)
class BackendResponse:
    """What came back: its fields as they came, framing and hop-by-hop ones included, names in lower case.

    `length` is the body's, as far as it was announced; `head` is what it shares with others like it. `body` yields
    chunks as they come; it raises UpstreamTimeout when they stop, BadGateway when they are cut. What `body.whole()` has
    given is neither to be read nor to be closed.
    """

    status: int
    headers: Headers
    length: int | None
    body: ResponseStream
    head: ResponseHead | None = None

    async def aclose(self) -> None:
        """Must be called unless `body` was read to its end; gives up what has not come yet. May be called twice."""
        await self.body.aclose()


class Backend:
    """Calls targets, over connections it keeps. `tls` None verifies against the system's authorities."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_idle: int = MAX_IDLE,
        idle_seconds: float = IDLE_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._pool = ConnectionPool(clock, max_idle, idle_seconds)
        self._heads = ResponseHeadCache()
        self._tls = tls

    async def send(
        self,
        target: Target,
        call: Call,
        timeout: Timeout,  # noqa: ASYNC109 - three, not one
        until: float | None = None,
    ) -> BackendResponse:
        """Returns when the fields of the final answer are in. Raises BadGateway, UpstreamTimeout, or BadRequest for
        a call that cannot be written; what the call's own body raises passes through unchanged.

        `until`, in the event loop's time, is when all must be over; None is `timeout.total` from now.
        A kept connection may turn out to be closed: a call that can be repeated is, once, on a new one.
        """
        to = parse_origin(target.url)
        written = encode_request_head(to, call)
        if until is None:
            until = asyncio.get_running_loop().time() + timeout.total
        kept = self._pool.take(to.key)
        connection = kept or await self._connect(to, timeout.connect, until)
        turn = self._turn(connection, written, call, timeout.read, until)
        try:
            await turn.wait_for_head()
        except ConnectionClosedEarly:
            if kept is None or call.body is not None or call.method not in IDEMPOTENT:
                raise
            connection = await self._connect(to, timeout.connect, until)
            turn = self._turn(connection, written, call, timeout.read, until)
            await turn.wait_for_head()
        reply = turn.reply
        return BackendResponse(reply.status, reply.headers, reply.length, turn, reply.head)

    async def close(self) -> None:
        """Closes the connections at rest; those at work are closed when their answer ends."""
        self._pool.close()
        await asyncio.sleep(0)

    def _turn(self, connection: BackendConnection, written: bytes, call: Call, read: float, until: float) -> CallStream:
        turn = CallStream(
            connection, ResponseParser(call.method, self._heads), read=read, until=until, done=self._pool.put
        )
        turn.send(written, call)
        return turn

    async def _connect(self, to: Origin, seconds: float, until: float) -> BackendConnection:
        self._pool.sweep()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(loop.time() + seconds, until)):
                _, connection = await loop.create_connection(
                    lambda: BackendConnection(to.key, loop), to.host, to.port, ssl=self._context() if to.tls else None
                )
        except TimeoutError as error:
            raise UpstreamTimeout(LATE) from error
        except (OSError, UnicodeError) as error:
            raise BadGateway(UNREACHABLE) from error
        return connection

    def _context(self) -> ssl.SSLContext:
        """Made when first needed: reading the authorities takes a while."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

"""The HTTP/1.1 client for backends. It passes bytes on unchanged and raises nothing but gateway errors of its own."""

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from routing.backend.call import CallStream
from routing.backend.connection import BackendConnection, ConnectionPool, PoolKey
from routing.backend.dialer import Dialer, connecting
from routing.backend.encoding import Call, TargetOrigin, encode_request_head, parse_origin
from routing.backend.head_cache import ResponseHead, ResponseHeadCache
from routing.backend.names import NameTable
from routing.backend.response_parser import ConnectionClosedEarly, ResponseParser
from routing.errors import RequestTimeout
from routing.http import IDEMPOTENT, Body, Headers
from routing.router.policy import Target, Timeout
from routing.tls.context import TlsContexts
from routing.tls.policy import TlsPolicy

__all__ = ["Backend", "BackendResponse", "Call", "ResponseStream", "Sender"]

MAX_IDLE_CONNECTIONS: Final = 128
"""Idle connections kept for each target."""
IDLE_TIMEOUT_SECONDS: Final = 30.0
"""Less than the 60 to 75 seconds of most servers: a request sent while the server closes would be lost."""
MAX_AGE_SECONDS: Final = 300.0
"""A connection carries no new call after this, so that load moves to addresses that were added."""


class ResponseStream(Protocol):
    """A response body: an asynchronous iterator that can be closed early, or taken at once if it is complete."""

    def __aiter__(self) -> Body: ...
    def __anext__(self) -> Awaitable[bytes]: ...
    def complete_body(self) -> bytes | None: ...
    def aclose(self) -> Awaitable[None]: ...


@dataclass(slots=True)
class BackendResponse:
    """A backend's response. `headers` are as received, hop-by-hop fields included, with names in lower case.

    `length` is the announced length of the body, if any; `head` the cached head, if it was one. `is_early`: it was
    received before the request was complete. `body` yields chunks as they are received; it raises UpstreamTimeout when
    none arrives in time, BadGateway when the connection is lost, RequestTimeout, ClientGone and StreamTimeout for ends
    that are not the target's failure. Once `body.complete_body()` has returned the body, it must be neither read nor
    closed.
    """

    status: int
    headers: Headers
    length: int | None
    body: ResponseStream
    head: ResponseHead | None = None
    is_early: bool = False

    async def aclose(self) -> None:
        """Abandon the rest of the body. Required unless `body` was read to its end. May be called twice."""
        await self.body.aclose()


class Sender(Protocol):
    """Sends a call to a target: `Backend`, or the handshake of a WebSocket. See `Backend.send`."""

    def send(
        self,
        target: Target,
        call: Call,
        timeout: Timeout,
        deadline: float,
    ) -> Awaitable[BackendResponse]: ...


class Backend:
    """Calls targets over pooled connections, which targets with other TLS settings do not share.

    `tls` is for targets without settings of their own; None: the system's CAs verify them. It closes `dialer`, which
    others may share until then, as `contexts`.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_idle: int = MAX_IDLE_CONNECTIONS,
        idle_seconds: float = IDLE_TIMEOUT_SECONDS,
        tls: ssl.SSLContext | None = None,
        dialer: Dialer | None = None,
        contexts: TlsContexts | None = None,
    ) -> None:
        self._clock = clock
        self._dialer = dialer or Dialer(NameTable(clock))
        self._pool = ConnectionPool(clock, max_idle, idle_seconds)
        self._head_cache = ResponseHeadCache()
        self._contexts = contexts or TlsContexts(tls)

    async def send(
        self,
        target: Target,
        call: Call,
        timeout: Timeout,  # noqa: ASYNC109 - five timeouts, not one
        deadline: float | None = None,
    ) -> BackendResponse:
        """Send the request and return once the header fields of the final response are received.

        `deadline`, in the event loop's time, is the latest end of all this; None is `timeout.total` from now. A reused
        connection may turn out to be closed, or the target to have given up waiting for a request on it. The call is
        then sent once more on a new one, if it is idempotent and without a body, or known not to have arrived.

        Raises BadGateway, UpstreamTimeout, Overloaded where the gateway itself cannot open a connection, RequestTimeout
        where the call's body is what did not come in time, or BadRequest for a call that cannot be encoded. Exceptions
        of the call's body are passed on unchanged.
        """
        origin = parse_origin(target.url)
        tls = target.tls
        key = origin.key if tls is None else (*origin.key, tls)
        head = encode_request_head(origin, call)
        if deadline is None:
            deadline = asyncio.get_running_loop().time() + timeout.total
        reused = self._pool.take(key)
        may_retry = reused is not None and call.body is None and call.method in IDEMPOTENT
        if reused is not None and not may_retry:
            reused.watch_delivery()
        connection = reused or await self._connect(origin, key, tls, timeout.connect, deadline)
        stream = self._start(connection, head, call, timeout, deadline)
        if await _must_retry(stream, call, is_reused=reused is not None, may_retry=may_retry):
            connection = await self._connect(origin, key, tls, timeout.connect, deadline)
            stream = self._start(connection, head, call, timeout, deadline)
            await stream.wait_for_head()
        parser = stream.parser
        return BackendResponse(parser.status, parser.headers, parser.length, stream, parser.head, stream.is_early)

    async def close(self) -> None:
        """Close idle connections now, and those in use when their response ends."""
        self._pool.close()
        await self._dialer.close()
        await asyncio.sleep(0)

    def _start(
        self, connection: BackendConnection, head: bytes, call: Call, timeout: Timeout, deadline: float
    ) -> CallStream:
        parser = ResponseParser(call.method, self._head_cache, call.on_interim)
        release = _close if call.binds_connection else self._pool.put
        stream = CallStream(connection, parser, timeout=timeout, deadline=deadline, release=release)
        stream.send(head, call)
        return stream

    async def _connect(
        self, origin: TargetOrigin, key: PoolKey, tls: TlsPolicy | None, seconds: float, deadline: float
    ) -> BackendConnection:
        self._pool.sweep()
        loop = asyncio.get_running_loop()
        async with connecting(seconds, deadline):
            context = await self._contexts.get(tls) if origin.tls else None
            address, sock = await self._dialer.connect(origin.host, origin.port)
            expires_at = self._clock() + MAX_AGE_SECONDS * random.uniform(0.9, 1.0)  # noqa: S311 - not all at once
            _, connection = await loop.create_connection(
                lambda: BackendConnection(key, loop, address, expires_at),
                sock=sock,
                ssl=context,
                server_hostname=origin.server_name(tls),
            )
        return connection


def _close(connection: BackendConnection, _idle_limit: float, _hold: float) -> None:
    """In place of the pool's `put`: this connection must not be reused."""
    connection.abort()


async def _must_retry(stream: CallStream, call: Call, *, is_reused: bool, may_retry: bool) -> bool:
    """Wait for the head. Whether the call has to be sent once more, since its reused connection came to its end.

    Raises what `CallStream.wait_for_head` raises.
    """
    try:
        await stream.wait_for_head()
    except ConnectionClosedEarly as error:
        if not may_retry and not (error.unsent and await stream.rewind(call)):
            raise
        return True
    is_refused = is_reused and _gives_up_waiting(stream.parser) and (may_retry or stream.is_undelivered)
    return is_refused and await stream.rewind(call)


def _gives_up_waiting(parser: ResponseParser) -> bool:
    """Whether the target gave up waiting for a request, with a 408 that crossed this one: the call may be sent again on
    a new connection (RFC 9110 section 15.5.9).
    """
    return parser.status == RequestTimeout.status and not parser.reusable

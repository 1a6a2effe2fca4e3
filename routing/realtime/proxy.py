"""WebSockets to services that speak them: steps 1 to 4 and 6 before it, then messages both ways, bounded.

The only module that imports websockets: a client's side of the protocol, towards the backend.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from resilience.breaker.machine import Outcome, judge
from routing.asgi import Receive, Scope, Send
from routing.authentication.authenticator import Authenticator
from routing.balancing.balancer import Balancers
from routing.errors import (
    BadGateway,
    BadRequest,
    Forbidden,
    GatewayError,
    Unauthenticated,
    Unavailable,
    UpstreamTimeout,
)
from routing.exchange import CallRecord, Exchange
from routing.http import HOP_BY_HOP
from routing.pipeline import Gateway
from routing.realtime import handshake
from routing.realtime.handshake import Handshake
from routing.router.policy import Target
from routing.steps.calls import Calls
from routing.upstream.bulkhead import Bulkhead
from routing.upstream.permit import CallPermit

MAX_MESSAGE_BYTES: Final = 1_048_576
"""The largest message passed on, either way."""
IDLE_SECONDS: Final = 300.0
WATCH_SECONDS: Final = 1.0
_UNSENDABLE: Final = frozenset({1005, 1006, 1015})
"""Codes that say how a connection ended and are never sent (RFC 6455 section 7.4.1)."""


class CloseReason(NamedTuple):
    """How both sides are closed; `client` is what the client is told instead."""

    code: int
    reason: str
    client: int | None = None


class _Backend(connect):
    """Leads to the target and nowhere else: a redirect is a refusal."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


@dataclass(slots=True)
class _Tunnel:
    """Two connections as one."""

    exchange: Exchange
    backend: ClientConnection
    receive: Receive
    send: Send
    last_activity_at: float
    tasks: list[asyncio.Task[CloseReason]] = field(default_factory=list)


class SocketProxy:
    """`timer` is monotonic, `clock` Unix time."""

    def __init__(
        self,
        gateway: Gateway,
        calling: Calls,
        targets: Balancers,
        authenticator: Authenticator,
        *,
        origins: tuple[str, ...],
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        idle: float = IDLE_SECONDS,
    ) -> None:
        self._gateway = gateway
        self._calling = calling
        self._targets = targets
        self._authenticator = authenticator
        self._origins = origins
        self._clock = clock
        self._timer = timer
        self._idle = idle
        self._bulkheads: dict[str, Bulkhead] = {}
        self._stopping = False

    def begin_shutdown(self) -> None:
        """The gateway stops: every passage ends at its next look."""
        self._stopping = True

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One WebSocket to a service, from its handshake to its end."""
        if (await receive())["type"] != "websocket.connect":
            return
        shake = handshake.begin(self._gateway, scope, None)
        exchange = shake.exchange
        try:
            await self._admit(exchange)
            await self._pass(shake, receive, send)
        except GatewayError as error:
            self._gateway.account(exchange, int(error.status), error.code)
            await _refuse(error, shake, send)

    async def _admit(self, exchange: Exchange) -> None:
        """Steps 2 to 4, and what is special to a socket."""
        handshake.check_origin(exchange.request.headers, self._origins)
        await self._gateway.admit(exchange)
        self._gateway.route(exchange)
        if not exchange.match.policy.websocket:
            raise Forbidden("this service takes no WebSockets", service=exchange.service)

    async def _pass(self, shake: Handshake, receive: Receive, send: Send) -> None:
        exchange = shake.exchange
        admitting = self._calling.admit(exchange)  # 6 circuit breaker
        if admitting is not None:
            await admitting
        leave = exchange.circuit.permit
        assert leave is not None  # noqa: S101 - else it has raised CircuitOpen
        bulkhead = self._bulkhead(exchange)
        try:
            await bulkhead.enter()
        except BaseException:
            leave.report(Outcome.CANCELLED)
            raise
        try:
            backend = await self._connected(shake, leave)
            await self._join(shake, backend, receive, send)
        finally:
            bulkhead.leave()

    async def _connected(self, shake: Handshake, leave: CallPermit) -> ClientConnection:
        """The backend's end, its handshake done. Raises BadGateway or UpstreamTimeout, which count for the circuit."""
        started = self._timer()
        try:
            connection = await self._connect(shake)
        except (BadGateway, UpstreamTimeout) as error:
            error.service = shake.exchange.service
            await leave.report_and_wait(Outcome.FAILURE)
            raise
        except BaseException:
            leave.report(Outcome.CANCELLED)
            raise
        await leave.report_and_wait(judge(shake.exchange.match.policy.breaker, self._timer() - started))
        return connection

    async def _connect(self, shake: Handshake) -> ClientConnection:
        """A socket weighs on its target while it is opened: what is balanced is calls, and a quiet socket is none."""
        exchange = shake.exchange
        balancer = self._targets.of(exchange.match.service)
        taken = balancer.pick((), exchange.caller.id if exchange.caller else "")
        exchange.call = CallRecord()
        exchange.call.target = taken.target
        try:
            return await self._open(shake, taken.target)
        finally:
            balancer.release(taken)

    async def _open(self, shake: Handshake, target: Target) -> ClientConnection:
        exchange = shake.exchange
        match, timeout = exchange.match, exchange.match.policy.timeout
        query = b"?" + exchange.request.query if exchange.request.query else b""
        try:
            uri = target.url.replace("http", "ws", 1).rstrip("/") + (match.path + query).decode("ascii")
            return await _Backend(
                uri,
                additional_headers=_fields(self._calling.fields(exchange)),
                subprotocols=[Subprotocol(name) for name in shake.offered] or None,
                user_agent_header=None,
                compression=None,
                proxy=None,
                open_timeout=timeout.connect + timeout.read,
                max_size=MAX_MESSAGE_BYTES,
                max_queue=4,
            )
        except TimeoutError as error:
            raise UpstreamTimeout("The service did not answer in time.") from error
        except (OSError, InvalidHandshake) as error:
            raise BadGateway("The service did not take the WebSocket.") from error
        except (InvalidURI, UnicodeError) as error:
            raise BadRequest("the path cannot be passed on") from error

    async def _join(self, shake: Handshake, backend: ClientConnection, receive: Receive, send: Send) -> None:
        end = CloseReason(1011, "the gateway failed")
        tunnel = _Tunnel(shake.exchange, backend, receive, send, self._timer())
        try:
            self._gateway.account(shake.exchange, 101)
            await send({"type": "websocket.accept", "subprotocol": backend.subprotocol or shake.subprotocol})
            end = await self._relay(tunnel)
        finally:
            for task in tunnel.tasks:
                task.cancel()
            with contextlib.suppress(Exception):
                await send({"type": "websocket.close", "code": end.client or end.code, "reason": end.reason})
            try:
                await backend.close(end.code, end.reason)
            except Exception:  # noqa: BLE001 - a code that may not be sent, or a connection that is gone
                backend.transport.abort()

    async def _relay(self, tunnel: _Tunnel) -> CloseReason:
        """Until either side, or we, make an end of it."""
        work = (self._up(tunnel), self._down(tunnel), self._watch(tunnel))
        tunnel.tasks = [asyncio.create_task(part) for part in work]
        done, _ = await asyncio.wait(tunnel.tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = next(iter(done))
        return CloseReason(1001, "gone") if ended.exception() else ended.result()

    async def _up(self, tunnel: _Tunnel) -> CloseReason:
        while True:
            message = await tunnel.receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code") or 1000
                return CloseReason(1001, "", client=handshake.BREACH) if code in _UNSENDABLE else CloseReason(code, "")
            content: str | bytes = message["text"] if message.get("text") is not None else message["bytes"]
            if len(content) > MAX_MESSAGE_BYTES:
                return CloseReason(1009, "message too big")
            tunnel.last_activity_at = self._timer()
            try:
                await tunnel.backend.send(content)
            except ConnectionClosed as closed:
                return _ended(closed)

    async def _down(self, tunnel: _Tunnel) -> CloseReason:
        while True:
            try:
                content = await tunnel.backend.recv()
            except ConnectionClosed as closed:
                return _ended(closed)
            tunnel.last_activity_at = self._timer()
            kind = "text" if isinstance(content, str) else "bytes"
            await tunnel.send({"type": "websocket.send", kind: content})

    async def _watch(self, tunnel: _Tunnel) -> CloseReason:
        """What ends a passage that both sides would keep."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self._stopping:
                return CloseReason(1012, "the gateway restarts")
            if self._timer() - tunnel.last_activity_at > self._idle:
                return CloseReason(4408, "idle")
            if not self._still_valid(tunnel.exchange):
                return CloseReason(4401, "the credential has ended")

    def _still_valid(self, exchange: Exchange) -> bool:
        caller, credential, now = exchange.caller, exchange.credential, self._clock()
        if caller is None or credential is None:
            return True
        if credential.is_key:
            return self._authenticator.try_identify(credential, now) is not None
        return caller.expires is None or caller.expires > now

    def _bulkhead(self, exchange: Exchange) -> Bulkhead:
        """Sockets are counted apart from calls: they stay, and must not keep calls from being made."""
        service = exchange.match.service
        bulkhead = self._bulkheads.setdefault(service.name, Bulkhead(service.name, 1))
        bulkhead.limit = service.policy.max_concurrency
        return bulkhead


async def _refuse(error: GatewayError, shake: Handshake, send: Send) -> None:
    """A close code where the client can do something about it; else the handshake's plain refusal."""
    code = None
    if isinstance(error, Unauthenticated):
        code = 4401
    elif isinstance(error, BadGateway | UpstreamTimeout):
        code = 1014
    elif isinstance(error, Unavailable):
        code = 1013
    if code is None:
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept", "subprotocol": shake.subprotocol})
    await send({"type": "websocket.close", "code": code, "reason": error.code})


def _ended(closed: ConnectionClosed) -> CloseReason:
    """How the backend closed, as far as that may be said."""
    if closed.rcvd is None:
        return CloseReason(1014, "the service broke off")
    code = closed.rcvd.code
    return CloseReason(1000 if code in _UNSENDABLE else code, closed.rcvd.reason)


def _fields(headers: Any) -> list[tuple[str, str]]:
    """A handshake's own fields are written anew for the backend."""
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if not name.startswith(b"sec-websocket-") and name not in HOP_BY_HOP and name != b"host"
    ]

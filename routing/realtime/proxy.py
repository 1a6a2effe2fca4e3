"""WebSockets to services: steps 1 to 4 and 6 before the backend's handshake, then a tunnel.

This module and tunnel.py alone import websockets, as the client of the backend.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from resilience.breaker.machine import Outcome, judge
from routing.asgi import Receive, Scope, Send
from routing.authentication.authenticator import Authenticator
from routing.backend import reasons
from routing.backend.dialer import Dialer
from routing.backend.encoding import Origin, parse_origin
from routing.backend.names import NameTable
from routing.balancing.balancer import Balancers
from routing.balancing.rules import TargetState
from routing.errors import (
    BadGateway,
    BadRequest,
    CallFailed,
    Forbidden,
    GatewayError,
    MisdirectedRequest,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UpstreamTimeout,
)
from routing.exchange import CallRecord, Exchange
from routing.http import HOP_BY_HOP, Headers
from routing.messages.validation import client_prefix
from routing.pipeline import Gateway
from routing.realtime import handshake
from routing.realtime.close_codes import CloseCode
from routing.realtime.handshake import Handshake, HandshakeRefused
from routing.realtime.limits import CallerConnections, Limits
from routing.realtime.tunnel import MAX_TUNNEL_MESSAGE_BYTES, CloseReason, Tunnel
from routing.router.policy import Target
from routing.steps.calls import Calls
from routing.upstream.bulkhead import Bulkhead
from routing.upstream.permit import CallPermit

IDLE_SECONDS: Final = 300.0
MAX_QUEUED_MESSAGES: Final = 4
"""Messages of the backend that may wait for the client."""


class _BackendConnection(connect):
    """Connects to the target only, whatever the URI's host: a redirect is an error."""

    def __init__(self, uri: str, dialer: Dialer, origin: Origin, **options: Any) -> None:
        super().__init__(uri, **options)
        self._dialer = dialer
        self._origin = origin

    async def open_tcp_connection(self) -> ClientConnection:
        _, self.create_connection_kwargs["sock"] = await self._dialer.connect(self._origin.host, self._origin.port)
        if self._origin.tls:
            self.create_connection_kwargs["server_hostname"] = self._origin.host
        return await super().open_tcp_connection()

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


class SocketProxy:
    """`timer` is monotonic, `clock` Unix time."""

    def __init__(
        self,
        gateway: Gateway,
        calls: Calls,
        balancers: Balancers,
        authenticator: Authenticator,
        *,
        origins: tuple[str, ...],
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        idle_timeout: float = IDLE_SECONDS,
        dialer: Dialer | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._dialer = dialer or Dialer(NameTable())
        self._gateway = gateway
        self._calls = calls
        self._balancers = balancers
        self._authenticator = authenticator
        self._origins = origins
        self._clock = clock
        self._timer = timer
        self._idle_timeout = idle_timeout
        self._connections = CallerConnections(limits or Limits())
        self._bulkheads: dict[str, Bulkhead] = {}
        self._is_closing = False

    def begin_shutdown(self) -> None:
        """Every tunnel closes at its next check."""
        self._is_closing = True

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket to a service, from its handshake to its close."""
        if (await receive())["type"] != "websocket.connect":
            return
        shake = handshake.begin(self._gateway, scope, None)
        exchange = shake.exchange
        try:
            await self._admit(exchange)
            caller = exchange.caller.id if exchange.caller else client_prefix(exchange.request.client)
            if not self._connections.enter(caller):
                raise RateLimited("this caller has reached its limit of WebSockets", service=exchange.service)
            try:
                await self._serve(shake, receive, send)
            finally:
                self._connections.leave(caller)
        except GatewayError as error:
            self._gateway.account(exchange, int(error.status), error.code)
            misdirected = isinstance(error, MisdirectedRequest)
            if not misdirected or not await handshake.send_denial(error, exchange.id, scope, send):
                await _refuse(error, shake, send)

    async def _admit(self, exchange: Exchange) -> None:
        """Steps 2 to 4, the origin, and whether the route accepts WebSockets."""
        self._gateway.resolve(exchange)
        handshake.check_origin(exchange.request.headers, self._allowed_origins(exchange))
        await self._gateway.admit(exchange)
        self._gateway.route(exchange)
        if not exchange.match.policy.websocket:
            raise Forbidden("this service does not accept WebSockets", service=exchange.service)

    def _allowed_origins(self, exchange: Exchange) -> tuple[str, ...]:
        match = exchange.resolution.match
        policy = match.policy.cors if match else None
        return self._origins if policy is None or policy.origins is None else policy.origins

    async def _serve(self, shake: Handshake, receive: Receive, send: Send) -> None:
        exchange = shake.exchange
        admission = self._calls.admit(exchange)  # 6 circuit breaker
        if admission is not None:
            await admission
        permit = exchange.circuit.permit
        assert permit is not None  # noqa: S101 - otherwise `admit` has raised CircuitOpen
        bulkhead = self._bulkhead(exchange)
        try:
            await bulkhead.enter()
        except BaseException:
            permit.report(Outcome.CANCELLED)
            raise
        try:
            backend = await self._connect(shake, permit)
            self._gateway.account(exchange, 101)
            tunnel = Tunnel(
                backend,
                receive,
                send,
                check=lambda: self._reason_to_close(exchange),
                timer=self._timer,
                idle_timeout=max(self._idle_timeout, exchange.match.policy.timeout.idle),
                total_timeout=exchange.match.policy.timeout.stream,
            )
            await tunnel.run(backend.subprotocol or shake.subprotocol)
        finally:
            bulkhead.leave()

    async def _connect(self, shake: Handshake, permit: CallPermit) -> ClientConnection:
        """Connect to the backend, and report the outcome to the circuit. Raises BadGateway or UpstreamTimeout."""
        exchange, started = shake.exchange, self._timer()
        exchange.call = CallRecord()
        breaker = exchange.match.policy.breaker
        try:
            connection = await self._connect_to_a_target(shake, permit)
        except CallFailed as error:
            error.service = exchange.service
            exchange.call.error, exchange.call.reason = error.code, error.reason
            outcome = Outcome.FAILURE
            if isinstance(error, HandshakeRefused):
                outcome = judge(breaker, error.refusal, self._timer() - started)
            await permit.report_and_wait(outcome)
            raise
        except BaseException:
            permit.report(Outcome.CANCELLED)
            raise
        await permit.report_and_wait(judge(breaker, 101, self._timer() - started))
        return connection

    async def _connect_to_a_target(self, shake: Handshake, permit: CallPermit) -> ClientConnection:
        """Try targets until one responds, within the limits of retries. A handshake is a GET, and so repeatable.

        A socket counts as load only while it is opened: the balancer compares calls, and a socket may be quiet.
        """
        exchange, tried = shake.exchange, list[TargetState]()
        balancer, retries = self._balancers.of(exchange.match.service), exchange.match.policy.retries
        budget = permit.upstream.budget
        budget.deposit(retries.budget)
        deadline = self._timer() + exchange.match.policy.timeout.total
        while True:
            state = balancer.pick(tried, exchange.caller.id if exchange.caller else "")
            tried.append(state)
            exchange.call.target = state.target
            try:
                connection = await self._open(shake, state.target, deadline - self._timer())
                balancer.succeeded(state)
                return connection
            except HandshakeRefused:
                raise
            except CallFailed as error:
                balancer.failed(state, error.reason, no_response=True)
                if len(tried) >= retries.attempts or not permit.allows_retry or not balancer.has_another(tried):
                    raise
                if self._timer() >= deadline or not budget.withdraw(retries.budget):
                    raise
                exchange.call.retries += 1
            finally:
                balancer.release(state)

    async def _open(self, shake: Handshake, target: Target, left: float) -> ClientConnection:
        """Connect to one target within `left` seconds."""
        exchange = shake.exchange
        match, timeout = exchange.match, exchange.match.policy.timeout
        query = b"?" + exchange.request.query if exchange.request.query else b""
        try:
            origin = parse_origin(target.url)
            scheme = b"wss" if origin.tls else b"ws"
            preserved = exchange.request.fields.get(b"host") if match.policy.preserve_host else None
            uri = b"%b://%b%b" % (scheme, preserved or origin.authority, origin.target(match.path + query))
            return await _BackendConnection(
                uri.decode("ascii"),
                self._dialer,
                origin,
                additional_headers=_handshake_fields(self._calls.fields(exchange)),
                subprotocols=[Subprotocol(name) for name in shake.subprotocols] or None,
                user_agent_header=None,
                compression=None,
                proxy=None,
                open_timeout=min(timeout.connect + timeout.read, left),
                max_size=MAX_TUNNEL_MESSAGE_BYTES,
                max_queue=MAX_QUEUED_MESSAGES,
            )
        except TimeoutError as error:
            raise UpstreamTimeout("handshake timeout") from error
        except InvalidStatus as error:
            raise HandshakeRefused(error.response.status_code) from error
        except OSError as error:
            raise BadGateway(reasons.failure_reason(error)) from error
        except InvalidHandshake as error:
            raise BadGateway("invalid handshake") from error
        except (InvalidURI, UnicodeError) as error:
            raise BadRequest("the path cannot be sent to the service") from error

    def _reason_to_close(self, exchange: Exchange) -> CloseReason | None:
        if self._is_closing:
            return CloseReason(CloseCode.SERVICE_RESTART, "the gateway is restarting")
        if not self._is_credential_valid(exchange):
            return CloseReason(CloseCode.UNAUTHENTICATED, "the credential is no longer valid")
        return None

    def _is_credential_valid(self, exchange: Exchange) -> bool:
        caller, credential, now = exchange.caller, exchange.credential, self._clock()
        if caller is None or credential is None:
            return True
        if credential.is_key:
            return self._authenticator.try_identify(credential, now) is not None
        return caller.expires is None or caller.expires > now

    def _bulkhead(self, exchange: Exchange) -> Bulkhead:
        """Separate from the bulkhead of calls, which long-lived sockets would fill."""
        service = exchange.match.service
        bulkhead = self._bulkheads.setdefault(service.name, Bulkhead(service.name, 1))
        bulkhead.limit = service.policy.max_concurrency
        return bulkhead


async def _refuse(error: GatewayError, shake: Handshake, send: Send) -> None:
    """Close with a code that tells the client what to do; for all other errors, reject the handshake."""
    code = None
    if isinstance(error, Unauthenticated):
        code = CloseCode.UNAUTHENTICATED
    elif isinstance(error, BadGateway | UpstreamTimeout):
        code = CloseCode.BAD_GATEWAY
    elif isinstance(error, Unavailable):
        code = CloseCode.TRY_AGAIN_LATER
    if code is None:
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept", "subprotocol": shake.subprotocol})
    await send({"type": "websocket.close", "code": code, "reason": error.code})


def _handshake_fields(headers: Headers) -> list[tuple[str, str]]:
    """Without the fields that the handshake with the backend sets itself."""
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if not name.startswith(b"sec-websocket-") and name not in HOP_BY_HOP and name != b"host"
    ]

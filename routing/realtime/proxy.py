"""WebSockets to services: steps 1 to 4, 6 and 7 for the handshake, then a tunnel."""

import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Final

from routing.asgi import Receive, Scope, Send
from routing.authentication.authenticator import Authenticator, Credential
from routing.backend.dialer import Dialer
from routing.backend.names import NameTable
from routing.caller import Caller
from routing.consumers.subscription import Subscription
from routing.errors import (
    BackendLimited,
    BadGateway,
    CredentialFailed,
    Forbidden,
    GatewayError,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UpstreamTimeout,
)
from routing.exchange import Exchange
from routing.http import Request, Response
from routing.messages.validation import client_prefix
from routing.networks import permits
from routing.pipeline import Gateway
from routing.realtime import handshake
from routing.realtime.close_codes import CloseCode
from routing.realtime.handshake import Handshake
from routing.realtime.limits import CallerConnections, Limits
from routing.realtime.opening import Opening
from routing.realtime.tunnel import CloseReason, Tunnel
from routing.realtime.withdrawal import Withdrawal
from routing.router.policy import RoutePolicy
from routing.steps.calls import SWITCHING_PROTOCOLS, Calls
from routing.steps.metering import Meter
from routing.steps.rechecks import Rechecks
from routing.tls.context import TlsContexts

IDLE_SECONDS: Final = 300.0
RESTARTING: Final = CloseReason(CloseCode.SERVICE_RESTART, "the gateway is restarting")


class SocketProxy:
    """`timer` is monotonic, `clock` Unix time."""

    def __init__(
        self,
        gateway: Gateway,
        calls: Calls,
        authenticator: Authenticator,
        *,
        origins: tuple[str, ...],
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        idle_timeout: float = IDLE_SECONDS,
        dialer: Dialer | None = None,
        contexts: TlsContexts | None = None,
        limits: Limits | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter
        self._gateway = gateway
        self._authenticator = authenticator
        self._rechecks = Rechecks(gateway.live, authenticator)
        self._opening = Opening(gateway, calls, dialer or Dialer(NameTable()), contexts or TlsContexts(), origins)
        self._clock = clock
        self._timer = timer
        self._idle_timeout = idle_timeout
        self._connections = CallerConnections(limits or Limits())
        self._tunnels: set[Tunnel] = set()
        self._is_closing = False

    def begin_shutdown(self) -> None:
        """Close every tunnel at once, since the server soon closes them itself, without a reason."""
        self._is_closing = True
        for tunnel in self._tunnels:
            tunnel.close(RESTARTING)

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
            with ExitStack() as held:
                held.callback(self._connections.leave, caller)
                if exchange.slots is not None:
                    held.callback(exchange.slots.release)
                await self._serve(shake, receive, send, held)
        except GatewayError as error:
            response = self._gateway.refusal(exchange, error)
            self._gateway.account(exchange, response.status, error.code)
            await _refuse(error, response, shake, scope, send)

    async def _admit(self, exchange: Exchange) -> None:
        """Steps 2 to 4, the origin, and whether the route accepts WebSockets."""
        self._gateway.resolve(exchange)
        match = exchange.resolution.match
        handshake.check_origin(exchange.request.headers, self._opening.origins_of(match.policy if match else None))
        await self._gateway.admit(exchange)
        await self._gateway.route(exchange)
        if not exchange.match.policy.websocket:
            raise Forbidden("this service does not accept WebSockets", service=exchange.service)

    async def _serve(self, shake: Handshake, receive: Receive, send: Send, held: ExitStack) -> None:
        """Steps 6 and 7, and the tunnel until it closes. `held` is what the client holds: it is released once that is
        gone, though the backend may take its time to close.
        """
        exchange = shake.exchange
        async with AsyncExitStack() as stack:
            opened = await self._opening.open(stack, shake)
            socket, other = opened.socket, opened.exchange
            self._gateway.account(exchange, SWITCHING_PROTOCOLS)
            timeout, withdrawal = other.match.policy.timeout, Withdrawal(self._gateway, exchange, other)
            tunnel = Tunnel(
                socket,
                receive,
                send,
                check=lambda: self._reason_to_close(exchange, withdrawal),
                timer=self._timer,
                idle_timeout=max(self._idle_timeout, timeout.idle),
                pings=lambda: shake.client_pings() + socket.pings,
                total_timeout=timeout.stream,
            )
            self._tunnels.add(tunnel)
            stack.callback(self._tunnels.discard, tunnel)
            if self._meter is not None:
                self._meter.opened(exchange, tunnel, SWITCHING_PROTOCOLS)
                stack.callback(self._meter.closed, exchange)
            try:
                await tunnel.run(socket.subprotocol or shake.subprotocol, opened.headers)
            finally:
                held.close()
                await tunnel.close_backend()

    def _reason_to_close(self, exchange: Exchange, withdrawal: Withdrawal) -> CloseReason | None:
        """Why the tunnel must be closed, or None."""
        if self._is_closing:
            return RESTARTING
        caller = exchange.caller
        current = None if caller is None else self._current(exchange, caller)
        if caller is not None and current is None:
            return CloseReason(CloseCode.UNAUTHENTICATED, "the credential is no longer valid")
        reason = withdrawal.reason()
        if reason is not None:
            return reason
        for name, policy in withdrawal.policies.items():
            refusal = _refusal(current, name, policy, exchange.request)
            if refusal:
                return CloseReason(CloseCode.UNAUTHENTICATED, refusal)
        return None

    def _current(self, exchange: Exchange, caller: Caller) -> Caller | None:
        """The caller as it is now, None if it is refused, or acts for another tenant or consumer than the backend and
        the meter know.
        """
        proof, now = exchange.proof, self._clock()
        if caller.expires is not None and caller.expires <= now:
            return None
        try:
            if isinstance(proof, Credential):
                self._authenticator.check(proof, exchange.request.client, exchange.request.method)
        except Forbidden:
            return None
        current = self._rechecks.current(caller, proof, now)
        return current if current is not None and _owner(current) == _owner(caller) else None


def _owner(caller: Caller) -> tuple[str | None, int]:
    """The tenant, and the row of the consumer or 0."""
    return caller.tenant, caller.subscription.consumer_id if caller.subscription else 0


def _refusal(caller: Caller | None, service: str, policy: RoutePolicy, request: Request) -> str:
    """Why the route's networks, or the caller's scopes or plan, would refuse the handshake now; empty if none would."""
    if not permits(policy.ip, request.client):
        return "the service may no longer be called from this address"
    if caller is None:
        return ""
    if not caller.may_use(service, policy.scopes):
        return "the credential may no longer be used for this service"
    return "" if caller.subscription is None else _refusal_by_plan(caller.subscription, service, request)


def _refusal_by_plan(subscription: Subscription, service: str, request: Request) -> str:
    if not subscription.allows(service, request.method):
        return "the plan no longer includes this method of the service"
    if not permits(subscription.ip, request.client):
        return "the plan may no longer be used from this address"
    return ""


async def _refuse(error: GatewayError, response: Response, shake: Handshake, scope: Scope, send: Send) -> None:
    """Close with a code that tells the client what to do; for all other errors, reject the handshake."""
    code = None
    if isinstance(error, Unauthenticated):
        code = CloseCode.UNAUTHENTICATED
    elif isinstance(error, BadGateway | CredentialFailed | UpstreamTimeout):
        code = CloseCode.BAD_GATEWAY
    elif isinstance(error, BackendLimited | Unavailable):
        code = CloseCode.TRY_AGAIN_LATER
    if code is not None:
        await send({"type": "websocket.accept", "subprotocol": shake.subprotocol})
        await send({"type": "websocket.close", "code": code, "reason": error.code})
    elif not await handshake.send_denial(response, scope, send):
        await send({"type": "websocket.close"})

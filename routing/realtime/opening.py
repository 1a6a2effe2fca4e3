"""Opens the WebSocket to a service, or to its fallback service where that one cannot be reached (ADR 21)."""

from contextlib import AsyncExitStack
from typing import NamedTuple

from routing.backend.dialer import Dialer
from routing.errors import BadGateway, Forbidden, GatewayError
from routing.exchange import Exchange
from routing.http import Headers
from routing.pipeline import Gateway
from routing.realtime import handshake
from routing.realtime.backend_handshake import BackendHandshake
from routing.realtime.backend_socket import BackendSocket
from routing.realtime.handshake import Handshake
from routing.router.policy import RoutePolicy
from routing.steps.cache.store import SHARED_FAILURES
from routing.steps.calls import Calls
from routing.steps.fallbacks import names_fallback
from routing.tls.context import TlsContexts


class Opened(NamedTuple):
    """`exchange` is the one with the service that has accepted, and `headers` are for the client's handshake."""

    exchange: Exchange
    socket: BackendSocket
    headers: Headers


class Opening:
    """`origins` are those whose pages may open WebSockets to services without origins of their own."""

    def __init__(
        self, gateway: Gateway, calls: Calls, dialer: Dialer, contexts: TlsContexts, origins: tuple[str, ...]
    ) -> None:
        self._gateway = gateway
        self._calls = calls
        self._dialer = dialer
        self._contexts = contexts
        self._origins = origins

    def origins_of(self, policy: RoutePolicy | None) -> tuple[str, ...]:
        """The origins whose pages may open a WebSocket to a route."""
        cors = policy.cors if policy else None
        return self._origins if cors is None or cors.origins is None else cors.origins

    async def open(self, stack: AsyncExitStack, shake: Handshake) -> Opened:
        """Steps 6 and 7, at the service or its fallback. The WebSocket is open until `stack` is closed.

        Raises GatewayError.
        """
        exchange = shake.exchange
        try:
            return await self._open(stack, exchange, shake.subprotocols)
        except SHARED_FAILURES as error:
            opened = await self._open_fallback(stack, shake, error) if _is_replaceable(exchange) else None
            if opened is None:
                raise
            return opened

    async def _open_fallback(self, stack: AsyncExitStack, shake: Handshake, error: GatewayError) -> Opened | None:
        """None if the fallback service may not be called, or fails too."""
        exchange, fallbacks = shake.exchange, self._gateway.fallbacks
        match = fallbacks.find(exchange)
        if match is None:
            return None
        refusal = self._refusal(exchange, match.policy)
        if refusal:
            fallbacks.mark(exchange, refusal)
            return None
        other = await fallbacks.reroute(exchange, match)
        if other is None:
            return None
        try:
            opened = await self._open(stack, other, shake.subprotocols)
        except (*SHARED_FAILURES, Forbidden) as failure:  # Forbidden: this caller has no credential for it
            fallbacks.mark(other, f"{other.service}: {failure.code}")
            return None
        fallbacks.mark(other, other.service)
        exchange.answered_by(other, error.code, "")
        return opened._replace(headers=[*opened.headers, (b"x-gateway-fallback", other.service.encode())])

    def _refusal(self, exchange: Exchange, policy: RoutePolicy) -> str:
        """Why the fallback service would refuse this WebSocket if it were called itself; empty if it would not."""
        if not policy.websocket:
            return "does not accept WebSockets"
        try:
            handshake.check_origin(exchange.request.headers, self.origins_of(policy))
        except Forbidden:
            return "does not accept WebSockets of this origin"
        return ""

    async def _open(self, stack: AsyncExitStack, exchange: Exchange, subprotocols: tuple[str, ...]) -> Opened:
        """The handshake, with the service's credential if it has one, and once more if the backend refuses that."""
        credentials, backend = self._gateway.credentials, BackendHandshake(self._dialer, self._contexts, subprotocols)
        waiting = credentials.attach(exchange)
        if waiting is not None:
            await waiting
        try:
            headers = await stack.enter_async_context(self._calls.websocket(exchange, backend))
        except BadGateway:
            if not await credentials.renew_handshake(exchange):
                raise
            headers = await stack.enter_async_context(self._calls.websocket(exchange, backend))
        return Opened(exchange, backend.accepted, headers)


def _is_replaceable(exchange: Exchange) -> bool:
    """Whether another service may accept the WebSocket: as for other requests, not where the backend has responded with
    a refusal that is no failure.
    """
    call = exchange.call
    return names_fallback(exchange) and (call.call is None or call.is_replaceable)

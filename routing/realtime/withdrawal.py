"""Whether the configuration still allows a WebSocket that is open."""

from routing.errors import GatewayError
from routing.exchange import Exchange
from routing.pipeline import Gateway
from routing.realtime.close_codes import CloseCode
from routing.realtime.tunnel import CloseReason
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import RouteTable

_NOT_SERVED = CloseReason(CloseCode.GOING_AWAY, "the path is no longer served")


class Withdrawal:
    """Of the handshake of one WebSocket. It is resolved again once for each configuration.

    `other` is the exchange with the service that has accepted: the same, or that of the fallback service. `policies`
    are those that the routes of both have now, by service.
    """

    def __init__(self, gateway: Gateway, exchange: Exchange, other: Exchange) -> None:
        self._gateway = gateway
        self._exchange = exchange
        self._other = other
        self.policies: dict[str, RoutePolicy] = {}
        self._allowed_by: RouteTable | None = None

    def reason(self) -> CloseReason | None:
        """Why the configuration would refuse the handshake now, or None."""
        table = self._gateway.live.table
        if table is self._allowed_by:
            return None
        reason = self._refusal()
        if reason is None:
            self._allowed_by = table
        return reason

    def _refusal(self) -> CloseReason | None:
        before = self._exchange
        again = Exchange(before.request, before.id, before.received_at, before.started)
        try:
            self._gateway.resolve(again)
        except GatewayError:  # the service has no longer this host
            return _NOT_SERVED
        match = again.resolution.match
        if match is None or match.service.name != before.service:
            return _NOT_SERVED
        if not match.policy.enabled:
            return CloseReason(CloseCode.TRY_AGAIN_LATER, "the service is disabled")
        if not match.policy.websocket:
            return CloseReason(CloseCode.POLICY_VIOLATION, "the service no longer accepts WebSockets")
        if before.caller is None and match.policy.auth not in (Auth.OPTIONAL, Auth.NONE):
            return CloseReason(CloseCode.UNAUTHENTICATED, "the service requires a credential now")
        self.policies = {**self._fallback(), match.service.name: match.policy}
        return None

    def _fallback(self) -> dict[str, RoutePolicy]:
        """Empty without a fallback service, or where it has been removed or no longer has the path."""
        other, table = self._other, self._gateway.live.table
        service = None if other is self._exchange else table.services.get(other.service)
        if service is None:
            return {}
        try:
            found = table.within(service, other.request.method, other.match.path.removesuffix(b"?"))
        except GatewayError:
            return {}
        return {service.name: found.policy}

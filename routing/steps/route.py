"""Step 4: the service and route, and whether this caller may use them."""

from collections.abc import Callable

import msgspec

from routing.errors import BadRequest, BodyTooLarge, UnknownService
from routing.exchange import Exchange
from routing.http import Response
from routing.router.live import LiveConfiguration


class ServiceRouter:
    """`timer` is monotonic seconds."""

    def __init__(self, live: LiveConfiguration, max_body_bytes: int, timer: Callable[[], float]) -> None:
        self._live = live
        self._max_body_bytes = max_body_bytes
        self._timer = timer

    def route(self, exchange: Exchange) -> None:
        """Raises GatewayError where there is no route, where this caller may not use it, or for too large a body."""
        denial, match = exchange.caller_slot.grant.denial, exchange.resolution.match
        if denial is not None:
            raise denial.with_traceback(None)
        if match is None:
            raise UnknownService("/api/v1/ lists the services; it is not one")
        exchange.match = match
        length = exchange.request.fields.get(b"content-length")
        if length is not None:
            self._check_length(exchange, length)
        if exchange.step_log is not None:
            exchange.mark("service router", f"{match.service.name}{match.pattern}", self._timer())

    def index(self, exchange: Exchange) -> Response:
        """`GET /api/v1/`: the services this caller may use."""
        caller = exchange.caller
        services = [
            {"name": service.name, "path": f"/api/v1/{service.name}/", "enabled": service.policy.enabled}
            for service in self._live.table.services.values()
            if caller is not None and caller.may_use(service.name, service.policy.scopes)
        ]
        body = msgspec.json.encode({"services": services})
        return Response(200, [(b"content-type", b"application/json"), (b"cache-control", b"private, no-store")], body)

    def _check_length(self, exchange: Exchange, length: bytes) -> None:
        if not length.isdigit():
            raise BadRequest("Content-Length is not a number")
        if int(length) > self._max_body_bytes:
            raise BodyTooLarge(
                f"the request body is larger than {self._max_body_bytes} bytes", service=exchange.service
            )

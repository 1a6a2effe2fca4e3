"""Every WebSocket: the gateway's own paths, each with its own access check, and the proxy for those of services."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from channels.auth import AuthMiddlewareStack
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings

from metrics.dashboard.events import StaffEventsConsumer
from metrics.dashboard.live import DashboardConsumer
from metrics.dashboard.request_feed import RequestsConsumer
from routing import asgi, runtime
from routing.asgi import Receive, Scope, Send
from routing.errors import GatewayError, MisdirectedRequest, UnknownService
from routing.http import Request
from routing.messages import validation
from routing.messages.identifiers import request_id
from routing.problems import identified_problem
from routing.realtime.consumer import EventsConsumer
from routing.realtime.handshake import send_denial
from routing.router.hosts import domain_of, explain_refusal
from routing.router.resolution import host

NOT_FOUND: Final = 4404
"""The close code where nothing is served, under a server that cannot send 404."""

PATHS: Final[dict[str, Callable[..., Awaitable[Any]]]] = {
    "/ws/dashboard/": AllowedHostsOriginValidator(AuthMiddlewareStack(DashboardConsumer.as_asgi())),
    "/ws/dashboard/events/": AllowedHostsOriginValidator(AuthMiddlewareStack(StaffEventsConsumer.as_asgi())),
    "/ws/dashboard/requests/": AllowedHostsOriginValidator(AuthMiddlewareStack(RequestsConsumer.as_asgi())),
    "/ws/events/": EventsConsumer.as_asgi(),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket, with the client, scheme and host that trusted proxies give it."""
    current, request = runtime.current(), asgi.handshake_request(scope)
    proxies = current.gateway.proxies if current.started else None
    if proxies is not None:
        proxies.apply(request)
        _, port = scope.get("client") or ("", 0)
        scope = {**scope, "client": (request.client, port), "headers": request.headers}
        scope[asgi.VIA_PROXY] = request.via_proxy
    if current.started and not current.gateway.live.table.is_loaded:
        await current.proxy.answer(scope, receive, send)  # which refuses it with 503
        return
    consumer = PATHS.get(scope["path"])
    if current.started and current.gateway.owns(host(request)):  # all paths of a service's own host are the service's
        await current.proxy.answer(scope, receive, send)
    elif scope["path"].startswith("/ws/dashboard/") and not _is_staff_origin(scope, host(request)):
        await _refuse(request, scope, send)
    elif consumer is not None:
        await consumer(scope, receive, send)
    elif current.started and current.gateway.serves(scope["path"], host(request)):
        await current.proxy.answer(scope, receive, send)
    else:
        await _refuse(request, scope, send)


async def _refuse(request: Request, scope: Scope, send: Send) -> None:
    """404, 421 for a host that is not served here, or 400, as for other requests."""
    current, name = runtime.current(), host(request)
    try:
        validation.validate_fields(request)
    except GatewayError as malformed:
        error = malformed
    else:
        error = UnknownService("there is nothing at this path")
        if current.started and not current.gateway.allowed_hosts.allows(name):
            error = MisdirectedRequest(explain_refusal(name))
    identifier = request_id(request.fields.get(b"x-request-id"), time.time())
    if not await send_denial(identified_problem(error, identifier), scope, send):
        await send({"type": "websocket.close", "code": NOT_FOUND})


def _is_staff_origin(scope: Scope, host: str) -> bool:
    _, port = scope.get("server") or ("", 0)
    return bool(settings.CONFIG.staff.serves(domain_of(host), port or 0))

"""The whole gateway as one ASGI application: services, events and health first, everything else to Django."""

import os
import time
from collections.abc import Awaitable, MutableMapping
from typing import Any, Final
from urllib.parse import unquote

import django
from django.conf import settings

from gateway_project.pages.budget import PageBudget, ServiceTraffic
from gateway_project.pages.handler import StreamingHandler
from gateway_project.server.lifespan import Lifespan
from routing import asgi, runtime
from routing.asgi import Receive, Scope, Send
from routing.deliveries.endpoint import PREFIX as HOOKS
from routing.errors import BodyTooLarge, GatewayError, MethodNotAllowed, Overloaded
from routing.http import Request, Response, first
from routing.messages import validation
from routing.messages.identifiers import request_id
from routing.messages.proxies import TrustedProxies
from routing.messages.staff_origin import sandbox
from routing.problems import identified_problem
from routing.realtime.http import PATH
from routing.router.paths import PREFIX
from routing.router.resolution import host

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
django.setup(set_prefix=False)

from gateway_project import sockets  # noqa: E402 - imports models, which need Django set up
from metrics import error_pages  # noqa: E402 - as above
from metrics.status_page import page as status  # noqa: E402 - as above
from metrics.status_page.rendering import StatusRenderer  # noqa: E402 - as above

_traffic = ServiceTraffic(time.monotonic)
_django: asgi.ASGIApplication = StreamingHandler(
    runtime.current().turn,
    TrustedProxies(settings.CONFIG.trusted_proxies),
    PageBudget(time.monotonic, is_contended=_traffic.is_present),
)
_lifespan = Lifespan(runtime.current())
_status = status.StatusPage(StatusRenderer(), time.monotonic) if settings.CONFIG.status_page else None
EVENTS: Final = PATH.encode()
HEALTH_PATHS: Final = frozenset({b"/health", b"/health/ready", b"/health/deep"})
READ_ONLY: Final = HEALTH_PATHS if _status is None else HEALTH_PATHS | {b"/status"}
SAFE_PAGES: Final = ("GET", "HEAD")
"""The methods of read-only pages."""

_session = settings.SESSION_COOKIE_NAME.encode()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application, for any server: they tell ASGI 3 from ASGI 2 by whether it is a coroutine function."""
    if scope["type"] == "http":
        await asgi.serve_asgi(handle_request, default_application, scope, receive, send)
    else:
        await default_application(scope, receive, send)


def handle_request(request: Request) -> Response | Awaitable[Response] | None:
    """The gateway's response to a request for a service or for events, to a webhook's delivery, or to a request that is
    malformed; None for `default_application`'s.
    """
    path, gateway = request.path, runtime.current().gateway
    if gateway.proxies is not None:  # before the host is looked at
        gateway.proxies.apply(request)
    if path.startswith(PREFIX) or gateway.serves(unquote(path.decode("latin-1")), host(request)):
        _traffic.requests += 1
        is_page = (
            _may_want_page(request)
            and gateway.allowed_hosts.allows(host(request))
            and not gateway.owns(host(request))  # whose cookies are the backend's
        )
        return None if is_page else gateway.answer(request)
    if path == EVENTS:
        return runtime.current().events.answer(request)
    if path.startswith(HOOKS):
        return runtime.current().webhooks.answer(request)
    if not gateway.live.table.is_loaded and path.rstrip(b"/") not in HEALTH_PATHS:
        return gateway.answer(request)  # 503: the host may be a service's own, and Django's pages need the database
    refusal = _refuse(request)
    if refusal is None and _status is not None and path in status.PATHS and gateway.allowed_hosts.allows(host(request)):
        return _status.answer(request)
    return refusal


def handle_staff_request(request: Request) -> Response | Awaitable[Response] | None:
    """The same over the listener of STAFF_PORT, where services' responses have the origin of staff's pages."""
    response = handle_request(request)
    if response is None or isinstance(response, Response):
        return response and sandbox(response)
    return _sandboxed(response)


async def _sandboxed(pending: Awaitable[Response]) -> Response:
    return sandbox(await pending)


def default_application(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Everything but requests for services and events: health, Django's pages, WebSockets and the lifespan."""
    if scope["type"] == "http":
        return _http(scope, receive, send)
    if scope["type"] == "lifespan":
        return _lifespan(receive, send)
    return sockets.application(scope, receive, send)


async def _http(scope: Scope, receive: Receive, send: Send) -> None:
    path = scope["path"]
    response = await runtime.current().health.response(path) if path.startswith("/health") else None
    if response is not None:
        response.headers.append((b"x-request-id", _identifier(scope).encode()))
        await asgi.send_response(response, send)
        return
    try:
        await _django(scope, _limited(scope, receive), send)
    except (BodyTooLarge, Overloaded) as error:
        await asgi.send_response(_refusal(scope, error), send)


def _refusal(scope: Scope, error: BodyTooLarge | Overloaded) -> Response:
    """The response if no thread is free or the body is too large: to a browser a page, else a problem document."""
    identifier, accept = _identifier(scope), first(scope["headers"], b"accept") or b""
    response = identified_problem(error, identifier)
    if isinstance(error, Overloaded) and error_pages.wants_page(accept.decode("latin-1")):
        response.body = error_pages.render(int(error.status), scope["path"], identifier).encode()
        kept = [field for field in response.headers if field[0] not in (b"content-type", b"content-length")]
        length = b"%d" % len(response.body)
        response.headers = [*kept, (b"content-type", b"text/html; charset=utf-8"), (b"content-length", length)]
        response.headers.append((b"content-security-policy", error_pages.POLICY.encode()))
    return response


def _identifier(scope: Scope) -> str:
    return request_id(first(scope["headers"], b"x-request-id"), time.time())


def _limited(scope: Scope, receive: Receive) -> Receive:
    """`receive`, until the body is larger than MAX_BODY_BYTES. Then raises BodyTooLarge."""
    limit, size = settings.CONFIG.max_body_bytes, 0
    length = first(scope["headers"], b"content-length")

    async def receive_limited() -> MutableMapping[str, Any]:
        nonlocal size
        message = await receive() if size or length is None or not length.isdigit() or int(length) <= limit else {}
        size += len(message.get("body", b""))
        if not message or size > limit:
            raise BodyTooLarge(f"the request body is larger than {limit} bytes")
        return message

    return receive_limited


def _refuse(request: Request) -> Response | None:
    """Hold requests for pages to the rules of those for services, and respond to `OPTIONS *`. None for all others.

    No refusal waits for the request's body.
    """
    identifier = request_id(request.fields.get(b"x-request-id"), time.time())
    try:
        validation.validate_fields(request)
        validation.validate_method(request.method)
        if request.path.rstrip(b"/") in READ_ONLY and request.method not in SAFE_PAGES:
            raise MethodNotAllowed("this page is read only", allow=SAFE_PAGES)
        if request.path.startswith(b"/"):
            return None
        validation.validate_target(request)
    except GatewayError as error:
        response = identified_problem(error, identifier)
    else:
        allowed = (b"allow", ", ".join(validation.METHODS).encode())
        response = Response(204, [allowed, (b"x-request-id", identifier.encode())])
    if request.method == "HEAD":
        response.body = b""
    return response


def _may_want_page(request: Request) -> bool:
    """Whether Django should decide: a browser with a session may be a member of staff, who gets the response as a page.

    As `routing.views.may_want_page`, for the data plane's request.
    """
    if request.method != "GET" or b"text/html" not in request.fields.get(b"accept", b""):
        return False
    has_session = any(name == b"cookie" and _session in value for name, value in request.headers)
    return has_session and runtime.current().gateway.live.table.is_loaded

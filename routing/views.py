"""The gateway as a Django REST framework view: for other servers, Django's test client, and browsable pages."""

import time
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.template.loader import render_to_string
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import View
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAdminUser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request as RestRequest
from rest_framework.response import Response as RestResponse
from rest_framework.views import APIView

from routing import runtime
from routing.caller import DEBUG, EVERY_SERVICE, GATEWAY_SCOPES, Caller
from routing.django_http import to_django_response, to_gateway_request
from routing.errors import GatewayError, MethodNotAllowed, UnknownService
from routing.http import Headers, Request, Response
from routing.messages.bodies import read_up_to
from routing.messages.identifiers import request_id
from routing.problems import identified_problem
from routing.rights import Names, Right, may, services, within
from routing.router.hosts import domain_of
from routing.router.paths import PREFIX as PREFIX_BYTES
from routing.router.paths import split

_SHOWN: Final = frozenset(
    {
        b"age",
        b"allow",
        b"cache-control",
        b"cache-status",
        b"content-language",
        b"etag",
        b"expires",
        b"last-modified",
        b"ratelimit",
        b"ratelimit-policy",
        b"retry-after",
        b"server-timing",
        b"x-cache",
        b"x-circuit-state",
        b"x-gateway-debug",
        b"x-gateway-fallback",
        b"x-request-id",
    }
)
"""Fields of the response on the page that shows it. They are the page's own too, so that a backend must not choose."""
READ_METHODS: Final = ("GET", "HEAD")
PREFIX: Final = PREFIX_BYTES.decode().rstrip("/")
_BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED)


class ServicePageRenderer(BaseRenderer):
    """A service's response as a page for staff, or the list of services."""

    media_type = "text/html"
    format = "api"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,  # noqa: ARG002 - REST framework's signature
        renderer_context: Mapping[str, Any] | None = None,
    ) -> str:
        context = renderer_context or {}
        request, response = context["request"]._request, context["response"]
        name, _, rest = request.path.removeprefix(PREFIX).strip("/").partition("/")
        status, reason = response.status_code, response.reason_phrase
        if status in _BODILESS:
            response.status_code = HTTPStatus.OK  # the page has a body
        services = data.get("services") if not name and isinstance(data, dict) else None
        page = {
            "service": name,
            "path": f"/{rest}",
            "services": services,
            "status": status,
            "reason": reason,
            "tone": "bad" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "warn" if status >= 400 else "good",
            "fields": sorted(
                (k, v) for k, v in response.headers.items() if k.lower().encode() in _SHOWN and k != "Allow"
            ),
            "body": data if isinstance(data, str) else _pretty(data),
            "id": response.headers.get("X-Request-ID", ""),
        }
        return render_to_string("dashboard/response.html", page, request=request)


class ServiceProxyView(APIView):
    """`ANY /api/v1/<service>/<path>` under Django. Staff with a browser get the response as a browsable page."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAdminUser,)
    renderer_classes = (ServicePageRenderer, JSONRenderer)
    schema = None  # the responses are those of the services

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return the gateway's response unchanged. Only browsable pages go through REST framework."""
        if wants_page(request):
            return super().dispatch(request, *args, **kwargs)
        return _answer(request, _handle)

    def get(self, request: RestRequest) -> RestResponse:
        """The page with the service's response to this member of staff."""
        for right in (Right.OPERATE, Right.CONFIGURE):  # read by the template
            setattr(request._request, f"may_{right.name.lower()}", may(request.user, right))
        names = services(request.user, Right.CONFIGURE)
        forwarded = to_gateway_request(request._request)
        forwarded.headers = [
            (b"accept", b"application/json, */*;q=0.5") if k == b"accept" else (k, v) for k, v in forwarded.headers
        ]
        forwarded.caller = staff_caller(request.user.get_username(), names)
        status, headers, body = runtime.current().wait_for(_handle_buffered(forwarded))
        shown = {name.decode(): value.decode("latin-1") for name, value in headers if name in _SHOWN}
        return RestResponse(_readable(body), status=status, headers=shown)


def may_want_page(request: HttpRequest) -> bool:
    """Whether a browser with any session requests a page."""
    html = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
    return html and settings.SESSION_COOKIE_NAME in request.COOKIES


def is_staff_origin(request: HttpRequest) -> bool:
    """Whether staff's pages are served to this request, by its host and the port it arrived at."""
    port = str(request.META.get("SERVER_PORT", ""))
    domain = domain_of(request.META.get("HTTP_HOST", ""))
    return bool(settings.CONFIG.staff.serves(domain, int(port) if port.isdigit() else 0))


def wants_page(request: HttpRequest) -> bool:
    """Whether a browser with the session of a member of staff who may configure the service requests a page."""
    if not may_want_page(request) or not is_staff_origin(request):
        return False
    user = getattr(request, "user", None)
    # The page calls the service with every scope, as only those may who can issue such a key.
    location = split(request.path_info.encode("latin-1", "replace"))
    return may(user, Right.CONFIGURE, location.service if location is not None and location.service else None)


def staff_caller(username: str, names: Names = None) -> Caller:
    """A caller with every scope that these services require, and with the debug headers."""
    return Caller(f"staff:{username}", scopes=scopes_for(names) | {DEBUG})


def scopes_for(names: Names) -> frozenset[str]:
    """The scopes with which a caller may use these services and no other: what is another's name is not among them."""
    table = runtime.current().gateway.live.table.services
    found = [service for service in table.values() if within(service.name, names)]
    needed = {scope for service in found for route in service.routes for scope in route.policy.scopes}
    needed |= {scope for service in found for scope in service.policy.scopes}
    if names is None:
        return frozenset({EVERY_SERVICE, *needed})
    return names | (needed - {*table, *GATEWAY_SCOPES, EVERY_SERVICE})


@method_decorator(csrf_exempt, name="dispatch")
class EndpointView(View):
    """One of the gateway's own endpoints under Django. Cookies are no credential for any of them."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # noqa: ARG002 - Django's
        return _answer(request, self.answer)

    @abstractmethod
    async def answer(self, request: Request) -> Response:
        """The response, on the gateway's loop."""


class WebhookView(EndpointView):
    """`POST /hooks/<name>` under Django. The provider proves by its signature that the delivery is its own."""

    async def answer(self, request: Request) -> Response:
        return await runtime.current().webhooks.answer(request)


class EventsView(EndpointView):
    """`/events` under Django."""

    async def answer(self, request: Request) -> Response:
        return await runtime.current().events.answer(request)


class HealthView(EndpointView):
    """`/health`, `/health/ready` and `/health/deep` under Django."""

    async def answer(self, request: Request) -> Response:
        identifier = request_id(request.fields.get(b"x-request-id"), time.time())
        found = await runtime.current().health.response(request.path.decode("latin-1"))
        if found is None:
            return identified_problem(UnknownService("there is nothing at this path"), identifier)
        if request.method not in READ_METHODS:
            return identified_problem(MethodNotAllowed("this page is read only", allow=READ_METHODS), identifier)
        found.headers.append((b"x-request-id", identifier.encode()))
        if request.method == "HEAD":
            found.body = b""
        return found


def _answer(request: HttpRequest, work: Callable[[Request], Coroutine[Any, Any, Response]]) -> HttpResponseBase:
    """The response of `work`, which is done on the gateway's loop."""
    try:
        converted = to_gateway_request(request)
    except GatewayError as error:
        sent = request.headers.get("X-Request-ID", "").encode("latin-1", "replace")
        return to_django_response(request, identified_problem(error, request_id(sent, time.time())))
    return to_django_response(request, runtime.current().wait_for(work(converted)))


async def _handle(request: Request) -> Response:
    return await runtime.current().gateway.handle(request)


async def _handle_buffered(request: Request) -> tuple[int, Headers, bytes]:
    response = await _handle(request)
    if isinstance(response.body, bytes):
        return response.status, response.headers, response.body
    chunks, _ = await read_up_to(response.body)
    return response.status, response.headers, b"".join(chunks)


def _pretty(data: object) -> str:
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()


def _readable(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace")

"""The gateway as a REST framework view: the same `Gateway`, for Django's own servers, its tests and its pages."""

from typing import Any, Final

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAdminUser
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request as RestRequest
from rest_framework.response import Response as RestResponse
from rest_framework.views import APIView

from routing import runtime
from routing.caller import Caller
from routing.django_http import to_django_response, to_gateway_request
from routing.http import Headers, Request, Response
from routing.steps.respond import DEBUG

_SHOWN: Final = frozenset({b"content-length", b"content-type", b"content-encoding", b"vary"})
"""Fields of the service's answer that would be untrue of a page that shows it."""


class ServiceProxyView(APIView):
    """`ANY /api/v1/<service>/<path>` under Django. Staff with a browser get the answer as a browsable page."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAdminUser,)
    renderer_classes = (BrowsableAPIRenderer, JSONRenderer)
    schema = None  # its answers are the services' own

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Programs get the gateway's answer as it is; REST framework has its say on its own pages alone."""
        if wants_page(request):
            return super().dispatch(request, *args, **kwargs)
        return to_django_response(request, runtime.current().submit(_answer(to_gateway_request(request))).result())

    def get(self, request: RestRequest) -> RestResponse:
        """What the service answers to this member of staff."""
        asked = to_gateway_request(request._request)
        asked.headers = [
            (b"accept", b"application/json, */*;q=0.5") if k == b"accept" else (k, v) for k, v in asked.headers
        ]
        asked.caller = staff_caller(request.user.get_username())
        status, headers, body = runtime.current().submit(_whole(asked)).result()
        shown = {name.decode(): value.decode("latin-1") for name, value in headers if name not in _SHOWN}
        return RestResponse(_readable(body), status=status, headers=shown)


def may_want_page(request: HttpRequest) -> bool:
    """Whether a browser asks for a page, with a session, whoever's it is."""
    asked = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
    return asked and settings.SESSION_COOKIE_NAME in request.COOKIES


def wants_page(request: HttpRequest) -> bool:
    """Whether a browser asks for a page, with a session that belongs to staff."""
    if not may_want_page(request):
        return False
    user = getattr(request, "user", None)
    return bool(user and user.is_active and user.is_staff)


def staff_caller(username: str) -> Caller:
    """Staff may use every service, whatever scopes it asks for, and see each step's verdict."""
    services = runtime.current().gateway.live.table.services.values()
    needed = {scope for service in services for route in service.routes for scope in route.policy.scopes}
    needed |= {scope for service in services for scope in service.policy.scopes}
    return Caller(f"staff:{username}", scopes=frozenset({"*", DEBUG, *needed}))


async def _answer(request: Request) -> Response:
    return await runtime.current().gateway.handle(request)


async def _whole(request: Request) -> tuple[int, Headers, bytes]:
    response = await _answer(request)
    if isinstance(response.body, bytes):
        return response.status, response.headers, response.body
    return response.status, response.headers, b"".join([chunk async for chunk in response.body])


def _readable(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace")

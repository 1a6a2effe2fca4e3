"""A request id for every Django response, as the data plane makes it; the check of the Host field; CORS."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.utils.cache import patch_vary_headers

from routing.authentication.authenticator import CREDENTIAL_HEADERS
from routing.http import Headers, Request
from routing.messages.cors import Cors, is_preflight
from routing.messages.identifiers import request_id

_API_PATHS: Final = ("/metrics", "/api/")
_FIELD: Final = "HTTP_X_REQUEST_ID"
_current_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
_began: Final[ContextVar[float]] = ContextVar("request_began", default=0.0)


def current_request_id() -> str:
    """The id of the request being handled; "" outside of one."""
    return _current_id.get()


def current_request_began() -> float:
    """When the request being handled began, in Unix time; 0 outside of one."""
    return _began.get()


class RequestIdMiddleware:
    """Must precede every middleware that responds, and every one or view that writes to the audit log.

    The request has the id as its own `X-Request-ID` from here on.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        sent, now = request.META.get(_FIELD, ""), time.time()
        identifier = request_id(sent.encode("latin-1", "replace"), now)
        request.META[_FIELD] = identifier
        request.__dict__.pop("headers", None)  # cached, if another project's middleware has read them
        token, began = _current_id.set(identifier), _began.set(now)
        try:
            response = self._get_response(request)
            if not response.has_header("X-Request-ID"):
                response["X-Request-ID"] = identifier
            return response
        finally:
            _began.reset(began)
            _current_id.reset(token)


class HostMiddleware(CommonMiddleware):
    """Django's, which rejects a Host that is not in ALLOWED_HOSTS; requests to `/metrics` with an API key may have any.

    Prometheus addresses each replica by its IP address. No response to a key depends on the host, and a browser cannot
    be made to send one.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        if request.path.startswith("/metrics") and any(name.decode() in request.headers for name in CREDENTIAL_HEADERS):
            return None
        return super().process_request(request)


class CorsMiddleware:
    """CORS for the API under `/metrics` and `/api/`, which programs call with a key. Staff pages have none.

    `CORS_ORIGINS` are the origins. Requests with cookies are never allowed.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._cors = Cors.of(None, settings.CONFIG.cors_origins)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(_API_PATHS):
            return self._get_response(request)
        sent = _preflight_request(request)
        if sent is not None:
            response: HttpResponseBase = HttpResponse(status=204)
            _set(response, [] if self._cors is None else self._cors.preflight_fields(sent))
        else:
            response = self._get_response(request)
        if self._cors is not None:
            if self._cors.varies:
                patch_vary_headers(response, ("Origin",))
            _set(response, self._cors.response_fields(request.headers.get("Origin", "").encode("latin-1", "replace")))
        return response


def _preflight_request(request: HttpRequest) -> Request | None:
    """The data plane's form of a preflight request; None for any other request."""
    if request.method != "OPTIONS":
        return None
    fields = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in request.headers.items()]
    sent = Request("OPTIONS", request.path.encode(), b"", fields, "")
    return sent if is_preflight(sent) else None


def _set(response: HttpResponseBase, fields: Headers) -> None:
    for name, value in fields:
        response[name.decode()] = value.decode("latin-1")

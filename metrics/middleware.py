"""A request id for every Django response, as the data plane makes it, and the check of the Host field."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware

from routing.authentication.authenticator import CREDENTIAL_HEADERS
from routing.messages.request_id import request_id

_current_id: Final[ContextVar[str]] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The id of the request being handled; "" outside of one."""
    return _current_id.get()


class RequestIdMiddleware:
    """Must precede every middleware or view that writes to the audit log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        header = request.headers.get("X-Request-ID")
        token = _current_id.set(request_id(header.encode("latin-1", "replace") if header else None, time.time()))
        try:
            response = self._get_response(request)
            if not response.has_header("X-Request-ID"):
                response["X-Request-ID"] = _current_id.get()
            return response
        finally:
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

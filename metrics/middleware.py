"""Every answer of Django's has a request id, by the gateway's own rule, and who writes something down knows it."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from routing.messages.request_id import request_id

_current: Final[ContextVar[str]] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The id of the request that is being answered, empty outside of one."""
    return _current.get()


class RequestIdMiddleware:
    """Goes before all that may change something."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID")
        token = _current.set(request_id(given.encode("latin-1", "replace") if given else None, time.time()))
        try:
            response = self._get_response(request)
            if not response.has_header("X-Request-ID"):
                response["X-Request-ID"] = _current.get()
            return response
        finally:
            _current.reset(token)

"""Error pages for browsers: what went wrong in words, the request's id, and a way back. Other clients get none."""

import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.html import escape

from metrics.middleware import current_request_id
from resilience.outage import StoreUnavailable
from routing.messages.identifiers import request_id

OUTAGES: Final = (OperationalError, InterfaceError, StoreUnavailable)
"""Exceptions that will not be raised again when the database or Redis is back."""
RETRY_SECONDS: Final = 5
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
"""The Content-Security-Policy of the pages."""
_TEXTS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("The request cannot be read", "Its address, its form or its host is not valid."),
    403: ("Not allowed", "You may not open this page."),
    404: ("There is no such page", "The address may be mistyped, or what was here was removed."),
    429: ("Too many requests", "Wait a minute, then try again."),
    500: ("Something went wrong", "The fault is the gateway's, and was logged under the id below."),
    503: ("Not available now", "Try again in a few seconds."),
}
"""Title and text by status."""
_HOMES: Final = {
    "/portal": ("/portal/", "To the portal"),
    "/dashboard": ("/dashboard/", "To the dashboard"),
    "/admin": ("/admin/", "To the admin"),
}
"""The way back from paths that begin so; from others it is the start page."""
_START: Final = ("/", "To the start page")
_ID: Final = "request-id-goes-here"


def wants_page(accept: str) -> bool:
    """Whether a request with this Accept field comes from a browser that shows what it gets."""
    return "text/html" in accept


def render(status: int, path: str, identifier: str, text: str = "") -> str:
    """The page for an error at `path`. `text` takes the place of the usual one. Uses neither database nor session."""
    home = next((way for prefix, way in _HOMES.items() if path.startswith(prefix)), _START)
    return _template(status, home, text).replace(_ID, escape(identifier))


@lru_cache(64)
def _template(status: int, home: tuple[str, str], text: str) -> str:
    title, usual = _TEXTS[status]
    address, label = home
    context = {"status": status, "title": title, "text": text or usual, "address": address, "label": label, "id": _ID}
    return render_to_string("error.html", context)


def error_page(request: HttpRequest, status: int, text: str = "", *, retry_after: int | None = None) -> HttpResponse:
    sent = request.headers.get("X-Request-ID", "").encode("latin-1", "replace")
    identifier = current_request_id() or request_id(sent or None, time.time())
    headers = {"X-Request-ID": identifier, "Cache-Control": "private, no-store", "Content-Security-Policy": POLICY}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return HttpResponse(render(status, request.path_info, identifier, text), status=status, headers=headers)


def failure_page(request: HttpRequest) -> HttpResponse:
    """For the exception that is being handled: 503 while the database or Redis is unavailable, otherwise 500."""
    if isinstance(sys.exc_info()[1], OUTAGES):
        text = "The database or Redis cannot be reached. Requests for services continue; try again in a few seconds."
        return error_page(request, 503, text, retry_after=RETRY_SECONDS)
    return error_page(request, 500)

"""Error pages for browsers: what went wrong in words, the request's id, and a way back. Other clients get none."""

import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import escape
from django.utils.translation import get_language, gettext, gettext_lazy

from metrics.middleware import current_request_began, current_request_id
from metrics.request_log.page_record import PageFailure, page_record
from metrics.runtime_access import run_on_loop, running
from resilience.outage import StoreUnavailable
from routing import errors, runtime
from routing.messages.identifiers import request_id
from routing.rights import Right, may

OUTAGES: Final = (OperationalError, InterfaceError, StoreUnavailable)
"""Exceptions that will not be raised again when the database or Redis is back."""
RETRY_SECONDS: Final = 5
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
"""The Content-Security-Policy of the pages."""
_TEXTS: Final[Mapping[int, tuple[str | Promise, str | Promise]]] = {
    400: (
        gettext_lazy("The request cannot be read"),
        gettext_lazy("Its address, its syntax or its host is not valid."),
    ),
    403: (gettext_lazy("Not allowed"), gettext_lazy("You may not open this page.")),
    404: (
        gettext_lazy("There is no such page"),
        gettext_lazy("The address may be mistyped, or what was here was removed."),
    ),
    429: (gettext_lazy("Too many requests"), gettext_lazy("Wait a minute, then try again.")),
    500: (
        gettext_lazy("Something went wrong"),
        gettext_lazy("The fault is the gateway's, and was logged under the id below."),
    ),
    503: (gettext_lazy("Not available now"), gettext_lazy("Try again in a few seconds.")),
}
"""Title and text by status."""
_HOMES: Final = {
    "/portal": ("/portal/", gettext_lazy("To the portal")),
    "/dashboard": ("/dashboard/", gettext_lazy("To the dashboard")),
    "/admin": ("/admin/", gettext_lazy("To the admin")),
}
"""The way back from paths that begin so; from others it is the start page."""
_START: Final = ("/", gettext_lazy("To the start page"))
_CODES: Final = {
    400: errors.BadRequest.code,
    403: errors.Forbidden.code,
    429: errors.RateLimited.code,
    503: errors.Unavailable.code,
}
_ID: Final = "request-id-goes-here"


def wants_page(accept: str) -> bool:
    """Whether a request with this Accept field comes from a browser that shows what it gets."""
    return "text/html" in accept


def render(status: int, path: str, identifier: str, text: str = "", *, is_recorded: bool = False) -> str:
    """The page for an error at `path`. `text` takes the place of the usual one. Uses neither database nor session.

    `is_recorded`: whether it leads to the request's page, which only staff may open.
    """
    home = next((way for prefix, way in _HOMES.items() if path.startswith(prefix)), _START)
    return _template(status, home[0], text, is_recorded, get_language() or "").replace(_ID, escape(identifier))


@lru_cache(64)
def _template(status: int, address: str, text: str, is_recorded: bool, language: str) -> str:  # noqa: ARG001 - a key
    title, usual = _TEXTS[status]
    label = next((label for way, label in (*_HOMES.values(), _START) if way == address), "")
    context = {"status": status, "title": title, "text": text or usual, "address": address, "label": label, "id": _ID}
    context["record"] = reverse("dashboard:request", args=[_ID]) if is_recorded else ""
    return render_to_string("error.html", context)


def error_page(request: HttpRequest, status: int, text: str = "", *, retry_after: int | None = None) -> HttpResponse:
    sent = request.headers.get("X-Request-ID", "").encode("latin-1", "replace")
    identifier = current_request_id() or request_id(sent or None, time.time())
    headers = {"X-Request-ID": identifier, "Cache-Control": "private, no-store", "Content-Security-Policy": POLICY}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    is_recorded = _record(request, status, identifier)
    page = render(status, request.path_info, identifier, text, is_recorded=is_recorded)
    return HttpResponse(page, status=status, headers=headers)


def _record(request: HttpRequest, status: int, identifier: str) -> bool:
    """Record staff's errors, and everybody's failures, in the request log. Returns whether the page may link to the
    record.
    """
    caller = _staff(request)
    if not (caller or status >= HTTPStatus.INTERNAL_SERVER_ERROR) or not runtime.current().started:
        return False
    now = time.time()
    began = current_request_began() or now
    raised = sys.exc_info()[1]
    is_unexpected = status == HTTPStatus.INTERNAL_SERVER_ERROR and raised is not None
    code = type(raised).__name__ if is_unexpected else _CODES.get(status, "")
    record = page_record(request, identifier, PageFailure(status, code, began, now - began, caller))
    return run_on_loop(running().request_log.note(record)) and bool(caller)


def _staff(request: HttpRequest) -> str:
    """The name of the member of staff, if they may view the gateway; "" for others, and while that is unknown.

    Without a session, it takes no query.
    """
    user = getattr(request, "user", None)
    if user is None or settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return ""
    try:
        return f"staff:{user.get_username()}" if may(user, Right.VIEW) else ""
    except OUTAGES:
        return ""


def failure_page(request: HttpRequest) -> HttpResponse:
    """For the exception that is being handled: 503 while the database or Redis is unavailable, otherwise 500."""
    if isinstance(sys.exc_info()[1], OUTAGES):
        text = gettext(
            "The database or Redis cannot be reached. Requests for services continue; try again in a few seconds."
        )
        return error_page(request, 503, text, retry_after=RETRY_SECONDS)
    return error_page(request, 500)

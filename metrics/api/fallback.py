"""Errors where no view responds: unknown paths, foreign hosts, missing rights and unexpected errors.

Problem documents for the API, pages for browsers.
"""

import re
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import REASON_NO_CSRF_COOKIE
from django.shortcuts import redirect
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views import csrf
from rest_framework.request import Request

from metrics.api.access import problem_response
from metrics.api.base import MetricsView
from metrics.error_pages import error_page, failure_page, wants_page
from routing.errors import BadRequest, GatewayError, InternalError, UnknownService
from routing.router.hosts import explain_refusal

MAX_TEXT: Final = 300
"""The most characters of the reason why something is not allowed."""
_API: Final = re.compile(r"/(?:metrics|api)(?:/|$)")
_LOGIN_PAGES: Final = frozenset({"account_login", "admin_login", "mfa_authenticate", "portal:login"})


class UnknownPathView(MetricsView):
    """Every path of the API without an endpoint. The response is the same for all, so no credential is checked."""

    schema = None

    def check_throttles(self, request: Request) -> None:
        """Not throttled: nothing is written."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002 - REST framework's signature
        raise UnknownService("there is nothing at this path")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400, such as for a host that is not in ALLOWED_HOSTS: that says what to do."""
    detail = explain_refusal(request.META.get("HTTP_HOST", "")) if isinstance(exception, DisallowedHost) else ""
    if isinstance(exception, RequestDataTooBig):
        detail = _("The form is too large. Nothing was saved: go back, and make it smaller.")
    if _API.match(request.path):
        return _problem(BadRequest(detail or "the request is not acceptable here"))
    if _is_browser(request):
        return error_page(request, 400, detail)
    return _text(HTTPStatus.BAD_REQUEST, detail)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403. The page for every client: it says which right is missing."""
    return error_page(request, 403, str(exception)[:MAX_TEXT])


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW: a form that another site has sent, or that is older than the session.

    Or the scheme or the host of the page is not known, since the proxy ahead of the gateway is not trusted.
    """
    if not _is_browser(request):
        return csrf.csrf_failure(request, reason)
    sent, received = request.headers.get("Origin", "null"), request.build_absolute_uri("/")[:-1]
    if sent in ("null", received):
        return _stale_form(request, reason)
    text = _(
        "The form was sent from %(sent)s, but the gateway was called as %(received)s. A proxy ahead of the gateway "
        "must pass on the host and the scheme, and be listed in TRUSTED_PROXIES."
    )
    return error_page(request, 403, text % {"sent": sent[:MAX_TEXT], "received": received})


def _stale_form(request: HttpRequest, reason: str) -> HttpResponse:
    """A sign-in replaces the token of forms in other tabs. Login pages there lead on to what was wanted."""
    user: Any = request.user
    match = request.resolver_match
    if user.is_authenticated and match is not None and match.view_name in _LOGIN_PAGES:
        wanted = request.POST.get("next") or request.GET.get("next", "")
        return redirect(f"{request.path}?{urlencode({'next': wanted})}" if wanted else request.path)
    if reason == REASON_NO_CSRF_COOKIE:
        text = _(
            "The browser has sent no cookie. Allow cookies of this site, reload the page, and send the form again."
        )
    else:
        text = _("The form is no longer valid. Go back, reload the page, and send it again.")
    return error_page(request, 403, text)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Django's handler404."""
    return error_page(request, 404) if _is_browser(request) else _text(HTTPStatus.NOT_FOUND)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500."""
    if _API.match(request.path):
        return _problem(InternalError("the request could not be handled"))
    return failure_page(request) if _is_browser(request) else _text(HTTPStatus.INTERNAL_SERVER_ERROR)


def _text(status: HTTPStatus, detail: str = "") -> HttpResponse:
    """Not Django's own page, which reads the form for its CSRF token: it fails again if the form was what failed."""
    text = f"{status.phrase}: {detail}\n" if detail else f"{status.phrase}\n"
    return HttpResponse(text, status=status, content_type="text/plain")


def _is_browser(request: HttpRequest) -> bool:
    return wants_page(request.headers.get("Accept", ""))


def _problem(error: GatewayError) -> HttpResponse:
    response = problem_response(error)
    assert response is not None  # noqa: S101 - it is one of the gateway's own errors
    return response

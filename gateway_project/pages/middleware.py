"""Middleware for staff's pages: the origin they are served from, and their Content-Security-Policy."""

from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponseNotFound
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.utils import translation

from metrics.portal.access import is_served
from routing.views import is_staff_origin

STAFF_PATHS: Final = ("/admin", "/dashboard", "/api/docs")
"""The pages that use a session of staff. `/` leads to them."""
SIGN_IN_PATH: Final = "/accounts"
"""For staff, and for people of the portal."""
TRANSLATED_PATHS: Final = ("/admin", "/dashboard", "/accounts", "/portal", "/connect")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'{eval}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""No inline scripts, and nothing from elsewhere."""
POLICY: Final = _POLICY.format(eval="")
ADMIN_POLICY: Final = _POLICY.format(eval=" 'unsafe-eval'")
"""The admin's theme evaluates expressions of its own templates (Alpine)."""


class LanguageMiddleware(LocaleMiddleware):
    """Selects the language of pages: the chosen one, or what the browser prefers.

    Everything else is in English: the API, problem documents and log messages are for programs and for searches.
    """

    def process_request(self, request: HttpRequest) -> None:
        if _is_translated(request):
            super().process_request(request)
        else:
            translation.activate(settings.LANGUAGE_CODE)

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return super().process_response(request, response) if _is_translated(request) else response


def _is_translated(request: HttpRequest) -> bool:
    return request.path.startswith(TRANSLATED_PATHS)


class StaffOriginMiddleware:
    """404 for staff's pages on any other origin than STAFF_HOST and STAFF_PORT."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not self._is_here(request):
            return HttpResponseNotFound("Not Found\n", content_type="text/plain")
        return self._get_response(request)

    @staticmethod
    def _is_here(request: HttpRequest) -> bool:
        if request.path.startswith(SIGN_IN_PATH):
            return is_staff_origin(request) or is_served(request)
        is_page = request.path == "/" or request.path.startswith(STAFF_PATHS)
        return not is_page or is_staff_origin(request)


class ContentSecurityPolicyMiddleware:
    """A policy on every response of Django, the login too; not on those of services, which have fields of their own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        policy = ADMIN_POLICY if request.path.startswith("/admin/") else POLICY
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

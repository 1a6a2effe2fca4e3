"""Throttling of Django's pages that anybody can request: the login, the OpenAPI schema, and failed authentication.

By address (a /64 of IPv6) and, for logins, by account. Counts are in Django's cache, and so shared by all workers where
it is. If the cache is unavailable, nothing is throttled.
"""

import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from django.conf import settings
from django.http import HttpRequest, UnreadablePostError
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from metrics.error_pages import error_page, wants_page
from metrics.request_rates import RateKey, exceeds
from metrics.runtime_access import running
from routing.authentication.authenticator import CREDENTIAL_HEADERS, read_credential
from routing.django_http import to_django_response
from routing.errors import BadRequest, GatewayError, RateLimited
from routing.messages.identifiers import request_id
from routing.problems import identified_problem

LOGIN_RATE: Final = "20/m"
"""Failed logins from one address, and to one account."""
SIGN_IN_STEPS: Final = (
    "sign_in_provider",
    "sign_in_callback",
    "sign_in_first_factor",
    "mfa_authenticate",
    "mfa_reauthenticate",
    "account_reauthenticate",
)
"""The pages of a login beside its form."""
FAILED_LOGOUT_RATE: Final = "120/m"
"""Requests with a bad logout token, from one address."""
FAILED_KEY_RATE: Final = "60/m"
"""Requests to the API with a bad credential or none, from one address. Requests with a valid key are not counted."""
SCHEMA_RATE: Final = "60/m"
"""Requests for the OpenAPI schema and its page, from one address."""
WINDOW_SECONDS: Final = 60.0
UNKNOWN_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - counted by, not listened on

_API_PATHS: Final = ("/metrics", "/api/explain", "/api/keys", "/api/config")
_SCHEMA_PATHS: Final = ("/api/schema", "/api/docs")


class ThrottleMiddleware:
    """Must come after TrustedProxyMiddleware, and before anything that is expensive."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._logins = {reverse("admin:login"), reverse("account_login"), reverse("portal:login")}
        sign_in = settings.CONFIG.sign_in
        self._steps = set() if sign_in is None else {reverse(name) for name in SIGN_IN_STEPS}
        has_provider = sign_in is not None and sign_in.provider is not None
        self._back_channel = reverse("sign_in_back_channel_logout") if has_provider else None

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.META.get("REMOTE_ADDR"):  # the client is gone already
            request.META["REMOTE_ADDR"] = UNKNOWN_ADDRESS
        if request.path.startswith(_SCHEMA_PATHS):
            if exceeds(request, "pages.schema", "ip", SCHEMA_RATE, count=True):
                return _too_many(request)
        elif request.path.startswith(_API_PATHS):
            if exceeds(request, "pages.failed.keys", "ip", FAILED_KEY_RATE) and not _has_valid_key(request):
                return _too_many(request)
            response = self._get_response(request)
            if response.status_code == 401:
                exceeds(request, "pages.failed.keys", "ip", FAILED_KEY_RATE, count=True)
            return response
        elif request.path == self._back_channel:
            return self._try_logout(request)
        keys = self._keys(request)
        return self._try(request, keys) if keys else self._get_response(request)

    def _keys(self, request: HttpRequest) -> tuple[RateKey, ...]:
        """What a step of a login is counted by; nothing for any other request."""
        if request.path in self._logins and request.method == "POST":
            # Without the cookie, the CSRF check refuses the request, for which no body is needed.
            return ("ip", _account) if settings.CSRF_COOKIE_NAME in request.COOKIES else ("ip",)
        is_step = request.path in self._steps and (request.method == "POST" or bool(request.GET))
        return ("ip",) if is_step else ()

    def _try(self, request: HttpRequest, keys: tuple[RateKey, ...]) -> HttpResponseBase:
        """The response to a step of a login. One that does not lead on is counted as failed."""
        try:
            if any(exceeds(request, "pages.failed.logins", key, LOGIN_RATE) for key in keys):
                return _too_many(request)
        except UnreadablePostError:
            return _problem(request, BadRequest("the request body is incomplete"))
        response = self._get_response(request)
        if response.status_code not in (302, 303):
            for key in keys:
                exceeds(request, "pages.failed.logins", key, LOGIN_RATE, count=True)
        return response

    def _try_logout(self, request: HttpRequest) -> HttpResponseBase:
        """The response to a logout token. All that are good come from the provider, however many."""
        group = "pages.failed.logouts"
        if exceeds(request, group, "ip", FAILED_LOGOUT_RATE):
            return _too_many(request)
        response = self._get_response(request)
        if response.status_code != 200:
            exceeds(request, group, "ip", FAILED_LOGOUT_RATE, count=True)
        return response


def _account(_group: str, request: HttpRequest) -> str:
    name = request.POST.get("username", "").strip().lower()
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _has_valid_key(request: HttpRequest) -> bool:
    headers = request.headers
    fields = [
        (name, headers[name.decode()].encode("latin-1", "replace"))
        for name in CREDENTIAL_HEADERS
        if name.decode() in headers
    ]
    try:
        credential = read_credential(fields)
    except GatewayError:
        return False
    if credential is None or not credential.is_key:
        return False
    return running().gateway.live.keys.find(credential.text, time.time()) is not None


def _too_many(request: HttpRequest) -> HttpResponseBase:
    if wants_page(request.headers.get("Accept", "")):
        text = _("There were too many attempts from this address or for this account. Wait a minute, then try again.")
        return error_page(request, 429, text, retry_after=int(WINDOW_SECONDS))
    detail = "too many requests from this address or for this account"
    return _problem(request, RateLimited(detail, retry_after=WINDOW_SECONDS))


def _problem(request: HttpRequest, error: GatewayError) -> HttpResponseBase:
    sent = request.headers.get("X-Request-ID", "").encode("latin-1", "replace")
    return to_django_response(request, identified_problem(error, request_id(sent, time.time())))

"""Middleware: trusted proxies, requests for services, limits of bodies, and the author of a change."""

import time
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.http import HttpRequest, RawPostDataException, UnreadablePostError
from django.http.response import HttpResponseBase

from routing import runtime
from routing.database.actor import acting_as
from routing.deliveries.endpoint import PREFIX as HOOKS
from routing.django_http import fields, set_origin, to_django_response
from routing.errors import BadRequest, BodyTooLarge, GatewayError
from routing.messages.identifiers import request_id
from routing.messages.proxies import TrustedProxies, normal_address
from routing.problems import identified_problem
from routing.realtime.http import PATH as EVENTS
from routing.views import EventsView, HealthView, ServiceProxyView, WebhookView, may_want_page

_HOOKS: Final = HOOKS.decode()
HEALTH: Final = tuple(f"/health{page}{end}" for page in ("", "/ready", "/deep") for end in ("", "/"))


class TrustedProxyMiddleware:
    """Django's requests with the client, scheme and host that trusted proxies give them. Must come before all that
    look at these.

    Login, CSRF protection, secure cookies and redirects depend on the scheme and host.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._proxies = TrustedProxies(settings.CONFIG.trusted_proxies)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        peer = request.META["REMOTE_ADDR"] = normal_address(request.META.get("REMOTE_ADDR", ""))
        if self._proxies.trusts(peer):
            set_origin(request, self._proxies.origin(peer, request.scheme or "http", fields(request)))
        return self._get_response(request)


class ServiceHostMiddleware:
    """Passes requests for services to the gateway. Must come before all middleware that alters responses."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._proxy = ServiceProxyView.as_view()
        self._webhooks = WebhookView.as_view()
        self._own = {EVENTS: EventsView.as_view(), **dict.fromkeys(HEALTH, HealthView.as_view())}

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if runtime.current().started and self._is_for_gateway(request):
            return self._proxy(request)
        if request.path.startswith(_HOOKS):  # before Django's own check of the host
            return self._webhooks(request)
        own = self._own.get(request.path)
        return self._get_response(request) if own is None else own(request)

    def _is_for_gateway(self, request: HttpRequest) -> bool:
        """Requests that may want an HTML page go to the view, which has the session. A service's host has no pages."""
        gateway, host = runtime.current().gateway, request.headers.get("Host", "")
        if not gateway.live.table.is_loaded or gateway.owns(host):
            return True
        is_page = may_want_page(request) and gateway.allowed_hosts.allows(host)
        return gateway.serves(request.path, host) and not is_page


class BodyLimitMiddleware:
    """Limits request bodies for Django's own pages to MAX_BODY_BYTES, also under WSGI, where none has been read yet."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._limit = settings.CONFIG.max_body_bytes

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        length = request.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) <= self._limit:
            return self._get_response(request)
        return _problem(request, BodyTooLarge(f"the request body is larger than {self._limit} bytes"))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """A body that did not arrive is no fault of the view. The second exception is for reading it once more."""
        if isinstance(exception, UnreadablePostError | RawPostDataException):
            return _problem(request, BadRequest("the request body is incomplete"))
        return None


class ActorMiddleware:
    """Attributes changes to the logged-in user. Must come after AuthenticationMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method in ("GET", "HEAD") or not request.user.is_authenticated:
            return self._get_response(request)
        kind = "staff" if request.user.is_staff else "member"
        with acting_as(f"{kind}:{request.user.get_username()}"):
            return self._get_response(request)


def _problem(request: HttpRequest, error: GatewayError) -> HttpResponseBase:
    sent = request.headers.get("X-Request-ID", "").encode("latin-1", "replace")
    return to_django_response(request, identified_problem(error, request_id(sent, time.time())))

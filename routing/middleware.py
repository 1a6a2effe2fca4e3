"""What goes around Django's views: a service's own host is the gateway's, and who changes something has a name."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from routing import runtime
from routing.database.actor import acting_as
from routing.views import ServiceProxyView, may_want_page


class ServiceHostMiddleware:
    """Goes first, since no other middleware has a say in a service's answers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._proxy = ServiceProxyView.as_view()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if runtime.current().started and self._answers(request):
            return self._proxy(request)
        return self._get_response(request)

    def _answers(self, request: HttpRequest) -> bool:
        """Who wants a page is known once the session has been read; and no page is shown on a service's own host."""
        gateway, host = runtime.current().gateway, request.headers.get("Host", "")
        return gateway.owns(host) or (gateway.serves(request.path, host) and not may_want_page(request))


class ActorMiddleware:
    """Whatever a logged-in person changes is written down as theirs. Goes after authentication."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method in ("GET", "HEAD") or not request.user.is_authenticated:
            return self._get_response(request)
        with acting_as(f"staff:{request.user.get_username()}"):
            return self._get_response(request)

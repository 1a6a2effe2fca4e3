"""Problem documents where no endpoint of the API responds: unknown paths, foreign hosts and unexpected errors."""

import re
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.views import defaults
from rest_framework.request import Request

from metrics.api.access import problem_response
from metrics.api.base import MetricsView
from routing.errors import BadRequest, GatewayError, InternalError, UnknownService

_API: Final = re.compile(r"/(?:metrics|api)(?:/|$)")


class UnknownPathView(MetricsView):
    """Every path of the API without an endpoint. The response is the same for all, so no credential is checked."""

    schema = None

    def check_throttles(self, request: Request) -> None:
        """Nothing is written."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002 - REST framework's signature
        raise UnknownService("there is nothing at this path")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400, such as for a host that is not in ALLOWED_HOSTS."""
    response = _problem(request, BadRequest("the request is not acceptable here"))
    return response or defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500."""
    return _problem(request, InternalError("the request could not be handled")) or defaults.server_error(request)


def _problem(request: HttpRequest, error: GatewayError) -> HttpResponse | None:
    return problem_response(error) if _API.match(request.path) else None

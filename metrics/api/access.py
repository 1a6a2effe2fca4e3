"""Who may use the API, how often, and how it says no: in the gateway's own words."""

import time
from typing import Any, Final

from django.http import HttpResponse
from django_ratelimit.core import is_ratelimited
from django_redis.exceptions import ConnectionInterrupted
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from metrics.middleware import current_request_id
from metrics.runtime_access import running
from metrics.selectors import ServiceNotConfigured
from resilience.outage import StoreUnavailable
from routing.authentication.authenticator import CREDENTIAL_HEADERS, read_credential
from routing.caller import Caller
from routing.errors import (
    BadRequest,
    Forbidden,
    GatewayError,
    MethodNotAllowed,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UnknownService,
    problem,
)

READ: Final = "metrics:read"
WRITE: Final = "metrics:write"
WRITE_RATE: Final = "60/m"
"""Writes each member of staff, or key, may make."""
WRITE_SECONDS: Final = 60.0


class KeyUser:
    """A program, in the place where REST framework wants a user."""

    is_authenticated = True
    is_active = True
    is_staff = False
    pk = None

    def __init__(self, caller: Caller) -> None:
        self.caller = caller


class KeyAuthentication(BaseAuthentication):
    """The gateway's own API keys, as `X-API-Key` or as the bearer."""

    def authenticate(self, request: Request) -> tuple[KeyUser, Caller] | None:
        fields = [
            (name, request.headers[name.decode()].encode("latin-1", "replace"))
            for name in CREDENTIAL_HEADERS
            if name.decode() in request.headers
        ]
        given = read_credential(fields)
        if given is None:
            return None
        caller = running().gateway.live.keys.find(given.text, time.time()) if given.is_key else None
        if caller is None:
            raise Unauthenticated("the API key is not valid")
        return KeyUser(caller), caller

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - REST framework's signature
        return 'Bearer realm="gateway"'


class MayReadOrWrite(BasePermission):
    """Staff may do both; a key what its scopes say."""

    message = "this asks for a member of staff, or a key with scope metrics:read to read and metrics:write to write"

    def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002 - REST framework's signature
        if isinstance(request.auth, Caller):
            return request.auth.has_scope(READ if request.method in SAFE_METHODS else WRITE)
        return bool(request.user and request.user.is_active and request.user.is_staff)


class AlwaysJson(BaseContentNegotiation):
    """Whatever is asked for, JSON is what there is."""

    def select_parser(self, request: Any, parsers: Any) -> Any:  # noqa: ARG002 - REST framework's signature
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:  # noqa: ARG002
        return renderers[0], renderers[0].media_type


def actor(request: Request) -> str:
    """Who asks, as records name them."""
    return request.auth.id if isinstance(request.auth, Caller) else f"staff:{request.user.get_username()}"


def check_writes(request: Request) -> None:
    """Count a write. Raises RateLimited. A count that cannot be kept stops nobody: least of all in an outage."""
    if request.method in SAFE_METHODS:
        return
    try:
        over = is_ratelimited(
            request._request,
            group="metrics.writes",
            key=lambda _group, _request: actor(request),
            rate=WRITE_RATE,
            increment=True,
        )
    except ConnectionInterrupted:
        return
    if over:
        raise RateLimited(f"over {WRITE_RATE} changes", retry_after=WRITE_SECONDS)


def refusal(error: Exception) -> HttpResponse | None:
    """An error as a problem document; None for one that is a fault of ours."""
    ours = error if isinstance(error, GatewayError) else _translated(error)
    if ours is None:
        return None
    answer = problem(ours, current_request_id())
    assert isinstance(answer.body, bytes)  # noqa: S101 - a problem is whole
    return HttpResponse(
        answer.body,
        status=answer.status,
        headers={name.decode(): value.decode("latin-1") for name, value in answer.headers},
    )


def _translated(error: Exception) -> GatewayError | None:
    """What REST framework, the selectors and the stores raise, in the gateway's tree."""
    match error:
        case exceptions.APIException():
            return _refused(error)
        case ServiceNotConfigured():
            return UnknownService(f"there is no service {error.args[0]!r}")
        case StoreUnavailable():
            return Unavailable("the shared store is away", retry_after=1)
        case ValueError():
            return BadRequest(str(error))
    return None


def _refused(error: exceptions.APIException) -> GatewayError:
    detail = _said(error.detail)
    match error:
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return Unauthenticated(detail)
        case exceptions.PermissionDenied():
            return Forbidden(detail)
        case exceptions.MethodNotAllowed():
            return MethodNotAllowed(detail, service="", allow=())
    return BadRequest(detail)


def _said(detail: Any) -> str:
    if isinstance(detail, dict):
        return "; ".join(f"{field}: {_said(of)}" for field, of in detail.items())
    if isinstance(detail, list):
        return ", ".join(_said(one) for one in detail)
    return str(detail)

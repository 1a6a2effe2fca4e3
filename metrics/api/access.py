"""Authentication, permissions and write limit of the metrics API, and its errors as problem documents."""

import logging
import time
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, InternalError, OperationalError
from django.http import HttpResponse, UnreadablePostError
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from metrics.audit import staff_actor
from metrics.middleware import current_request_id
from metrics.request_rates import exceeds
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
    UnsupportedMediaType,
)
from routing.messages.media_type import may_be_json
from routing.problems import problem
from routing.rights import Names, Right, is_any, may, require, services
from routing.router.access import require_configuration

log = logging.getLogger(__name__)
READ_SCOPE: Final = "metrics:read"
WRITE_SCOPE: Final = "metrics:write"
API_PART: Final = "metrics"
"""What a key is used for here, where its last use is shown."""
WRITE_RATE: Final = "600/m"
"""Limit of writes for each member of staff and each API key: programs invalidate tags as their data changes."""
WRITE_WINDOW_SECONDS: Final = 60.0
DATABASE_RETRY_SECONDS: Final = 5
NON_FIELD_ERRORS: Final = api_settings.NON_FIELD_ERRORS_KEY


class KeyUser:
    """The user that REST framework expects, for a request with an API key."""

    is_authenticated = True
    is_active = True
    is_staff = False
    pk = None

    def __init__(self, caller: Caller) -> None:
        self.caller = caller


class KeyAuthentication(BaseAuthentication):
    """Authenticates the gateway's API keys, in `X-API-Key` or as a Bearer token."""

    def authenticate(self, request: Request) -> tuple[KeyUser, Caller] | None:
        fields = [
            (name, request.headers[name.decode()].encode("latin-1", "replace"))
            for name in CREDENTIAL_HEADERS
            if name.decode() in request.headers
        ]
        credential = read_credential(fields)
        if credential is None:
            return None
        gateway = running().gateway
        require_configuration(gateway.live.table)
        keys, client = gateway.live.keys, request.META.get("REMOTE_ADDR", "")
        caller = keys.find(credential.text, time.time()) if credential.is_key else None
        if caller is None:
            raise Unauthenticated(keys.fault(credential.text) if credential.is_key else "the API key is not valid")
        rules, retired = keys.rules(credential.text), keys.retired_digest(credential.text)
        if rules is not None:
            rules.check(client, request.method or "")
        running().key_usage.used(caller.id, client, API_PART)
        if retired is not None:
            running().key_usage.used_retired(retired, client, API_PART)
        return KeyUser(caller), caller

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - REST framework's signature
        return 'Bearer realm="gateway"'


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call] # the library has no types
    """Describes KeyAuthentication in the OpenAPI schema. drf-spectacular registers it when the class is defined."""

    target_class = KeyAuthentication
    name = ["apiKey", "bearer"]  # noqa: RUF012 - drf-spectacular declares it as an instance attribute

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:  # noqa: ARG002 - the library's signature
        return [
            {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            {
                "type": "http",
                "scheme": "bearer",
                "description": "an API key; for services, also an ID or access token",
            },
        ]


class ReadOrWritePermission(BasePermission):
    """Staff as their rights allow, and API keys as their scopes allow."""

    message = (
        "requires a staff account that may view the gateway to read, or operate it to write, "
        "or an API key with scope metrics:read to read, or metrics:write to write"
    )

    def has_permission(self, request: Request, view: APIView) -> bool:
        if isinstance(request.auth, Caller):
            return request.auth.has_scope(READ_SCOPE if request.method in SAFE_METHODS else WRITE_SCOPE)
        return permits(request, view, Right.VIEW if request.method in SAFE_METHODS else Right.OPERATE)


def permits(request: Request, view: APIView, right: Right) -> bool:
    """Whether the member of staff has the right for the whole gateway or, with a method that the view has made
    `limited`, for the service in the address, or for any: the view then asks `visible` or `require_service`.
    """
    if may(request.user, right):
        return True
    if request.method not in getattr(view, "limited", ()):
        return False
    service = view.kwargs.get("service")
    return is_any(services(request.user, right)) if service is None else may(request.user, right, service)


def visible(request: Request, right: Right = Right.VIEW) -> Names:
    """The services that a response may name, or that a request may change. Keys' scopes are for the whole gateway."""
    return None if isinstance(request.auth, Caller) else services(request.user, right)


def require_service(request: Request, service: str | None, right: Right = Right.VIEW) -> None:
    """Raise Forbidden, before the response reveals whether the service exists. None and "" mean the whole gateway."""
    if not isinstance(request.auth, Caller):
        try:
            require(request.user, right, service or None)
        except PermissionDenied as error:
            raise Forbidden(str(error)) from None


class JsonNegotiation(BaseContentNegotiation):
    """JSON, whatever the client accepts. A body of another type is rejected with 415."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0] if may_be_json(request.headers.get("Content-Type", "")) else None

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:  # noqa: ARG002 - the library's signature
        return renderers[0], renderers[0].media_type


def request_actor(request: Request) -> str:
    """The caller's name in the audit log."""
    return request.auth.id if isinstance(request.auth, Caller) else staff_actor(request.user)


def check_write_limit(request: Request) -> None:
    """Count a write. Raises RateLimited. If the count's store is unavailable, writes are not limited."""
    if request.method in SAFE_METHODS:
        return
    if exceeds(request._request, "metrics.writes", lambda *_: request_actor(request), WRITE_RATE, count=True):
        raise RateLimited(f"more than {WRITE_RATE} writes", retry_after=WRITE_WINDOW_SECONDS)


def problem_response(error: Exception) -> HttpResponse | None:
    """The error as a problem document; None for an unexpected error."""
    gateway_error: GatewayError | None
    match error:
        case GatewayError():
            gateway_error = error
        case UnreadablePostError():
            gateway_error = BadRequest("the request body is incomplete")
        case _:
            gateway_error = _translate(error)
    if gateway_error is None:
        return None
    response = problem(gateway_error, current_request_id())
    assert isinstance(response.body, bytes)  # noqa: S101 - a problem document is not streamed
    return HttpResponse(
        response.body,
        status=response.status,
        headers={name.decode(): value.decode("latin-1") for name, value in response.headers},
    )


def _translate(error: Exception) -> GatewayError | None:
    """Map errors of REST framework, the selectors and the stores to the gateway's."""
    match error:
        case exceptions.APIException():
            return _translate_api_exception(error)
        case ServiceNotConfigured():
            return UnknownService(f"there is no service {error.args[0]!r}")
        case StoreUnavailable() | OperationalError() | InterfaceError() | InternalError():
            return _translate_outage(error)
        case RecursionError():
            return BadRequest("the JSON is nested too deeply")
        case ValueError():
            return BadRequest(str(error))
    return None


def _translate_outage(error: Exception) -> GatewayError:
    """An InternalError is that of a standby, which is read-only."""
    if isinstance(error, StoreUnavailable):
        return Unavailable("the shared store is unavailable", retry_after=1)
    log.warning("the database is unavailable: %s", str(error).strip())
    return Unavailable("the database is unavailable", retry_after=DATABASE_RETRY_SECONDS)


def _translate_api_exception(error: exceptions.APIException) -> GatewayError:
    detail = _flatten(error.detail)
    match error:
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return Unauthenticated(detail)
        case exceptions.PermissionDenied():
            return Forbidden(detail)
        case exceptions.MethodNotAllowed():
            return MethodNotAllowed(detail, allow=())
        case exceptions.UnsupportedMediaType():
            return UnsupportedMediaType("the body must be application/json")
    return BadRequest(detail)


def _flatten(detail: Any) -> str:
    if isinstance(detail, dict):
        named = ("" if field == NON_FIELD_ERRORS else f"{field}: " for field in detail)
        return "; ".join(name + _flatten(value) for name, value in zip(named, detail.values(), strict=True))
    if isinstance(detail, list):
        return ", ".join(_flatten(item) for item in detail)
    return str(detail)

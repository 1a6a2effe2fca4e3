"""The gateway's errors in the OpenAPI schema: a response with the problem document of each for an example."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final

from metrics.alerts.operations import UnknownAlert
from metrics.quotas import UnknownConsumer
from metrics.requests import UnknownRequest
from routing import configuration_errors, errors
from routing.deliveries.endpoint import UnknownWebhook
from routing.errors import GatewayError

SERVICE_NAME: Final = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,62}$"}
PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "properties": {
        "type": {"type": "string", "pattern": "^urn:gateway:problem:[a-z_]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "code": {"type": "string", "pattern": "^[a-z_]+$"},
        "request_id": {"type": "string"},
        "service": {"type": "string"},
        "retry_after": {"type": "integer", "minimum": 1, "description": "seconds"},
        "errors": {
            "type": "array",
            "description": "of `invalid_request`: all faults of the content",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer (RFC 6901)"},
                    "detail": {"type": "string"},
                    "line": {"type": "integer", "minimum": 1, "description": "of content in YAML"},
                },
                "required": ["pointer", "detail"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
}
ALWAYS: Final = (
    errors.BadRequest,
    errors.RequestTimeout,
    errors.BodyTooLarge,
    errors.TargetTooLong,
    errors.RateLimited,
    errors.HeadersTooLarge,
    errors.InternalError,
    errors.Unimplemented,
    errors.ConfigurationUnavailable,
    errors.Unavailable,
)
"""What any request may receive."""
METRICS: Final = (
    *ALWAYS,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.UnknownService,
    UnknownConsumer,
    UnknownRequest,
    UnknownAlert,
    errors.MethodNotAllowed,
    errors.UnsupportedMediaType,
)
CONFIGURATION: Final = (
    *METRICS,
    configuration_errors.InvalidDocument,
    configuration_errors.NotAcceptable,
    configuration_errors.WouldDelete,
    configuration_errors.InUse,
    configuration_errors.PreconditionFailed,
    configuration_errors.PreconditionRequired,
    configuration_errors.UnknownDocument,
)
EVENTS: Final = (
    *ALWAYS,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.MethodNotAllowed,
    errors.MisdirectedRequest,
    errors.UnsupportedMediaType,
    errors.AuthenticationUnavailable,
)
INDEX: Final = (
    *ALWAYS,
    errors.Unauthenticated,
    errors.MethodNotAllowed,
    errors.MisdirectedRequest,
    errors.AuthenticationUnavailable,
)
SERVICES: Final = (
    *INDEX,
    errors.Forbidden,
    errors.UnknownService,
    errors.QuotaExceeded,
    errors.IdempotencyConflict,
    errors.IdempotencyMismatch,
    errors.BadGateway,
    errors.CircuitOpen,
    errors.ServiceDisabled,
    errors.ServiceMisconfigured,
    errors.Overloaded,
    errors.IdempotencyUnavailable,
    errors.UpstreamTimeout,
    errors.NotCached,
)
WEBHOOKS: Final = (
    *ALWAYS,
    errors.Unauthenticated,
    UnknownWebhook,
    errors.MethodNotAllowed,
    errors.MisdirectedRequest,
    errors.ServiceDisabled,
    errors.ServiceMisconfigured,
    errors.AuthenticationUnavailable,
)
HEALTH: Final = (
    errors.BadRequest,
    errors.RequestTimeout,
    errors.MethodNotAllowed,
    errors.TargetTooLong,
    errors.HeadersTooLarge,
    errors.InternalError,
    errors.Unimplemented,
)
_REQUEST_ID: Final = "01961ff2-5c6e-7d3a-9c1b-0a4f6c2e8d17"
_STRING: Final = {"type": "string"}
_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": _STRING}},
    405: {"Allow": {"required": True, "schema": _STRING}},
    429: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}, "description": "seconds"}},
    503: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "seconds"}},
}


def problem_responses(classes: Iterable[type[GatewayError]]) -> dict[str, Any]:
    """OpenAPI's responses by status, in order."""
    by_status = groupby(sorted(classes, key=_status), key=_status)
    return {str(status): _response(status, list(same)) for status, same in by_status}


def _status(error: type[GatewayError]) -> int:
    return int(error.status)


def _response(status: int, classes: list[type[GatewayError]]) -> dict[str, Any]:
    """`X-Request-ID` is not required: a response without it is one to a request that cannot be parsed."""
    examples = {error.code: {"value": _example(error)} for error in classes}
    return {
        "description": "; ".join(f"`{error.code}`: {error.title}" for error in classes),
        "headers": {
            "X-Request-ID": {"description": "id of the request", "schema": _STRING},
            **_HEADERS.get(status, {}),
        },
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}
        },
    }


def _example(error: type[GatewayError]) -> dict[str, Any]:
    return {
        "type": f"urn:gateway:problem:{error.code}",
        "title": error.title,
        "status": int(error.status),
        "detail": "what is wrong with this request",
        "code": error.code,
        "request_id": _REQUEST_ID,
    }

"""The errors the gateway itself responds with, and the only place that knows their status codes.

GatewayError
├── BadRequest 400, RequestTimeout 408, BodyTooLarge 413,    the request is malformed, too slow or too large
│   TargetTooLong 414, UnsupportedMediaType 415,
│   HeadersTooLarge 431
├── Unauthenticated 401, Forbidden 403                       the caller
├── UnknownService 404, MethodNotAllowed 405                 the service and the method
├── IdempotencyConflict 409, IdempotencyMismatch 422         the idempotency key
├── MisdirectedRequest 421                                   the host
├── RateLimited 429                                          the rate limit
├── InternalError 500                                        a fault in the gateway
├── Unimplemented 501                                        the method or transfer coding
├── CallFailed                                               the backend failed
│   ├── BadGateway 502
│   └── UpstreamTimeout 504
├── StreamTimeout 504                                        a response that is longer than allowed
├── NotCached 504                                            only-if-cached without a usable cached response
└── Unavailable 503                                          no call is made to the backend
    ├── CircuitOpen
    ├── ServiceDisabled
    ├── ServiceMisconfigured
    ├── ConfigurationUnavailable
    ├── Overloaded
    ├── AuthenticationUnavailable
    └── IdempotencyUnavailable
"""

import math
from functools import lru_cache
from http import HTTPStatus
from typing import ClassVar, Final

import msgspec

from routing.http import Headers, Response

PROBLEM: Final = b"application/problem+json"


class GatewayError(Exception):
    """An error response of the gateway. `detail` is shown to the client; `retry_after` is in seconds."""

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, *, service: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.service = service
        self.retry_after = retry_after

    @property
    def seconds(self) -> int | None:
        """`retry_after` as sent to the client: whole seconds, at least 1."""
        return None if self.retry_after is None else max(1, math.ceil(self.retry_after))

    def headers(self) -> Headers:
        """The header fields this error adds to its response."""
        seconds = self.seconds
        return [] if seconds is None else [(b"retry-after", b"%d" % seconds)]


class BadRequest(GatewayError):
    status = HTTPStatus.BAD_REQUEST
    code = "bad_request"
    title = "The request is malformed"


class RequestTimeout(GatewayError):
    status = HTTPStatus.REQUEST_TIMEOUT
    code = "request_timeout"
    title = "The request did not arrive in time"


class HeadersTooLarge(GatewayError):
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    code = "headers_too_large"
    title = "The request's header fields are too large"


class TargetTooLong(GatewayError):
    status = HTTPStatus.REQUEST_URI_TOO_LONG
    code = "target_too_long"
    title = "The request's target is too long"


class UnsupportedMediaType(GatewayError):
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_media_type"
    title = "The request's body has an unsupported media type"


class BodyTooLarge(GatewayError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "body_too_large"
    title = "The request's body is too large"


class Unauthenticated(GatewayError):
    status = HTTPStatus.UNAUTHORIZED
    code = "unauthenticated"
    title = "A valid credential is required"

    def headers(self) -> Headers:
        return [(b"www-authenticate", b'Bearer realm="gateway"'), *super().headers()]


class Forbidden(GatewayError):
    status = HTTPStatus.FORBIDDEN
    code = "forbidden"
    title = "This caller may not use this service"


class UnknownService(GatewayError):
    status = HTTPStatus.NOT_FOUND
    code = "unknown_service"
    title = "There is no such service"


class MethodNotAllowed(GatewayError):
    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method_not_allowed"
    title = "The method is not allowed here"

    def __init__(self, detail: str, *, service: str | None = None, allow: tuple[str, ...]) -> None:
        super().__init__(detail, service=service)
        self.allow = allow

    def headers(self) -> Headers:
        return [(b"allow", ", ".join(self.allow).encode())]


class IdempotencyConflict(GatewayError):
    status = HTTPStatus.CONFLICT
    code = "idempotency_conflict"
    title = "The idempotency key is already in use"


class IdempotencyMismatch(GatewayError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "idempotency_mismatch"
    title = "The idempotency key was used for a different request"


class MisdirectedRequest(GatewayError):
    status = HTTPStatus.MISDIRECTED_REQUEST
    code = "misdirected_request"
    title = "The gateway does not answer for this host"


class RateLimited(GatewayError):
    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "rate_limited"
    title = "Too many requests"


class InternalError(GatewayError):
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "internal_error"
    title = "Internal gateway error"


class Unimplemented(GatewayError):
    status = HTTPStatus.NOT_IMPLEMENTED
    code = "not_implemented"
    title = "The request needs something the gateway does not implement"


class CallFailed(GatewayError):
    """The call to the backend failed. `reason` is for logs and for callers who debug: other clients get `client_detail`
    whatever it is. `unsent`: no byte of the request has been written, so that any request may be sent again.
    """

    client_detail: ClassVar[str]

    def __init__(self, reason: str, *, service: str | None = None, unsent: bool = False) -> None:
        super().__init__(self.client_detail, service=service)
        self.reason = reason
        self.unsent = unsent


class BadGateway(CallFailed):
    status = HTTPStatus.BAD_GATEWAY
    code = "bad_gateway"
    title = "The service returned no valid response"
    client_detail = "The service could not be reached or returned no valid response."


class UpstreamTimeout(CallFailed):
    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "upstream_timeout"
    title = "The service did not respond in time"
    client_detail = "The service did not respond in time."


class StreamTimeout(GatewayError):
    """The time limit of a whole response body. Only logged: the head has been sent by then."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "stream_timeout"
    title = "The response took too long"


class NotCached(GatewayError):
    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "not_cached"
    title = "No cached response can be used for this request"


class Unavailable(GatewayError):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "unavailable"
    title = "The service is not available"


class CircuitOpen(Unavailable):
    code = "circuit_open"
    title = "The service's circuit is open"


class ServiceDisabled(Unavailable):
    code = "service_disabled"
    title = "The service is disabled"


class ServiceMisconfigured(Unavailable):
    """The service's own configuration cannot be loaded. What is wrong with it is not shown to clients."""

    code = "service_misconfigured"
    title = "The service's configuration cannot be loaded"


class ConfigurationUnavailable(Unavailable):
    """This worker has not loaded any configuration yet."""

    code = "configuration_unavailable"
    title = "The gateway has not loaded its configuration"


class Overloaded(Unavailable):
    code = "overloaded"
    title = "The service is at its limit of concurrent calls"


class AuthenticationUnavailable(Unavailable):
    code = "authentication_unavailable"
    title = "Credentials cannot be verified at the moment"


class IdempotencyUnavailable(Unavailable):
    code = "idempotency_unavailable"
    title = "The idempotency store is unavailable"


class Problem(msgspec.Struct, omit_defaults=True):
    """A problem document (RFC 9457 section 3)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    service: str | None = None
    retry_after: int | None = None


def problem(error: GatewayError, request_id: str) -> Response:
    """The error as a response. `request_id` is well-formed (contract section 3, step 1), so JSON need not escape it."""
    status = int(error.status)
    before, after = _document((error.code, error.title, status), error.detail, error.service, error.seconds)
    body = b"%b%b%b" % (before, request_id.encode(), after)
    headers = [(b"content-type", PROBLEM), *error.headers(), (b"content-length", b"%d" % len(body))]
    return Response(status, headers, body, framed=True)


@lru_cache(maxsize=512)
def _document(
    kind: tuple[str, str, int], detail: str, service: str | None, retry_after: int | None
) -> tuple[bytes, bytes]:
    """The document before and after the request id. Cached: repeated errors differ only in the id."""
    code, title, status = kind
    document = Problem(
        type=f"urn:gateway:problem:{code}",
        title=title,
        status=status,
        detail=detail,
        code=code,
        request_id="",
        service=service,
        retry_after=retry_after,
    )
    # No other value can contain the marker: JSON escapes its quotes.
    before, marker, after = msgspec.json.encode(document).partition(b'"request_id":"')
    return before + marker, after

"""The errors of the data plane, with their status codes. Errors of one endpoint are defined beside it.

GatewayError
├── BadRequest 400, RequestTimeout 408, BodyTooLarge 413,    the request is malformed, too slow or too large
│   TargetTooLong 414, UnsupportedMediaType 415,
│   HeadersTooLarge 431
├── Unauthenticated 401 ── InvalidToken                      the caller
├── Forbidden 403 ── AddressNotAllowed                       the caller, or the client's address
├── UnknownService 404, MethodNotAllowed 405                 the service or the method
├── IdempotencyConflict 409, IdempotencyMismatch 422         the idempotency key
├── MisdirectedRequest 421                                   the host
├── RateLimited 429, QuotaExceeded 429                       the limits of the caller
├── BackendLimited 429                                       a limit of the backend, or of the calls to it
├── InternalError 500                                        a fault in the gateway
├── Unimplemented 501                                        the method or transfer coding
├── CallFailed ── BadGateway 502, UpstreamTimeout 504        the backend failed
├── StreamTimeout 504                                        a response that took longer than allowed
├── CredentialFailed 502                                     the gateway has no credential for the backend
├── NotCached 504                                            only-if-cached without a usable cached response
└── Unavailable 503 ── CircuitOpen, ServiceDisabled, Overloaded, ServiceMisconfigured, ConfigurationUnavailable,
    AuthenticationUnavailable, IdempotencyUnavailable        no call is made to the backend
"""

import math
from http import HTTPStatus
from typing import ClassVar

from routing.http import Headers


class GatewayError(Exception):
    """An error response of the gateway. `detail` is shown to the client; `retry_after` is in seconds.

    `reason` is for logs and for callers who debug; it is empty if there is nothing to add to `detail`.
    """

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self, detail: str, *, service: str | None = None, retry_after: float | None = None, reason: str = ""
    ) -> None:
        super().__init__(detail)
        self.detail, self.service, self.retry_after, self.reason = detail, service, retry_after, reason

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


class InvalidToken(Unauthenticated):
    """A token that is not accepted. `detail` is sent as RFC 6750's error_description, and contains nothing of it."""

    def headers(self) -> Headers:
        detail = self.detail.encode("ascii", "replace").translate(None, b'"\\')
        field = b'Bearer realm="gateway", error="invalid_token", error_description="%b"' % detail
        return [(b"www-authenticate", field), *super(Unauthenticated, self).headers()]


class Forbidden(GatewayError):
    status = HTTPStatus.FORBIDDEN
    code = "forbidden"
    title = "This caller may not use this service"


class AddressNotAllowed(Forbidden):
    code = "address_not_allowed"
    title = "This address may not call"


class UnknownService(GatewayError):
    status = HTTPStatus.NOT_FOUND
    code = "unknown_service"
    title = "There is no such service"


class MethodNotAllowed(GatewayError):
    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method_not_allowed"
    title = "The method is not allowed here"

    def __init__(
        self, detail: str, *, service: str | None = None, allow: tuple[str, ...], auth: str = "required"
    ) -> None:
        """`auth` is what callers must show to be told (routing.router.policy.Auth)."""
        super().__init__(detail, service=service)
        self.allow, self.auth = allow, auth

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


class QuotaExceeded(GatewayError):
    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "quota_exceeded"
    title = "A quota is used up"


class BackendLimited(GatewayError):
    """No call is made to the backend until it accepts calls again, or a limit of the calls to it allows one."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "backend_limited"
    title = "The service accepts no more calls at the moment"


class InternalError(GatewayError):
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "internal_error"
    title = "Internal gateway error"


class Unimplemented(GatewayError):
    status = HTTPStatus.NOT_IMPLEMENTED
    code = "not_implemented"
    title = "The request needs something the gateway does not implement"


class CallFailed(GatewayError):
    """The call to the backend failed. Clients are told `client_detail`, whatever the reason.

    `unsent`: no byte of the request has arrived there, so that any request may be sent again.
    """

    client_detail: ClassVar[str]

    def __init__(self, reason: str, *, service: str | None = None, unsent: bool = False) -> None:
        super().__init__(self.client_detail, service=service, reason=reason)
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


class CredentialFailed(GatewayError):
    """No call is made to the backend: the gateway could not obtain a credential for it."""

    status = HTTPStatus.BAD_GATEWAY
    code = "credential_failed"
    title = "The gateway has no valid credential for the service"


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
    """The service's configuration cannot be loaded or cannot work. What is wrong with it is not shown to clients."""

    code = "service_misconfigured"
    title = "The service is misconfigured"


class ConfigurationUnavailable(Unavailable):
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

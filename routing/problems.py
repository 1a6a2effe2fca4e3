"""Errors as problem documents (RFC 9457)."""

from functools import lru_cache
from typing import Final

import msgspec

from routing.configuration_errors import DocumentFault, InvalidDocument
from routing.errors import GatewayError
from routing.http import Response

PROBLEM: Final = b"application/problem+json"


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
    errors: tuple[DocumentFault, ...] = ()


def problem(error: GatewayError, request_id: str) -> Response:
    """The error as a response. `request_id` is well-formed (contract section 3, step 1), so JSON need not escape it."""
    status = int(error.status)
    errors = error.errors if isinstance(error, InvalidDocument) else ()
    before, after = _document((error.code, error.title, status), error.detail, error.service, error.seconds, errors)
    body = b"%b%b%b" % (before, request_id.encode(), after)
    headers = [(b"content-type", PROBLEM), *error.headers(), (b"content-length", b"%d" % len(body))]
    return Response(status, headers, body, framed=True)


def identified_problem(error: GatewayError, request_id: str) -> Response:
    """The same with the id as its `X-Request-ID`, for responses to which no step of the gateway adds it."""
    response = problem(error, request_id)
    response.headers.append((b"x-request-id", request_id.encode()))
    return response


@lru_cache(maxsize=512)
def _document(
    kind: tuple[str, str, int],
    detail: str,
    service: str | None,
    retry_after: int | None,
    errors: tuple[DocumentFault, ...],
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
        errors=errors,
    )
    # No other value can contain the marker: JSON escapes its quotes.
    before, marker, after = msgspec.json.encode(document).partition(b'"request_id":"')
    return before + marker, after

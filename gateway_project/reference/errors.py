"""The page of the errors that the gateway itself responds with."""

from collections.abc import Iterator
from typing import Final

import metrics.api.urls  # noqa: F401 - where all modules with errors are imported
from gateway_project.reference.markdown import block, code, page, table, text
from routing.errors import GatewayError

_INTRODUCTION: Final = """\
Every error that the gateway itself responds with is a problem document (RFC 9457), with the media type
`application/problem+json`. Responses of backends are passed on as they are, whatever their status. `code` identifies
the error and does not change between versions; `title` and `detail` are for people. `request_id` is also in
`X-Request-ID` and in the log. `retry_after`, where there is one, is the field `Retry-After` in seconds."""
_EXAMPLE: Final = """\
{
  "type": "urn:gateway:problem:circuit_open",
  "title": "The service's circuit is open",
  "status": 503,
  "detail": "...",
  "code": "circuit_open",
  "request_id": "01978e5c-6f0e-7c52-9a4e-0f6f2a7d9b11",
  "service": "crm",
  "retry_after": 42
}"""


def errors_page() -> str:
    found = sorted(set(_kinds()), key=lambda kind: (kind.status, kind.code))
    rows = [(f"{kind.status.value}", code(kind.code), text(kind.title), text(_about(kind))) for kind in found]
    return page("Errors", _INTRODUCTION, block("json", _EXAMPLE), table(("status", "code", "title", ""), rows))


def _kinds(base: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """All errors with a code of their own."""
    for kind in base.__subclasses__():
        if isinstance(vars(kind).get("code"), str):
            yield kind
        yield from _kinds(kind)


def _about(kind: type[GatewayError]) -> str:
    return " ".join((vars(kind).get("__doc__") or "").split())

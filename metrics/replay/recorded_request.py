"""A recorded request as one that the gateway can decide again, with stand-ins for what was not recorded."""

from enum import StrEnum
from typing import Final

from metrics.request_log.record import MASK, MAX_PATH, RequestRecord
from routing.http import Headers, Request
from routing.messages.bodies import resumed
from routing.router import paths

_CUT: Final = "\u2026"
_BODY: Final = b'{"": "", "": "%b"}'
"""A repeated name is ambiguous: such a body is compared whole, whatever fields of bodies are part of a key."""


class Omission(StrEnum):
    """Why a record is not replayed."""

    WEBSOCKET = "it opened a WebSocket"
    PREFLIGHT = "it may be a browser's preflight request, whose header fields are not recorded"
    STAFF = "a session of staff sent it"
    ENDPOINT = "it was for the gateway itself"
    TOO_LONG = "its path is longer than what is recorded"


class RecordedRequest(Request):
    """`index` is that of the record in the replay."""

    index: int = -1


def omission_of(record: RequestRecord) -> Omission | None:
    if record.status == 101:
        return Omission.WEBSOCKET
    if record.caller.startswith("staff:"):
        return Omission.STAFF
    if record.method == "OPTIONS" and not record.caller and not record.service:
        return Omission.PREFLIGHT
    if record.path.endswith(_CUT) or record.query.endswith(_CUT) or len(record.path) >= MAX_PATH:
        return Omission.TOO_LONG
    if not record.service and not paths.contains(record.path):
        return Omission.ENDPOINT
    return None


def request_of(record: RequestRecord, index: int, credential: Headers) -> RecordedRequest:
    """`credential` are header fields that identify the record's caller.

    Values of the query and bodies are not recorded: those of two requests count as the same only if both had the same
    cache key. Otherwise each has its own, so that no hit is forecast that there might not be.
    """
    stand_in = record.cache_key or f"{index:x}"
    query = record.query.replace(MASK, stand_in) if MASK in record.query else record.query
    headers = [(b"host", record.host.encode("latin-1", "replace")), (b"x-request-id", record.id.encode()), *credential]
    body = None
    if record.method == "POST":
        headers.append((b"content-type", b"application/json"))
        body = resumed([_BODY % stand_in.encode()])
    request = RecordedRequest(
        record.method,
        record.path.encode("latin-1", "replace"),
        query.encode("latin-1", "replace"),
        headers,
        record.client,
        record.scheme,
        body=body,
    )
    request.index = index
    return request

"""Requests that bypass the cache: their responses depend on more than is part of a key. Pure decisions."""

from typing import Final

from resilience.cache.messages import CACHE_FIELDS
from resilience.cache.policy import CachePolicy
from routing.http import Request
from routing.messages.credentials import CREDENTIALS

_CONTENT: Final = frozenset({b"content-length", b"transfer-encoding"})
_LAST_EVENT_ID: Final = b"last-event-id"
EVENT_STREAM: Final = b"text/event-stream"

SPECIAL_FIELDS: Final = CACHE_FIELDS | _CONTENT | CREDENTIALS | {_LAST_EVENT_ID}
"""A GET without any of these can be answered by a fresh response without further checks, unless it accepts an event
stream.
"""


BYPASS_RULES: Final = {
    "content": "a request with content bypasses the cache",
    "last-event-id": "a request that resumes an event stream bypasses the cache",
    "credential": "a request with a credential that cache.credentials does not name bypasses the cache",
    "event-stream": "a request for an event stream bypasses the cache",
}
"""What `bypass_detail` returns, for an operator."""


def bypass_detail(request: Request, policy: CachePolicy) -> str:
    """Why this GET or HEAD neither reads nor fills the cache nor waits for another's fetch; empty if it does.

    - Content: the response depends on it, and it may take its time to arrive.
    - A credential that the gateway does not know: the response may be for its owner alone. One that the policy names is
      part of the key, and one that the response varies by selects a variant.
    - An event stream: it does not end, and a reconnection resumes it at an event of its own (HTML standard, section
      9.2.4).
    """
    fields = request.fields
    if not SPECIAL_FIELDS.isdisjoint(fields):
        if request.body is not None or _announces_content(fields):
            return "content"
        if _LAST_EVENT_ID in fields:
            return "last-event-id"
        if _has_unknown_credential(fields, policy):
            return "credential"
    return "event-stream" if EVENT_STREAM in fields.get(b"accept", b"").lower() else ""


def _announces_content(fields: dict[bytes, bytes]) -> bool:
    """RFC 9112 section 6.3."""
    return b"transfer-encoding" in fields or fields.get(b"content-length", b"").strip(b"0") != b""


def _has_unknown_credential(fields: dict[bytes, bytes], policy: CachePolicy) -> bool:
    if policy.credentials == () or CREDENTIALS.isdisjoint(fields):
        return False
    known = {name.lower().encode() for name in (*(policy.credentials or ()), *policy.vary)}
    return any(name.replace(b"_", b"-") not in known for name in CREDENTIALS.intersection(fields))

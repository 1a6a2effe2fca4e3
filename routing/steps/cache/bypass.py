"""Requests that bypass the cache: their responses depend on more than is part of a key. Pure decisions."""

from typing import Final

from resilience.cache.content_fields import CONTENT_TYPES, media_type
from resilience.cache.content_key import MAX_CONTENT_BYTES
from resilience.cache.messages import CACHE_CONDITIONS, CACHE_FIELDS, ORIGIN_CONDITIONS
from resilience.cache.policy import CachePolicy
from resilience.cache.query_key import has_parameter
from routing.http import IDEMPOTENCY_KEY, Request
from routing.messages.credentials import LONGEST_NAME, is_credential
from routing.messages.selecting_fields import SELECTING_FIELDS
from routing.router.policy import RoutePolicy

_CONTENT: Final = frozenset({b"content-length", b"transfer-encoding"})
_CONDITIONS: Final = CACHE_CONDITIONS | ORIGIN_CONDITIONS
CONTENT_SECONDS: Final = 10.0
"""How long content may take to arrive that is part of a key."""
_LAST_EVENT_ID: Final = b"last-event-id"
EVENT_STREAM: Final = b"text/event-stream"

_SPECIAL_FIELDS: Final = CACHE_FIELDS | _CONTENT | {_LAST_EVENT_ID} | SELECTING_FIELDS
_AMBIGUOUS: Final = frozenset(name.replace(b"-", b"_") for name in _SPECIAL_FIELDS if b"-" in name)
"""What some backends read as one of these, as CGI does, and others do not read at all."""
MAX_PLAIN_FIELDS: Final = 4_096
"""The most names that are remembered as plain, since clients choose them. Any others are judged each time."""
PLAIN_FIELDS: Final[set[bytes]] = set()
"""Names of request fields that have been judged. A GET with no other can be answered by a fresh response without
further checks, unless it accepts an event stream: a hit costs one comparison of sets, whatever the rules are.
"""


BYPASS_RULES: Final = {
    "content": "a request with content bypasses the cache",
    "content-type": "content is part of the key only as JSON or as a form",
    "content-encoding": "content that is encoded bypasses the cache",
    "content-length": f"content of more than {MAX_CONTENT_BYTES // 1024} kB bypasses the cache",
    "slow-content": f"content that takes longer than {CONTENT_SECONDS:g} s bypasses the cache",
    "ambiguous-content": "tags need fields of the content, and backends may read these differently",
    "idempotency-key": "a request with an Idempotency-Key is a write, and bypasses the cache",
    "precondition": "a POST with a precondition bypasses the cache",
    "last-event-id": "a request that resumes an event stream bypasses the cache",
    "ambiguous-field": "a field that some backends take for a condition or a directive bypasses the cache",
    "credential": "a request with a credential that cache.credentials does not name bypasses the cache",
    "query": "a request with a parameter that cache.bypass_query names bypasses the cache",
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
    return "content" if has_content(request) else detail_beside_content(request, policy)


def has_plain_fields(fields: dict[bytes, bytes]) -> bool:
    """Whether none of a request's fields affects more than the variant. Remembers those that do not."""
    unknown = fields.keys() - PLAIN_FIELDS
    if any(name in _SPECIAL_FIELDS or name in _AMBIGUOUS or is_credential(name) for name in unknown):
        return False
    if len(PLAIN_FIELDS) + len(unknown) <= MAX_PLAIN_FIELDS:
        PLAIN_FIELDS.update([name for name in unknown if len(name) <= LONGEST_NAME])
    return True


def detail_beside_content(request: Request, policy: CachePolicy) -> str:
    """The same where content is no reason."""
    fields = request.fields
    if _LAST_EVENT_ID in fields:
        return "last-event-id"
    if not _AMBIGUOUS.isdisjoint(fields):
        return "ambiguous-field"
    if _has_unknown_credential(fields, policy):
        return "credential"
    return "event-stream" if EVENT_STREAM in fields.get(b"accept", b"").lower() else ""


def content_detail(request: Request, policy: RoutePolicy) -> str:
    """Why a request whose content would be part of the key bypasses the cache, by its head; empty if it does not.

    Preconditions of a POST are the backend's to evaluate (RFC 9110 section 13.1). An Idempotency-Key, where the route
    honours it, says that the request is to be executed once, not that it reads.
    """
    fields = request.fields
    if request.method == "POST":
        if not _CONDITIONS.isdisjoint(fields):
            return "precondition"
        if policy.idempotency and IDEMPOTENCY_KEY in fields:
            return "idempotency-key"
    if has_content(request):
        types = [value for name, value in request.headers if name == b"content-type"]
        if len(types) != 1 or media_type(types[0]) not in CONTENT_TYPES:
            return "content-type"
        if b"content-encoding" in fields:
            return "content-encoding"
        length = fields.get(b"content-length", b"")
        if length.isdigit() and int(length) > MAX_CONTENT_BYTES:
            return "content-length"
    return detail_beside_content(request, policy.cache) if policy.cache is not None else ""


def query_detail(query: bytes, policy: CachePolicy) -> str:
    """Why a request with this query bypasses the cache; empty if it does not."""
    return "query" if policy.bypass_query and has_parameter(query, policy.bypass_query) else ""


def reads(policy: RoutePolicy, method: str) -> bool:
    """Whether responses to this method may be stored. A POST that invalidates anything is a write."""
    if policy.cache is None or method not in policy.cache.methods:
        return False
    return method != "POST" or not policy.invalidates


def has_content(request: Request) -> bool:
    """RFC 9112 section 6.3."""
    fields = request.fields
    if request.body is not None:
        return True
    return b"transfer-encoding" in fields or fields.get(b"content-length", b"").strip(b"0") != b""


def _has_unknown_credential(fields: dict[bytes, bytes], policy: CachePolicy) -> bool:
    if policy.credentials == () or not (found := [*filter(is_credential, fields.keys() - PLAIN_FIELDS)]):
        return False
    known = {name.lower().encode() for name in (*(policy.credentials or ()), *policy.vary, *policy.key.headers)}
    return any(name.replace(b"_", b"-") not in known for name in found)

"""Header fields on their way through: what goes to the backend, and what comes back from it."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from routing.http import HOP_BY_HOP, Header, Headers, connection_options, joined
from routing.messages.trace_context import TRACEPARENT
from routing.router.policy import Target

_OURS: Final = frozenset(
    {
        b"via",
        b"forwarded",
        b"x-real-ip",
        b"x-request-id",
        b"x-gateway-caller",
        b"x-gateway-debug",
        b"x-gateway-timeout-ms",
    }
)
"""Fields a backend may believe because the gateway alone sets them."""
_REWRITING: Final = frozenset(
    {
        b"x-original-url",
        b"x-rewrite-url",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
    }
)
"""Fields by which some backends take another path or method than the one that was routed, permitted and cached."""
_FRAMING: Final = frozenset({b"host", b"content-length", b"expect"}) | HOP_BY_HOP
_BARRED: Final = _FRAMING | _OURS | _REWRITING | {b"x-api-key"}
_TRACE: Final = frozenset({b"traceparent", b"tracestate"})
_REFERENCES: Final = frozenset({b"location", b"content-location"})

_ANSWER_DROPPED: Final = HOP_BY_HOP | {
    b"x-request-id",
    b"x-cache",
    b"x-circuit-state",
    b"ratelimit",
    b"ratelimit-policy",
    b"x-gateway-debug",
    b"idempotency-replayed",
}
"""Fields of an answer that would be mistaken for the gateway's own words."""
_CROSS_ORIGIN: Final = b"access-control-"


def to_backend(
    headers: Headers,
    added: Sequence[Header],
    own_cookies: frozenset[bytes],
    *,
    keep_credential: bool,
    traced: bool = False,
) -> Headers:
    """The fields of a backend call: the client's end-to-end fields, without what is the gateway's, and `added`.

    A trace that the client has begun goes on with its `traceparent`, or, where the call is `traced`, without it: then
    another is to be added.
    """
    barred = _BARRED | connection_options(headers) | {name for name, _ in added}
    if not keep_credential:
        barred |= {b"authorization"}
    if not continues_trace(headers):
        barred |= _TRACE
    elif traced:
        barred |= {b"traceparent"}
    passed = [(name, value) for name, value in headers if not _is_stripped(name, barred)]
    passed = [pair if pair[0] != b"cookie" else (b"cookie", strip_cookies(pair[1], own_cookies)) for pair in passed]
    passed += added
    return [pair for pair in passed if pair != (b"cookie", b"")]


def continues_trace(headers: Headers) -> bool:
    """Whether the client has begun a trace (W3C Trace Context section 3.2)."""
    given = joined(headers, b"traceparent")
    return given is not None and TRACEPARENT.fullmatch(given) is not None


def _is_stripped(name: bytes, barred: frozenset[bytes]) -> bool:
    """A name with underscores is read as if it had hyphens, as many backends do: it cannot pose as one of ours."""
    plain = name.replace(b"_", b"-")
    return plain in barred or plain.startswith(b"x-forwarded-")


def is_set_by_gateway(name: bytes) -> bool:
    """Does a backend get this field from the gateway alone, whatever the client has sent?"""
    return _is_stripped(name, _OURS | _TRACE)


def strip_cookies(value: bytes, names: frozenset[bytes]) -> bytes:
    """A Cookie field without the gateway's own cookies: a backend must not get hold of a staff session."""
    if not any(name in value for name in names):
        return value
    kept = [pair for pair in value.split(b";") if pair.partition(b"=")[0].strip() not in names]
    return b";".join(kept).strip()


def to_client(headers: Headers, target: Target, prefix: bytes, own_cookies: frozenset[bytes]) -> Headers:
    """The end-to-end fields of a backend's answer, with its addresses turned into the gateway's own paths.

    Cross-origin rules are the gateway's, so the backend's `Access-Control-*` stay behind, and so does a cookie
    that would pose as one of the gateway's own.
    """
    fields = dict(headers)
    passed = [pair for pair in headers if pair[0] not in _ANSWER_DROPPED]
    if _CROSS_ORIGIN in b" ".join(fields):  # mostly there is none, and this is told faster than by each
        passed = [pair for pair in passed if not pair[0].startswith(_CROSS_ORIGIN)]
    if b"connection" in fields and (named := connection_options(headers)):
        passed = [pair for pair in passed if pair[0] not in named]
    if not _REFERENCES.isdisjoint(fields):
        for place, (name, value) in enumerate(passed):
            if name in _REFERENCES:
                passed[place] = name, rewrite_location(value, target, prefix)
    if b"set-cookie" in fields:
        passed = [pair for pair in passed if pair[0] != b"set-cookie" or _cookie(pair[1]) not in own_cookies]
    return passed


def _cookie(value: bytes) -> bytes:
    """The name of the cookie that is set."""
    return value.partition(b"=")[0].strip()


def rewrite_location(location: bytes, target: Target, prefix: bytes) -> bytes:
    """A reference into the target as a path of the gateway's; any other reference as it is."""
    try:
        parts = urlsplit(location.decode("latin-1"))
        ours = _is_within(parts, urlsplit(target.url))
    except ValueError:
        return location
    if not ours:
        return location
    path = parts.path or "/"
    root = urlsplit(target.url).path.rstrip("/")
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :] or "/"
    tail = parts._replace(scheme="", netloc="", path="").geturl()
    return prefix + path.encode("latin-1") + tail.encode("latin-1")


def _is_within(parts: SplitResult, base: SplitResult) -> bool:
    """Whether a reference points into the target: by its address, or by being a path from the root."""
    if not parts.netloc:
        return not parts.scheme and parts.path.startswith("/")
    scheme = parts.scheme or base.scheme
    return (parts.hostname, parts.port or _port(scheme)) == (base.hostname, base.port or _port(base.scheme))


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80

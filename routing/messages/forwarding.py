"""Header fields forwarded to the backend and back to the client."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from resilience.cache.parameter_names import loose_name
from routing.http import HOP_BY_HOP, Header, Headers, Request, connection_options, first, joined
from routing.messages import references
from routing.messages.cors import EXPOSE_HEADERS
from routing.messages.identifiers import TRACEPARENT
from routing.messages.own_cookies import OwnCookies
from routing.messages.proxies import port_of
from routing.messages.references import PublicAddress
from routing.messages.staff_origin import confine
from routing.messages.untrusted_fields import CERTIFICATE_FIELDS, GATEWAY_FIELDS, OVERRIDE_FIELDS, PROXY

_FRAMING: Final = frozenset({b"host", b"content-length", b"expect"}) | HOP_BY_HOP
_STRIPPED: Final = _FRAMING | GATEWAY_FIELDS | OVERRIDE_FIELDS | CERTIFICATE_FIELDS | PROXY | {b"x-api-key"}
_TRACE_FIELDS: Final = frozenset({b"traceparent", b"tracestate"})
_REWRITTEN: Final[dict[bytes, Callable[[bytes, str, PublicAddress], bytes]]] = {
    b"location": references.rewrite_reference,
    b"content-location": references.rewrite_reference,
    b"link": references.rewrite_links,
    b"refresh": references.rewrite_refresh,
    b"set-cookie": references.rewrite_cookie,
}
_REWRITTEN_IN_SUCCESS: Final = _REWRITTEN | {b"location": references.rewrite_absolute}

_STRIPPED_FROM_RESPONSE: Final = HOP_BY_HOP | {
    b"x-request-id",
    b"x-cache",
    b"x-circuit-state",
    b"ratelimit",
    b"ratelimit-policy",
    b"x-gateway-debug",
    b"x-gateway-fallback",
    b"idempotency-replayed",
}
"""Fields of a response that clients would take for the gateway's own."""
_STRIPPED_FROM_INTERIM: Final = frozenset({b"content-length", b"set-cookie"})
"""An interim response has no content, and does not change the client's state."""
_COOKIE_SEPARATORS: Final = re.compile(rb'[;,"\s]+')
_NOT_IN_HANDSHAKE: Final = frozenset({b"content-length", b"date"})
_FOR_ALL_RECIPIENTS: Final = frozenset(
    {
        b"age",
        b"cache-control",
        b"cache-group-invalidation",
        b"cache-groups",
        b"cache-tag",
        b"cdn-cache-control",
        b"content-encoding",
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-type",
        b"date",
        b"etag",
        b"expires",
        b"last-modified",
        b"location",
        b"set-cookie",
        b"surrogate-key",
        b"vary",
    }
)
"""Fields that a backend's `Connection` cannot end: they are for all recipients (RFC 9110 section 7.6.1), and say among
other things whether a response may be stored.
"""
_CORS_PREFIX: Final = b"access-control-"
_PROGRESSIVE_TYPES: Final = (b"text/event-stream", b"multipart/x-mixed-replace", b"application/x-ndjson")
"""The beginnings of media types whose reader waits for each part."""
_UNBUFFERED: Final[Header] = (b"x-accel-buffering", b"no")


def to_backend(
    headers: Headers,
    added: Sequence[Header],
    own_cookies: OwnCookies,
    *,
    keep_credential: bool,
    traced: bool = False,
    replaced: bytes | None = None,
) -> Headers:
    """The fields of a backend call: the client's end-to-end fields except those only the gateway sets, and `added`.

    A client's trace is continued with its `traceparent`. If the call is `traced`, that field is left out, since another
    is added with the gateway's own span. `replaced` is a field that is added later with a credential of the gateway's.
    """
    stripped = _STRIPPED | _connection_listed(headers) | {name.replace(b"_", b"-") for name, _ in added}
    if replaced is not None:
        stripped |= {replaced.replace(b"_", b"-")}
    if not keep_credential:
        stripped |= {b"authorization"}
    if not continues_trace(headers):
        stripped |= _TRACE_FIELDS
    elif traced:
        stripped |= {b"traceparent"}
    forwarded = [(name, value) for name, value in headers if not _is_stripped(name, stripped)]
    forwarded = [pair if pair[0] != b"cookie" else (b"cookie", own_cookies.strip(pair[1])) for pair in forwarded]
    forwarded += added
    return _with_one_cookie_field([pair for pair in forwarded if pair != (b"cookie", b"")])


def _with_one_cookie_field(headers: Headers) -> Headers:
    """Several Cookie fields, as HTTP/2 allows, as one (RFC 9113 section 8.2.3): most backends read the first alone, or
    join them with a comma.
    """
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) < 2:
        return headers
    return [*[pair for pair in headers if pair[0] != b"cookie"], (b"cookie", b"; ".join(cookies))]


def origin_fields(request: Request) -> Headers:
    """What the backend learns of the host and scheme that the client used. It may respond differently to each, with
    references in particular, so that all of it is part of the cache key.
    """
    return [
        (b"x-forwarded-proto", request.scheme.encode()),
        (b"x-forwarded-host", request.fields.get(b"host", b"")),
    ]


def port_field(request: Request) -> Header:
    """The port that the client used. It follows from the fields above, for backends that do not read it there."""
    return b"x-forwarded-port", b"%d" % port_of(request.fields.get(b"host", b""), request.scheme)


def end_to_end(request: Request) -> Headers:
    """The request's fields without those that `Connection` lists, which end here (RFC 9110 section 7.6.1)."""
    if b"connection" not in request.fields or not (listed := _connection_listed(request.headers)):
        return request.headers
    return [pair for pair in request.headers if pair[0].replace(b"_", b"-") not in listed]


def _connection_listed(headers: Headers) -> frozenset[bytes]:
    """The fields that `Connection` lists, with hyphens for underscores: neither spelling is forwarded, as some backends
    read both.
    """
    return frozenset([name.replace(b"_", b"-") for name in connection_options(headers)])


def continues_trace(headers: Headers) -> bool:
    """Whether the client sent a valid `traceparent` (W3C Trace Context section 3.2)."""
    value = joined(headers, b"traceparent")
    return value is not None and TRACEPARENT.fullmatch(value) is not None


def _is_stripped(name: bytes, stripped: frozenset[bytes]) -> bool:
    """Underscores count as hyphens, as for many backends, so that no name can imitate one of the gateway's fields."""
    normalized = name.replace(b"_", b"-")
    return normalized in stripped or normalized.startswith((b"x-forwarded-", b"x-gateway-"))


def is_set_by_gateway(name: bytes) -> bool:
    """Whether backends receive this field from the gateway only, whatever the client sends."""
    return _is_stripped(name, GATEWAY_FIELDS | _TRACE_FIELDS)


def selected_cookies(value: bytes, names: frozenset[bytes]) -> bytes:
    """Those cookies of a Cookie field that have these names; all of it if a backend could find others of them there."""
    if not names:
        return b""
    pairs = [pair.strip() for pair in value.split(b";")]
    selected = [pair for pair in pairs if pair.partition(b"=")[0].strip() in names]
    has_open_quote = b'"' in value and any(pair.count(b'"') % 2 for pair in pairs)
    if has_open_quote or _count_loosely(value, names) != len(selected):
        return value
    return b"; ".join(selected)


def _count_loosely(value: bytes, names: frozenset[bytes]) -> int:
    """How many cookies with these names a lenient backend may find: some end a cookie at commas and white space too
    (RFC 2965, Python's SimpleCookie), and some take similar names for one (PHP).
    """
    loose = {loose_name(name.decode("latin-1")) for name in names}
    found = [piece.decode("latin-1").partition("=") for piece in _COOKIE_SEPARATORS.split(value)]
    return sum(equals == "=" and loose_name(name) in loose for name, equals, _ in found)


def depends_on_address(headers: Headers) -> bool:
    """Whether `to_client` depends on more of the public address than its prefix."""
    return any(name in _REWRITTEN for name, _ in headers)


def to_client(headers: Headers, target: str, public: PublicAddress, own_cookies: OwnCookies, status: int) -> Headers:
    """The end-to-end fields of a backend's response, with references into `target`, its URL, and the paths of cookies
    rewritten to where the client sees them.

    The gateway applies its own CORS policy, so the backend's `Access-Control-*` fields are dropped, except the one that
    lists its own fields. Cookies with the name of one of the gateway's own are dropped too.
    """
    fields = dict(headers)
    forwarded = [pair for pair in headers if pair[0] not in _STRIPPED_FROM_RESPONSE]
    if _CORS_PREFIX in b" ".join(fields):  # one search in all names is faster than one in each
        forwarded = [pair for pair in forwarded if not pair[0].startswith(_CORS_PREFIX) or pair[0] == EXPOSE_HEADERS]
    if b"connection" in fields and (named := connection_options(headers) - _FOR_ALL_RECIPIENTS):
        forwarded = [pair for pair in forwarded if pair[0] not in named]
    if b"set-cookie" in fields:
        forwarded = [pair for pair in forwarded if pair[0] != b"set-cookie" or own_cookies.permits(pair[1])]
    if not _REWRITTEN.keys().isdisjoint(fields):
        rewrites = _REWRITTEN_IN_SUCCESS if 200 <= status < 300 else _REWRITTEN
        for index, (name, value) in enumerate(forwarded):
            rewrite = rewrites.get(name)
            if rewrite is not None:
                forwarded[index] = name, rewrite(value, target, public)
    return forwarded


def interim_to_client(headers: Headers, target: str, public: PublicAddress, own_cookies: OwnCookies) -> Headers:
    """The same for an interim response, without the fields that only a final one should have."""
    forwarded = to_client(headers, target, public, own_cookies, 103)
    return [pair for pair in confine(forwarded) if pair[0] not in _STRIPPED_FROM_INTERIM]


def handshake_to_client(headers: Headers, target: str, public: PublicAddress, own_cookies: OwnCookies) -> Headers:
    """The same for the response with which a backend accepts a WebSocket, without the fields that the gateway's own
    handshake sets. Under the gateway's own hosts, nothing in it affects the whole origin.
    """
    forwarded = to_client(headers, target, public, own_cookies, 101)
    kept = [
        pair for pair in forwarded if not pair[0].startswith(b"sec-websocket-") and pair[0] not in _NOT_IN_HANDSHAKE
    ]
    return confine(kept) if public.prefix else kept


def without_buffering(headers: Headers) -> Headers:
    """The fields of a response that is streamed to the client.

    nginx, as a proxy ahead, buffers responses by default. If the reader of this media type waits for each part,
    `X-Accel-Buffering: no` is added, unless the backend has sent that field itself.
    """
    content_type = first(headers, b"content-type")
    if content_type is None or not content_type.lower().startswith(_PROGRESSIVE_TYPES):
        return headers
    return headers if first(headers, _UNBUFFERED[0]) is not None else [*headers, _UNBUFFERED]

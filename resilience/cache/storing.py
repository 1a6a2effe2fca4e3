"""Whether a response may be stored, and for how long (RFC 9111 sections 3 and 4.2): pure functions.

Times are Unix seconds.
"""

from collections.abc import Sequence, Set
from email.utils import formatdate
from typing import Final

from resilience.cache import fields, ignoring, variants
from resilience.cache.directives import Directives, seconds
from resilience.cache.ignoring import Ignorable
from resilience.cache.messages import (
    ORIGIN_CONDITIONS,
    CacheRequest,
    CacheResponse,
    Freshness,
    Skip,
    Storable,
    response_directives,
    sent_directives,
)
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.validation import may_be_confirmed
from resilience.statuses import FAILURE_STATUSES

TTL_STATUSES: Final = frozenset({200, 203, 204, 300, 301, 308})
"""Statuses to which the policy's ttl applies."""
HEURISTIC_ERRORS: Final = frozenset({404, 405, 410, 414, 501})
"""The other heuristically cacheable statuses (RFC 9110 section 15.1). They are errors, so the policy's ttl does not
apply: the response itself must say how long it is fresh, or at least when it was last modified.
"""
REQUEST_STATUSES: Final = frozenset({407, 408, 411, 412, 413, 415, 416, 421, 425, 426, 428, 429, 431, 511})
"""Refusals because of fields, content or circumstances that are not part of the key (RFC 9110 section 15.5, RFC 6585,
RFC 8470). If one were stored, the 416 for one client's Range would be sent to all.
"""
CALLER_STATUSES: Final = frozenset({400, 401, 403, 406})
"""Refusals for which any part of a request may be the reason: a field that is too long for the backend, a credential,
an Accept. If one were stored for more than one caller, anyone could replace a response by it (CPDoS).
"""
PARTIAL_STATUSES: Final = frozenset({206, 226, 304})
"""Statuses of incomplete responses (RFC 9111 sections 3.3 and 4.3.4, RFC 3229 section 10.4.1)."""
UNDERSTOOD_STATUSES: Final = TTL_STATUSES | HEURISTIC_ERRORS | {302, 303, 307, 451}
"""Statuses that this cache understands, for `must-understand` (RFC 9111 section 5.2.2.3)."""
HEURISTIC_FRACTION: Final = 0.1
MAX_HEURISTIC_SECONDS: Final = 86_400.0
"""The heuristic freshness lifetime is a fraction of the time since Last-Modified, up to a maximum (RFC 9111 section
4.2.2).
"""
VALIDATION_SECONDS: Final = 3_600.0
"""How long a stale response that has a validator is kept for validation."""

ENDLESS_TYPES: Final = (
    b"text/event-stream",
    b"multipart/x-mixed-replace",
    b"application/grpc",
    b"application/connect+",
)
"""The beginnings of media types whose parts are sent as they occur. Such a response is for the moment and the reader it
began with: it is never stored, and nobody waits for it. Types that finite exports have too, such as
`application/x-ndjson`, are not among them: a response is stored once it is complete, and an endless one never is.
"""

UNWANTED: Final = Skip("the response does not match only_if")
"""The verdict on a response that the rules allow to store, and the operator does not."""
_SCOPE_WIDTH: Final = {Scope.USER: 0, Scope.TENANT: 1, Scope.SHARED: 2}
_REVALIDATING: Final = frozenset({b"must-revalidate", b"proxy-revalidate", b"s-maxage"})
_UNSHAREABLE: Final = frozenset({b"private", b"no-store"})
_SHAREABLE: Final = frozenset({b"public", b"s-maxage", b"must-revalidate"})
_EXPLICIT: Final = frozenset({b"public", b"s-maxage", b"max-age", b"no-cache"})
"""Directives by which a response itself says how it may be reused. With `no-cache` it is validated each time."""
_COOKIE: Final = b"set-cookie"
_BYTES_UNIT: Final = b"bytes"
_VALIDATORS: Final = frozenset({b"etag", b"last-modified"})


def may_store(request: CacheRequest, response: CacheResponse, policy: CachePolicy, scope: Scope) -> Storable | Skip:
    """Whether this response may be stored for `scope`, and for how long (RFC 9111 section 3).

    `scope` is that of the cache key, which may be wider than the policy's.
    """
    control, targeted = response_directives(response)
    withheld = _withheld(response, control)
    headers = fields.storable(response.headers, withheld)
    names = {name for name, _ in headers} | (response.dropped - withheld)
    has_validator = request.can_validate and may_be_confirmed(response.status) and not _VALIDATORS.isdisjoint(names)
    is_explicit = (not targeted and bool(response.values(b"expires"))) or not _EXPLICIT.isdisjoint(control)
    varied = variants.varied_fields(response)
    skip = (
        _check_request(request)
        or _check_response(response, control, names, varied, has_validator=has_validator)
        or _check_scope(request, response, policy, scope, is_explicit=is_explicit)
    )
    if skip:
        return skip
    lifetime = _freshness_lifetime(policy, response, control, targeted)
    if lifetime is None:
        return Skip("the response has no freshness lifetime", "RFC 9111 section 3")
    freshness = _freshness(response, policy, control, lifetime, has_validator=has_validator)
    if freshness.kept_until <= response.received_at:
        return Skip("the response is already stale", "RFC 9111 section 4.2.4")
    if b"date" not in names:  # RFC 9110 section 6.6.1
        headers = (*headers, (b"date", formatdate(response.received_at, usegmt=True).encode()))
    vary = variants.selecting_fields(varied, policy)
    variant = fields.variant(request.headers, vary) if vary else b""
    return Storable(freshness, vary, variant, headers, _ignored(response, policy))


def is_shareable(response: CacheResponse) -> bool:
    """Whether the response to an authenticated request allows shared caching (RFC 9111 section 3.5). One whose
    prohibition is ignored does not: `private, must-revalidate` is not shared for its second directive.
    """
    if response.ignore and not _UNSHAREABLE.isdisjoint(sent_directives(response)[0]):
        return False
    return not _SHAREABLE.isdisjoint(response_directives(response)[0])


def is_endless(response: CacheResponse) -> bool:
    """Whether the response is a stream of events, which must be neither stored nor waited for."""
    types = response.values(b"content-type")
    return bool(types) and types[0].strip().lower().startswith(ENDLESS_TYPES)


def is_complete(response: CacheResponse, length: int) -> bool:
    """Whether a body of `length` bytes is complete by its Content-Length (RFC 9111 section 3.3)."""
    expected = b"%d" % length
    return all(value.strip() == expected for value in response.values(b"content-length"))


def _freshness(
    response: CacheResponse, policy: CachePolicy, control: Directives, lifetime: float, *, has_validator: bool
) -> Freshness:
    generated_at = response.received_at - _corrected_initial_age(response)
    must_revalidate = not _REVALIDATING.isdisjoint(control) or _is_unqualified(control, b"no-cache")
    must_revalidate = must_revalidate or response.status in FAILURE_STATUSES  # an old failure replaces no new one
    fresh_until = 0.0 if _is_unqualified(control, b"no-cache") else generated_at + lifetime
    stale_at = max(response.received_at, fresh_until)
    refresh_until = stale_at + _extension(
        policy.stale_while_revalidate, control, b"stale-while-revalidate", must_revalidate
    )
    stale_until = stale_at + _extension(policy.stale_if_error, control, b"stale-if-error", must_revalidate)
    kept_until = max(refresh_until, stale_until, stale_at + VALIDATION_SECONDS if has_validator else 0.0)
    return Freshness(generated_at, fresh_until, refresh_until, stale_until, kept_until, must_revalidate)


def _withheld(response: CacheResponse, control: Directives) -> set[bytes]:
    """The fields named by a qualified `no-cache` or `private` (RFC 9111 sections 5.2.2.4 and 5.2.2.7), and an ignored
    cookie.
    """
    names = fields.names([names for directive in (b"no-cache", b"private") if (names := control.get(directive))])
    return names | {_COOKIE} if Ignorable.SET_COOKIE in response.ignore else names


def _ignored(response: CacheResponse, policy: CachePolicy) -> tuple[str, ...]:
    """What the response has that is ignored, as the policy lists it."""
    if not response.ignore and not policy.ignore_vary:
        return ()
    names = {name for name, _ in response.headers}
    words = ignoring.ignored_words(sent_directives(response)[0], names, response.ignore)
    varied = fields.names(response.values(b"vary"))
    return (*words, *[f"vary: {name}" for name in policy.ignore_vary if name.encode() in varied])


def _is_unqualified(control: Directives, name: bytes) -> bool:
    """Whether the directive is present without field names, and so applies to the whole response."""
    return name in control and not control[name]


def _check_request(request: CacheRequest) -> Skip | None:
    """Only responses to GET are stored, and none where the request says `no-store` (RFC 9111 section 5.2.1.5) or has a
    precondition that bypasses the cache (section 4.3.2).
    """
    if request.method != "GET":
        return Skip(f"the method is {request.method}", "RFC 9111 section 3")
    if not request.cache_fields.isdisjoint(ORIGIN_CONDITIONS):
        return Skip("the request has a precondition", "RFC 9111 section 4.3.2")
    return Skip("the request says no-store", "RFC 9111 section 5.2.1.5") if b"no-store" in request.control else None


def _check_response(
    response: CacheResponse, control: Directives, names: Set[bytes], varied: Set[bytes], *, has_validator: bool
) -> Skip | None:
    """What in a response forbids to store it (RFC 9111 sections 3, 5.2.2 and 7.3). `names` are those of the fields that
    would be stored, `varied` the members of Vary.
    """
    forbidden = _check_kind(response) or _check_directives(response.status, control)
    if forbidden:
        return forbidden
    if _COOKIE in names:
        return Skip("the response sets a cookie", "RFC 9111 section 7.3")
    if b"*" in varied:  # never matches a request
        return Skip("the response has Vary: *", "RFC 9111 section 4.1")
    if variants.is_malformed(varied):  # which fields are meant cannot be known
        return Skip("the response has a malformed Vary", "RFC 9110 section 12.5.5")
    if _is_unqualified(control, b"no-cache") and not has_validator:  # it could not be validated
        return Skip("the response says no-cache and has no validator", "RFC 9111 section 5.2.2.4")
    return None


def _check_kind(response: CacheResponse) -> Skip | None:
    """Only complete and final responses that have an end are stored (RFC 9111 section 3)."""
    if response.status in PARTIAL_STATUSES or response.status < 200:
        return Skip(f"the status is {response.status}", "RFC 9111 section 3")
    if response.status in REQUEST_STATUSES:
        return Skip(f"the status {response.status} is about one request", "RFC 9110 section 15.5")
    if any(value.lstrip().lower().startswith(_BYTES_UNIT) for value in response.values(b"content-range")):
        return Skip(f"the response is a part, with the status {response.status}", "RFC 9110 section 14.4")
    return Skip("the response is a stream of events") if is_endless(response) else None


def _check_directives(status: int, control: Directives) -> Skip | None:
    """`must-understand` overrides `no-store` where the status is understood (RFC 9111 section 5.2.2.3)."""
    if b"must-understand" in control:
        if status not in UNDERSTOOD_STATUSES:
            return Skip(f"the status {status} must be understood", "RFC 9111 section 5.2.2.3")
    elif b"no-store" in control:
        return Skip("the response says no-store", "RFC 9111 section 5.2.2.5")
    if _is_unqualified(control, b"private"):
        return Skip("the response says private", "RFC 9111 section 5.2.2.7")
    return None


def _check_scope(
    request: CacheRequest, response: CacheResponse, policy: CachePolicy, scope: Scope, *, is_explicit: bool
) -> Skip | None:
    """The response to an authenticated request is stored for a scope wider than its route's only if it allows that
    itself (RFC 9111 section 3.5).

    One to an anonymous request, which may have a credential that only the backend knows, is stored only if the route is
    shared or the response says how long it is fresh, or that it is public: `is_explicit`.
    """
    is_anonymous = not request.authenticated and policy.scope is not Scope.SHARED
    if is_anonymous and not is_explicit:
        return Skip("the request is anonymous and the response has no explicit lifetime")
    if response.status in CALLER_STATUSES and not (request.authenticated and scope is Scope.USER):
        return Skip(f"the status {response.status} is about one request", "RFC 9110 section 15.5")
    is_wider = _SCOPE_WIDTH[scope] > _SCOPE_WIDTH[policy.scope]
    if is_wider and request.authenticated and not is_shareable(response):
        return Skip("the response is specific to one caller", "RFC 9111 section 3.5")
    return None


def _freshness_lifetime(
    policy: CachePolicy, response: CacheResponse, control: Directives, targeted: bool
) -> float | None:
    """The freshness lifetime in seconds (RFC 9111 section 4.2.1); None if neither response nor policy defines one."""
    heuristic = _heuristic_lifetime(policy, response, control)
    if policy.override and policy.ttl > 0 and response.status in TTL_STATUSES:
        return policy.ttl
    for name in (b"s-maxage", b"max-age"):
        explicit = seconds(control, name)
        if explicit is not None:
            return explicit
    expires = () if targeted else response.values(b"expires")
    if expires:
        return _lifetime_by_expires(expires, response)
    if heuristic is None and _is_unqualified(control, b"no-cache"):  # validated on each use, it needs no lifetime
        return 0.0
    return heuristic


def _heuristic_lifetime(policy: CachePolicy, response: CacheResponse, control: Directives) -> float | None:
    """The policy's ttl, else a fraction of the time since Last-Modified (RFC 9111 section 4.2.2)."""
    if response.status in TTL_STATUSES or b"public" in control:
        if policy.ttl > 0:
            return policy.ttl
    elif response.status not in HEURISTIC_ERRORS:
        return None
    modified = fields.date(response.values(b"last-modified"))
    if modified is None:
        return None
    return min(MAX_HEURISTIC_SECONDS, max(0.0, _date_value(response) - modified) * HEURISTIC_FRACTION)


def _lifetime_by_expires(expires: Sequence[bytes], response: CacheResponse) -> float:
    """Expires minus Date. An invalid date, "0" in particular, is in the past (RFC 9111 section 5.3)."""
    expires_at = fields.date(expires)
    return 0.0 if expires_at is None else max(0.0, expires_at - _date_value(response))


def _date_value(response: CacheResponse) -> float:
    """The value of Date, or when the response was received (RFC 9110 section 6.6.1)."""
    date = fields.date(response.values(b"date"))
    return response.received_at if date is None else date


def _corrected_initial_age(response: CacheResponse) -> float:
    """The response's age when it was received, in seconds (RFC 9111 section 4.2.3)."""
    apparent_age = max(0.0, response.received_at - _date_value(response))
    return max(apparent_age, fields.age(response.values(b"age")) + response.delay)


def _extension(by_policy: float, control: Directives, name: bytes, must_revalidate: bool) -> float:
    """Seconds for which a stale response may still be used (RFC 5861, RFC 9111 section 4.2.4): by the response's own
    directive `name`, else by the policy.
    """
    if must_revalidate:
        return 0.0
    by_response = seconds(control, name)
    return by_policy if by_response is None else by_response

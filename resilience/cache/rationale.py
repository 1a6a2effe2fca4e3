"""The rule behind a decision of the cache, for X-Gateway-Debug. Derived afterwards from the decision."""

from collections.abc import Sequence
from typing import Final

from resilience.cache.messages import (
    ORIGIN_CONDITIONS,
    CacheRequest,
    CacheResponse,
    Forward,
    Fresh,
    LookupResult,
    Miss,
    Skip,
    Storable,
    response_directives,
)
from resilience.cache.policy import CachePolicy
from resilience.cache.storing import TTL_STATUSES

_MISSES: Final = {
    Forward.METHOD: "RFC 9111 section 4: only GET and HEAD are answered from the cache",
    Forward.URI_MISS: "RFC 9111 section 4: nothing is stored under this key",
    Forward.VARY_MISS: "RFC 9111 section 4.1: the stored responses vary by other request fields",
    Forward.STALE: "RFC 9111 section 4.2.4: the stored response is stale and cannot be validated",
}
_DIRECTIVES: Final = {
    b"no-cache": "RFC 9111 section 5.2.1.4: the request demands validation",
    b"max-age": "RFC 9111 section 5.2.1.1: the stored response is too old for the request",
    b"min-fresh": "RFC 9111 section 5.2.1.3: the stored response is not fresh for long enough for the request",
}


def lookup_rule(result: LookupResult, request: CacheRequest) -> str:
    """Why a stored response was used for a request, or was not: an RFC, its section, and a few words."""
    if isinstance(result, Miss):
        return _bypass_rule(request) if result.reason is Forward.REQUEST else _MISSES[result.reason]
    if isinstance(result, Fresh):
        return _hit_rule(result)
    if result.reason is Forward.REQUEST:
        return next((rule for name, rule in _DIRECTIVES.items() if name in request.control), _DIRECTIVES[b"no-cache"])
    if result.entry.must_revalidate:
        return "RFC 9111 section 4.2.4: it is stale, and must be validated"
    return "RFC 9111 section 4.3: it is stale, and is validated"


def storage_rule(verdict: Storable | Skip, response: CacheResponse, policy: CachePolicy) -> str:
    """Why a response may be stored and for how long, or why it may not."""
    if isinstance(verdict, Skip):
        return f"not stored {verdict.rule}: {verdict.reason}"
    if not verdict.fresh_until:
        rule = "RFC 9111 section 5.2.2.4: no-cache, it is validated on each use"
        return f"stored {rule}{_ignored(verdict.ignored)}"
    rule = _lifetime_rule(response, policy)
    return f"stored for {verdict.fresh_until - response.received_at:.0f} s by {rule}{_ignored(verdict.ignored)}"


def _lifetime_rule(response: CacheResponse, policy: CachePolicy) -> str:
    """What defines a response's freshness lifetime, in the order of RFC 9111 section 4.2.1."""
    control, targeted = response_directives(response)
    if policy.override and policy.ttl > 0 and response.status in TTL_STATUSES:
        return "the route's ttl, which overrides"
    for name in (b"s-maxage", b"max-age"):
        if name in control:
            where = "RFC 9213 section 2.2" if targeted else "RFC 9111 section 4.2.1"
            return f"{where}: {name.decode()}"
    if response.values(b"expires") and not targeted:
        return "RFC 9111 section 5.3: Expires"
    return f"RFC 9111 section 4.2.2: {'the ttl of its route' if policy.ttl > 0 else 'its Last-Modified'}"


def _ignored(words: Sequence[str]) -> str:
    return f"; ignored by cache.ignore: {', '.join(words)}" if words else ""


def _hit_rule(result: Fresh) -> str:
    if not result.stale:
        return f"RFC 9111 section 4.2: it is fresh{_ignored(result.entry.ignored)}"
    if result.refresh:
        return "RFC 5861 section 3: it is stale, and is revalidated in the background"
    return "RFC 9111 section 5.2.1.2: it is stale, and the request accepts that"


def _bypass_rule(request: CacheRequest) -> str:
    if not request.cache_fields.isdisjoint(ORIGIN_CONDITIONS):
        return "RFC 9111 section 4.3.2: the backend evaluates its precondition"
    return "RFC 9111 section 5.2.1.5: the request says no-store"

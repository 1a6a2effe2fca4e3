"""Which rule decided, for a caller who debugs: said after the fact, of the words the decisions are made in."""

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
from resilience.cache.storing import HEURISTIC

_MISSES: Final = {
    Forward.METHOD: "RFC 9111 section 4: only GET and HEAD are answered from a store",
    Forward.URI_MISS: "RFC 9111 section 4: nothing is stored under this key",
    Forward.VARY_MISS: "RFC 9111 section 4.1: what is stored was chosen by other request fields",
    Forward.STALE: "RFC 9111 section 4.2.4: what is stored has ended and cannot be asked about",
}
_WISHES: Final = {
    b"no-cache": "RFC 9111 section 5.2.1.4: the request wants the backend asked",
    b"max-age": "RFC 9111 section 5.2.1.1: the request wants it younger",
    b"min-fresh": "RFC 9111 section 5.2.1.3: the request wants it fresh for longer",
}


def lookup_rule(found: LookupResult, asked: CacheRequest) -> str:
    """The rule by which a request was given what is stored, or was not: an RFC, its section, and a few words."""
    if isinstance(found, Miss):
        return _unanswered(asked) if found.reason is Forward.REQUEST else _MISSES[found.reason]
    if isinstance(found, Fresh):
        return _given(found)
    if found.reason is Forward.REQUEST:
        return next((why for wish, why in _WISHES.items() if wish in asked.control), _WISHES[b"no-cache"])
    if found.entry.must_revalidate:
        return "RFC 9111 section 4.2.4: it is stale, and says it is never to be given so"
    return "RFC 9111 section 4.3: it is stale, and the backend is asked about it"


def storage_rule(verdict: Storable | Skip, answered: CacheResponse, policy: CachePolicy) -> str:
    """Why an answer may be kept and for how long, or why not."""
    if isinstance(verdict, Skip):
        return f"not kept {verdict.rule}: {verdict.reason}"
    if not verdict.fresh_until:
        return "kept RFC 9111 section 5.2.2.4: no-cache, it is asked about each time"
    return f"kept for {verdict.fresh_until - answered.at:.0f} s by {_lifetime(answered, policy)}"


def _lifetime(answered: CacheResponse, policy: CachePolicy) -> str:
    """What an answer's lifetime is taken from, in the order of RFC 9111 section 4.2.1."""
    control, targeted = response_directives(answered)
    if policy.override and policy.ttl > 0 and answered.status in HEURISTIC:
        return "the route's ttl, which overrides"
    for name in (b"s-maxage", b"max-age"):
        if name in control:
            where = "RFC 9213 section 2.2" if targeted else "RFC 9111 section 4.2.1"
            return f"{where}: {name.decode()}"
    if answered.values(b"expires") and not targeted:
        return "RFC 9111 section 5.3: Expires"
    return f"RFC 9111 section 4.2.2: {'the ttl of its route' if policy.ttl > 0 else 'its Last-Modified'}"


def _given(found: Fresh) -> str:
    if not found.stale:
        return "RFC 9111 section 4.2: it is fresh"
    if found.refresh:
        return "RFC 5861 section 3: it is stale, and renewed behind the answer"
    return "RFC 9111 section 5.2.1.2: it is stale, and the request puts up with that"


def _unanswered(asked: CacheRequest) -> str:
    if not asked.cache_fields.isdisjoint(ORIGIN_CONDITIONS):
        return "RFC 9111 section 4.3.2: its condition is for the backend to judge"
    return "RFC 9111 section 5.2.1.5: the request says no-store"

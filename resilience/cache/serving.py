"""Whether a stored response may be used for a request (RFC 9111 section 4): pure functions. Times are Unix seconds."""

import math

from resilience.cache import fields
from resilience.cache.directives import Directives, seconds
from resilience.cache.entry import Entry
from resilience.cache.messages import ORIGIN_CONDITIONS, CacheRequest, Forward, Fresh, LookupResult, Miss, Stale
from resilience.cache.variants import select


def bypass_reason(request: CacheRequest) -> Forward | None:
    """Why this request bypasses the cache, which neither answers it nor stores its response; None if it does not.

    The cache handles GET and HEAD (RFC 9111 section 4) without `no-store` (section 5.2.1.5) and without preconditions
    that only the origin server evaluates (section 4.3.2).
    """
    if request.method not in ("GET", "HEAD"):
        return Forward.METHOD
    if request.cache_fields and (
        b"no-store" in request.control or not request.cache_fields.isdisjoint(ORIGIN_CONDITIONS)
    ):
        return Forward.REQUEST
    return None


def only_if_cached(request: CacheRequest) -> bool:
    """Whether the request prefers an error to a response of the backend (RFC 9111 section 5.2.1.7)."""
    return bool(request.cache_fields) and b"only-if-cached" in request.control


def lookup(entry: Entry | None, request: CacheRequest, now: float, seq: int = 0) -> LookupResult:
    """Whether the stored response may be used for this request (RFC 9111 section 4)."""
    reason = bypass_reason(request)
    if reason:
        return Miss(reason, seq)
    if entry is None:
        return Miss(Forward.URI_MISS, seq)
    if entry.vary:
        selected = select(entry, request.headers)
        if selected is None:
            return Miss(Forward.VARY_MISS, seq, fields.variant(request.headers, entry.vary))
        entry = selected
    age = max(0.0, now - entry.generated_at)
    if request.cache_fields:
        control = request.control
        if control:
            return _lookup_with_directives(entry, control, age, now, seq)
    if now < entry.fresh_until:
        return Fresh(entry, int(age))
    return _lookup_stale(entry, age, now, seq)


def _lookup_stale(entry: Entry, age: float, now: float, seq: int) -> LookupResult:
    """The result for a stale response (RFC 9111 section 4.2.4, RFC 5861 section 3)."""
    if now < entry.refresh_until and not entry.must_revalidate:
        return Fresh(entry, int(age), stale=True, refresh=True, seq=seq)
    if now < entry.stale_until or now < entry.kept_until:
        return Stale(entry, int(age), seq, usable=now < entry.stale_until and not entry.must_revalidate)
    return Miss(Forward.STALE, seq)


def _lookup_with_directives(entry: Entry, control: Directives, age: float, now: float, seq: int) -> LookupResult:
    """The result for a request with cache directives (RFC 9111 section 5.2.1)."""
    if b"no-cache" in control:
        return Stale(entry, int(age), seq, usable=False, reason=Forward.REQUEST)
    min_fresh, max_age = seconds(control, b"min-fresh") or 0, seconds(control, b"max-age")
    staleness = now - entry.fresh_until
    young_enough = max_age is None or age < max_age
    if staleness < 0 and staleness <= -min_fresh and young_enough:
        return Fresh(entry, int(age))
    tolerated = young_enough and not entry.must_revalidate and 0 <= staleness <= _max_stale(control)
    if tolerated and now < entry.expires_at:
        return Fresh(entry, int(age), stale=True)
    if staleness < 0:  # fresh, but not fresh enough for this request
        return Stale(entry, int(age), seq, usable=not entry.must_revalidate, reason=Forward.REQUEST)
    result = _lookup_stale(entry, age, now, seq)
    if isinstance(result, Fresh) and not (young_enough and not min_fresh):
        return Stale(entry, int(age), seq, usable=not entry.must_revalidate)
    return result


def _max_stale(control: Directives) -> float:
    """Seconds of staleness that the request accepts, -1 for none (RFC 9111 section 5.2.1.2)."""
    if b"max-stale" not in control:
        return -1.0
    return math.inf if control[b"max-stale"] is None else float(seconds(control, b"max-stale") or 0)

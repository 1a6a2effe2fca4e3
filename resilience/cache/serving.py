"""What a request may be given of what is stored: RFC 9111 section 4, as pure functions. Times are Unix seconds."""

import math

from resilience.cache import fields
from resilience.cache.directives import Directives, seconds
from resilience.cache.entry import Entry
from resilience.cache.messages import ORIGIN_CONDITIONS, CacheRequest, Forward, Fresh, LookupResult, Miss, Stale
from resilience.cache.variants import select


def bypass_reason(asked: CacheRequest) -> Forward | None:
    """Why this request has nothing to do with the cache, neither getting from it nor adding to it; None if it has.

    Only GET and HEAD are answered from it (RFC 9111 section 4); `no-store` asks to leave no trace (section 5.2.1.5).
    Some conditions only the backend may judge (section 4.3.2).
    """
    if asked.method not in ("GET", "HEAD"):
        return Forward.METHOD
    if asked.cache_fields and (b"no-store" in asked.control or not asked.cache_fields.isdisjoint(ORIGIN_CONDITIONS)):
        return Forward.REQUEST
    return None


def only_if_cached(asked: CacheRequest) -> bool:
    """Would this request rather have an error than wait for a backend (RFC 9111 section 5.2.1.7)?"""
    return bool(asked.cache_fields) and b"only-if-cached" in asked.control


def lookup(entry: Entry | None, asked: CacheRequest, now: float, seq: int = 0) -> LookupResult:
    """May the stored answer be given to this request (RFC 9111 section 4)?"""
    refusal = bypass_reason(asked)
    if refusal:
        return Miss(refusal, seq)
    if entry is None:
        return Miss(Forward.URI_MISS, seq)
    if entry.vary:
        chosen = select(entry, asked.headers)
        if chosen is None:
            return Miss(Forward.VARY_MISS, seq, fields.variant(asked.headers, entry.vary))
        entry = chosen
    age = max(0.0, now - entry.generated_at)
    if asked.cache_fields:
        control = asked.control
        if control:
            return _as_requested(entry, control, age, now, seq)
    if now < entry.fresh_until:
        return Fresh(entry, int(age))
    return _ended(entry, age, now, seq)


def _ended(entry: Entry, age: float, now: float, seq: int) -> LookupResult:
    """The verdict on an entry past its freshness (RFC 9111 section 4.2.4, RFC 5861 section 3)."""
    if now < entry.refresh_until and not entry.must_revalidate:
        return Fresh(entry, int(age), stale=True, refresh=True, seq=seq)
    if now < entry.stale_until or now < entry.kept_until:
        return Stale(entry, int(age), seq, usable=now < entry.stale_until and not entry.must_revalidate)
    return Miss(Forward.STALE, seq)


def _as_requested(entry: Entry, control: Directives, age: float, now: float, seq: int) -> LookupResult:
    """The verdict on a request with directives of its own (RFC 9111 section 5.2.1)."""
    if b"no-cache" in control:
        return Stale(entry, int(age), seq, usable=False, reason=Forward.REQUEST)
    wanted, oldest = seconds(control, b"min-fresh") or 0, seconds(control, b"max-age")
    over = now - entry.fresh_until
    young = oldest is None or age < oldest
    if over < 0 and over <= -wanted and young:
        return Fresh(entry, int(age))
    if young and not entry.must_revalidate and 0 <= over <= _tolerated(control) and now < entry.expires_at:
        return Fresh(entry, int(age), stale=True)
    if over < 0:  # fresh, but not for this one
        return Stale(entry, int(age), seq, usable=not entry.must_revalidate, reason=Forward.REQUEST)
    verdict = _ended(entry, age, now, seq)
    if isinstance(verdict, Fresh) and not (young and not wanted):
        return Stale(entry, int(age), seq, usable=not entry.must_revalidate)
    return verdict


def _tolerated(control: Directives) -> float:
    """Seconds of staleness that the request puts up with (RFC 9111 section 5.2.1.2)."""
    if b"max-stale" not in control:
        return -1.0
    return math.inf if control[b"max-stale"] is None else float(seconds(control, b"max-stale") or 0)

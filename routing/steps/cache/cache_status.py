"""X-Cache and Cache-Status (RFC 9211): what the cache did with a request, and why."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from resilience.cache.messages import Forward, Fresh
from routing.exchange import CacheOutcome, CacheSlot

MEMORY_HIT: Final = CacheOutcome("HIT")
"""A hit whose Cache-Status is among the memoised header fields."""
ONLY_IF_CACHED: Final = CacheOutcome("MISS", "gateway; detail=only-if-cached")


def fresh(ttl: int, ignored: Sequence[str] = ()) -> str:
    """A hit that stays fresh for `ttl` seconds, of a response with words that were ignored."""
    return f"gateway; hit; ttl={ttl}{_ignored(ignored)}"


def hit(result: Fresh, now: float) -> CacheOutcome:
    """A stored response was served. A stale one has a negative ttl (RFC 9211 section 2.4)."""
    until = result.entry.fresh_until
    ttl = int(until - now) if until else -result.age
    if not result.stale:
        return CacheOutcome("HIT", fresh(ttl, result.entry.ignored))
    text = fresh(ttl)
    return CacheOutcome("STALE", f"{text}; detail={'stale-while-revalidate' if result.refresh else 'max-stale'}")


def collapsed(reason: Forward) -> CacheOutcome:
    """Answered by another request's fetch (RFC 9211 section 2.6)."""
    return CacheOutcome("HIT", f"gateway; fwd={reason}; collapsed")


def forward_reason(slot: CacheSlot) -> Forward:
    """Why the request was forwarded (RFC 9211 section 2.2)."""
    return Forward.STALE if isinstance(slot.result, Fresh) else slot.result.reason


@lru_cache(maxsize=32)
def forward(reason: Forward, detail: str = "") -> CacheOutcome:
    """Forwarded to the backend (RFC 9211 section 2.2)."""
    bypassed = reason in (Forward.BYPASS, Forward.METHOD)
    return CacheOutcome("BYPASS" if bypassed else "MISS", f"gateway; fwd={reason}{_detail(detail)}")


def stored(outcome: CacheOutcome, ttl: float, ignored: Sequence[str] = ()) -> CacheOutcome:
    return CacheOutcome(outcome.x_cache, f"{outcome.cache_status}; stored; ttl={int(ttl)}{_ignored(ignored)}")


def not_stored(outcome: CacheOutcome, reason: str) -> CacheOutcome:
    return CacheOutcome(outcome.x_cache, outcome.cache_status + _detail(reason))


def revalidated(reason: Forward) -> CacheOutcome:
    """The backend has confirmed the stored response (RFC 9211 section 2.3)."""
    return CacheOutcome("REVALIDATED", f"gateway; fwd={reason}; fwd-status=304")


def stale_for_error(code: str) -> CacheOutcome:
    """A stale response instead of an error of the gateway's."""
    return CacheOutcome("STALE", f"gateway; hit; detail={code}")


def stale_for_status(reason: Forward, status: int) -> CacheOutcome:
    """A stale response instead of the backend's failure."""
    return CacheOutcome("STALE", f"gateway; fwd={reason}; fwd-status={status}; detail=stale-if-error")


def _ignored(words: Sequence[str]) -> str:
    """The words of the response that the cache was configured to ignore."""
    return _detail(f"ignored {', '.join(words)}") if words else ""


def _detail(text: str) -> str:
    """A token as it is, anything else as a string (RFC 9211 section 2.8)."""
    if not text:
        return ""
    return f"; detail={text}" if text.isidentifier() else f'; detail="{text}"'

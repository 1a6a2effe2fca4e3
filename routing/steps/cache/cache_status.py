"""Cache-Status (RFC 9211): what the cache did with a request, and why, in the field's own words."""

from functools import lru_cache

from resilience.cache.messages import Forward, Fresh
from routing.exchange import Exchange


def fresh(left: int) -> str:
    """Given from the store, `left` seconds before it would have been stale."""
    return f"gateway; hit; ttl={left}"


def hit(exchange: Exchange, found: Fresh) -> None:
    """Given from the store. A stale answer has a negative ttl (RFC 9211 section 2.4)."""
    left = int(found.entry.fresh_until - exchange.received_at) if found.entry.fresh_until else -found.age
    why = "; detail=stale-while-revalidate" if found.refresh else "; detail=max-stale"
    exchange.cache = "STALE" if found.stale else "HIT"
    exchange.cache_status = fresh(left) + (why if found.stale else "")


def collapsed(exchange: Exchange, reason: Forward) -> None:
    """Answered by another request's fetch (RFC 9211 section 2.6)."""
    exchange.cache, exchange.cache_status = "HIT", f"gateway; fwd={reason}; collapsed"


def forward(exchange: Exchange, reason: Forward, detail: str = "") -> None:
    """Gone on to the backend (RFC 9211 section 2.2)."""
    exchange.cache, exchange.cache_status = _forwarded(reason, detail)


@lru_cache(maxsize=32)
def _forwarded(reason: Forward, detail: str) -> tuple[str, str]:
    bypassed = reason in (Forward.BYPASS, Forward.METHOD)
    return "BYPASS" if bypassed else "MISS", f"gateway; fwd={reason}{_detail(detail)}"


def stored(exchange: Exchange, ttl: float) -> None:
    exchange.cache_status += f"; stored; ttl={int(ttl)}"


def not_stored(exchange: Exchange, why: str) -> None:
    exchange.cache_status += _detail(why)


def revalidated(exchange: Exchange, reason: Forward) -> None:
    """The backend has said that the stored answer still holds (RFC 9211 section 2.3)."""
    exchange.cache = "REVALIDATED"
    exchange.cache_status = f"gateway; fwd={reason}; fwd-status=304"


def instead(exchange: Exchange, code: str) -> None:
    """A stale answer in the place of a failure: the gateway's own, or no call at all."""
    exchange.cache, exchange.cache_status = "STALE", f"gateway; hit; detail={code}"


def instead_of(exchange: Exchange, reason: Forward, status: int) -> None:
    """A stale answer in the place of the backend's."""
    exchange.cache = "STALE"
    exchange.cache_status = f"gateway; fwd={reason}; fwd-status={status}; detail=stale-if-error"


def _detail(text: str) -> str:
    """A token as it is, anything else as a string (RFC 9211 section 2.8)."""
    if not text:
        return ""
    return f"; detail={text}" if text.isidentifier() else f'; detail="{text}"'

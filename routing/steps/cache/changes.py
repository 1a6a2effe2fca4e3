"""Step 8: whether a response that is stored differs from the one before it, for advice on the cache's `ttl`.

A worker remembers a digest of the latest response for each key, of a bounded number of keys, and while it runs. A stale
response that is still stored is compared itself, whichever worker stored it.
"""

from typing import Final

from resilience.cache.entry import Entry
from resilience.cache.messages import Stale, Storable
from resilience.memo import TwoGenerationMemo
from routing.exchange import CacheSlot, Exchange
from routing.observability.events import Observers, Refetched

MAX_KEYS: Final = 5_000
"""Keys in each of the memo's two generations. A key that is fetched only once is not admitted."""
TOLERANCE: Final = 1.0
"""Seconds by which lifetimes and intervals may differ: dates have whole seconds."""


class ChangeLog:
    """Called after a fetch, never for a hit. Times are Unix seconds."""

    def __init__(self, observers: Observers, max_keys: int = MAX_KEYS) -> None:
        self._observers = observers
        self._latest: TwoGenerationMemo[tuple[str, bytes], tuple[int, float]] = TwoGenerationMemo(max_keys)

    def stored(self, exchange: Exchange, slot: CacheSlot, storable: Storable, body: bytes, at: float) -> None:
        """A response with this body was received at `at`, and has been stored."""
        key, digest = (slot.target.key, storable.variant), hash(body)
        known = self._latest.get(key)
        self._latest.put(key, (digest, at))
        if isinstance(slot.result, Stale):
            known = hash(slot.result.entry.body), slot.result.entry.stored_at
        if known is not None:
            lifetime = storable.fresh_until - storable.freshness.generated_at
            self._report(exchange, slot, at - known[1], lifetime, changed=known[0] != digest)

    def confirmed(self, exchange: Exchange, slot: CacheSlot, earlier: Entry, now: Entry) -> None:
        """The backend has confirmed, with a 304, that the stored response is still valid."""
        self._latest.put((slot.target.key, now.variant), (hash(now.body), now.stored_at))
        lifetime = now.fresh_until - now.generated_at
        self._report(exchange, slot, now.stored_at - earlier.stored_at, lifetime, changed=False)

    def _report(self, exchange: Exchange, slot: CacheSlot, interval: float, lifetime: float, *, changed: bool) -> None:
        """Fetches before the response had expired are left out: it was invalidated, or a client did not want it."""
        if interval <= 0 or interval < lifetime - TOLERANCE:
            return
        by_policy = abs(lifetime - slot.target.policy.ttl) <= TOLERANCE
        route = exchange.match.pattern
        self._observers.refetched(Refetched(slot.target.service, route, interval, changed, by_policy))

"""Asking a backend whether a stored answer still holds, and acting on what it says."""

import logging
from collections.abc import Iterable

from resilience.cache import validation
from resilience.cache.driver import Cache
from resilience.cache.messages import CONDITIONS, CacheResponse, Fresh, Miss, Stale
from resilience.outage import StoreUnavailable
from routing.exchange import CacheSlot, Exchange
from routing.steps.cache import cache_status

log = logging.getLogger(__name__)


class Revalidation:
    """RFC 9111 sections 4.3 and 4.4 between a cache and its backends."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def prepare(self, exchange: Exchange, place: CacheSlot) -> None:
        """Have the call ask about what is stored, if it has anything to ask by (RFC 9111 section 4.3.1)."""
        found = place.found
        if isinstance(found, Stale) and validation.conditions(found.entry):
            exchange.conditional_headers = validation.conditional(exchange.request.headers, found.entry)

    async def confirmed(self, exchange: Exchange, place: CacheSlot, answered: CacheResponse) -> Fresh | None:
        """The stored answer, brought up to date by this 304. None: it is about another one, so the backend has to be
        asked again, without conditions of ours (RFC 9111 section 4.3.4).
        """
        found = place.found
        assert isinstance(found, Stale)  # noqa: S101 - nothing else is asked about
        if not validation.is_about(found.entry, answered):
            place.found = Miss(found.reason, found.seq)
            exchange.conditional_headers = [pair for pair in exchange.request.headers if pair[0] not in CONDITIONS]
            return None
        entry, kept = await self._cache.update_from_304(place.spot, place.asked, found, answered)
        cache_status.revalidated(exchange, found.reason)
        if kept:
            cache_status.stored(exchange, entry.fresh_until - answered.at if entry.fresh_until else 0)
        return Fresh(entry, max(0, int(answered.at - entry.generated_at)))

    async def compared(self, place: CacheSlot, answered: CacheResponse) -> None:
        """What the answer to a HEAD tells of the stored answer to a GET: that it holds, or not (section 4.3.5)."""
        found = place.found
        if place.asked.method != "HEAD" or answered.status != 200 or not isinstance(found, Stale):
            return
        if validation.head_agrees(found.entry, answered):
            await self._cache.update_from_304(place.spot, place.asked, found, answered)
        else:
            await self.taken_back(place.spot.service, [tag for tag in place.spot.tags if tag.startswith("uri:")])

    async def taken_back(self, service: str, tags: Iterable[str]) -> None:
        """Take back all with these tags, as well as can be."""
        try:
            await self._cache.invalidate(service, tags)
        except StoreUnavailable:
            log.warning("tags of %s could not be taken back: the store is away", service)

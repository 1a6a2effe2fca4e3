"""Revalidation: asks a backend whether a stored response is still valid, and acts on its response."""

import logging
from collections.abc import Iterable
from functools import partial

from resilience.cache import validation
from resilience.cache.driver import Cache, UpdatedEntry
from resilience.cache.messages import CACHE_CONDITIONS, CacheResponse, Fresh, Stale
from resilience.cache.policy import Scope
from resilience.outage import StoreUnavailable
from routing.exchange import CacheSlot, Exchange
from routing.steps.cache import cache_status
from routing.steps.cache.storable import may_store, passes_unverified

log = logging.getLogger(__name__)


class Revalidation:
    """RFC 9111 sections 4.3 and 4.4 between a cache and its backends."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def prepare(self, exchange: Exchange, slot: CacheSlot) -> None:
        """Make the call conditional, if the stored response has a validator (RFC 9111 section 4.3.1)."""
        stored = slot.result
        if isinstance(stored, Stale) and slot.request.can_validate and validation.validation_fields(stored.entry):
            slot.headers, slot.validates = validation.with_conditions(exchange.request.headers, stored.entry), True

    async def confirm(self, exchange: Exchange, slot: CacheSlot, response: CacheResponse) -> Fresh | None:
        """The stored response, freshened by this 304. None: the 304 selects another one, so the backend has to be
        asked again without the gateway's conditions (RFC 9111 section 4.3.4).
        """
        stored = slot.result
        assert isinstance(stored, Stale)  # noqa: S101 - only stale responses are revalidated
        if not validation.is_selected_by(stored.entry, response):
            # It remains for a failure of the second call, and until that call's response takes its place.
            slot.headers = [pair for pair in exchange.request.headers if pair[0] not in CACHE_CONDITIONS]
            slot.validates = False
            exchange.rewind()
            return None
        entry, kept = await self._update(exchange, slot, stored, response)
        exchange.cache = cache_status.revalidated(stored.reason)
        if kept:
            ttl = entry.fresh_until - response.received_at if entry.fresh_until else 0
            exchange.cache = cache_status.stored(exchange.cache, ttl, entry.ignored)
        return Fresh(entry, max(0, int(response.received_at - entry.generated_at)))

    async def compare_head(self, exchange: Exchange, slot: CacheSlot, response: CacheResponse) -> None:
        """Freshen the stored response to a GET by the response to a HEAD, or invalidate it (section 4.3.5)."""
        stored = slot.result
        if slot.request.method != "HEAD" or response.status != 200 or not isinstance(stored, Stale):
            return
        if validation.matches_head(stored.entry, response):
            await self._update(exchange, slot, stored, response)
        else:
            await self.invalidate(slot.target.service, [tag for tag in slot.target.tags if tag.startswith("uri:")])

    async def _update(
        self, exchange: Exchange, slot: CacheSlot, stored: Stale, response: CacheResponse
    ) -> UpdatedEntry:
        """One caller's credential, which only the backend has checked, says nothing about what others may get."""
        unverified = passes_unverified(exchange)
        return await self._cache.update_from_304(
            slot.target,
            slot.request,
            stored,
            response,
            partial(may_store, unverified=unverified),
            may_supersede=slot.target.scope is Scope.USER or not unverified,
        )

    async def invalidate(self, service: str, tags: Iterable[str]) -> None:
        """Invalidate the entries with any of these tags. Logged where the store is unavailable."""
        try:
            await self._cache.invalidate(service, tags)
        except StoreUnavailable:
            log.warning("tags of %s could not be invalidated: the store is unavailable", service)

"""The cache in two tiers: this process's memory over Redis. It also defines what happens while Redis is unavailable."""

import contextlib
from collections import defaultdict
from typing import Final

import msgspec

from resilience.cache.entry import Entry, all_tags
from resilience.cache.invalidation import Fences
from resilience.cache.leases import ClaimResult, Release
from resilience.cache.memory import MEMORY_BYTES, MemoryTier
from resilience.cache.owed import OwedInvalidations
from resilience.cache.redis import (
    INVALIDATION_CHANNEL,
    REPLACEMENT_CHANNEL,
    InvalidationNotice,
    RedisStore,
    ReplacementNotice,
)
from resilience.cache.store import UNFENCED, Invalidation, InvalidationListener, StoredEntry, StoreUsage, index
from resilience.doorkeeper import Doorkeeper
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from resilience.task_set import TaskSet

MAX_ENTRY_BYTES: Final = 256 * 1_024
"""Larger entries stay in Redis only: one of them would evict hundreds of small ones from memory."""
DOORKEEPER_SPAN: Final = 8_192
"""How many lookups ago a key must have been looked up to be admitted to a memory that is full: about as many as it has
entries. A less frequent key would be evicted before its next use.
"""


class TieredStore:
    """Redis is authoritative. Memory holds copies while the feed of invalidations is alive, and else is not used.

    While Redis is unavailable, nothing is found or stored, without an error. Only an invalidation raises
    StoreUnavailable; it is performed later, and until then nothing of its service is found or stored by this process.
    """

    def __init__(self, link: RedisLink, limit: int = MEMORY_BYTES) -> None:
        """Must precede `link.start()`, since it listens to the feed."""
        self.memory = MemoryTier(limit)
        self.listeners: list[InvalidationListener] = []
        self.lost_gets = 0
        self.lost_puts = 0
        self._redis = RedisStore(link)
        self._feed = link.feed
        self._doorkeeper = Doorkeeper(DOORKEEPER_SPAN)
        self._fences: defaultdict[str, Fences] = defaultdict(Fences)
        self._epoch = 0
        self._removals = TaskSet()
        self._owed = OwedInvalidations(self._invalidate)
        self._notices = msgspec.json.Decoder(InvalidationNotice)
        self._replacements = msgspec.json.Decoder(ReplacementNotice)
        link.on_available(self._perform_owed)
        link.feed.listen(INVALIDATION_CHANNEL, self._on_notice)
        link.feed.listen(REPLACEMENT_CHANNEL, self._on_replacement)
        link.feed.subscribe(on_up=self._clear, on_down=self._clear)

    def peek(self, service: str, key: str) -> Entry | None:
        return self.memory.get(service, key) if self._feed.alive else None

    @property
    def lost_entries(self) -> int:
        """Stored responses that were not served, since an invalidation may have missed them."""
        return self._redis.lost_entries

    async def get(self, service: str, key: str) -> StoredEntry:
        return (await self.get_or_claim(service, key, ""))[0]

    async def get_or_claim(self, service: str, key: str, owner: str) -> tuple[StoredEntry, ClaimResult | None]:
        epoch, seen_before = self._epoch, self._doorkeeper.seen_before(key)
        if service in self._owed and not await self._owed.perform(service):
            self.lost_gets += 1
            return StoredEntry(None, UNFENCED), None
        try:
            stored, claim = await self._redis.get_or_claim(service, key, owner)
        except StoreUnavailable:
            self.lost_gets += 1
            return StoredEntry(None, UNFENCED), None
        if stored.entry is not None and (seen_before or self.memory.has_capacity_for(service, key, stored.entry)):
            self._copy(service, key, stored.entry, stored.seq, epoch)
        return stored, claim

    async def put(self, service: str, key: str, entry: Entry, seq: int, release: Release | None = None) -> bool:
        epoch = self._epoch
        if service in self._owed:
            self.lost_puts += 1
            return False
        try:
            is_stored = await self._redis.put(service, key, entry, seq, release)
        except StoreUnavailable:
            self.lost_puts += 1
            return False
        if is_stored and self.memory.has_capacity_for(service, key, entry):
            self._copy(service, key, entry, seq, epoch)
        return is_stored

    async def invalidate(self, service: str, tag: str | None = None) -> Invalidation:
        """Raises StoreUnavailable if Redis was not invalidated, or not completely; then only this process was, until
        the service is looked up, or Redis is back.
        """
        try:
            return await self._invalidate(service, tag)
        except StoreUnavailable:
            self._owed.add(service, tag)
            await self.memory.remove_tagged(service, index(service, tag))
            raise

    async def _invalidate(self, service: str, tag: str | None) -> Invalidation:
        invalidation = await self._redis.invalidate(service, tag)
        self._fences[service].record(index(service, tag), invalidation.seq)
        await self.memory.remove_tagged(service, index(service, tag))
        for listener in self.listeners:
            listener(service, index(service, tag))
        return invalidation

    async def drop_copies(self, service: str, key: str) -> None:
        with contextlib.suppress(StoreUnavailable):  # then the feed is lost too, and the others clear their memory
            await self._redis.drop_copies(service, key)

    async def usage(self, service: str, tag: str | None = None) -> StoreUsage:
        """Raises StoreUnavailable."""
        return await self._redis.usage(service, tag)

    def _copy(self, service: str, key: str, entry: Entry, seq: int, epoch: int) -> None:
        """Copy an entry of Redis to memory, unless it has been invalidated since, or the feed may have missed that."""
        missed_nothing = self._feed.alive and epoch == self._epoch
        if missed_nothing and self._fences[service].allows(all_tags(service, entry), seq):
            self.memory.add(service, key, entry, MAX_ENTRY_BYTES)

    def _on_notice(self, message: bytes) -> None:
        notice = self._notices.decode(message)
        # The fence first: an entry fetched before must not be copied after the removal.
        self._fences[notice.service].record(notice.tag, notice.seq)
        self._removals.create(self.memory.remove_tagged(notice.service, notice.tag))

    def _on_replacement(self, message: bytes) -> None:
        notice = self._replacements.decode(message)
        self._epoch += 1  # what is being read now may be the older entry
        self.memory.remove((notice.service, notice.key))

    def _perform_owed(self) -> None:
        if self._owed:
            self._removals.create(self._owed.perform_all())

    def _clear(self) -> None:
        """The feed was lost or is back: invalidations may have been missed, so clear the memory."""
        self._epoch += 1
        self.memory.clear()

"""Two tiers: this process's memory over Redis. What to do when Redis is away is decided here, once."""

from collections import defaultdict
from typing import Final

import msgspec

from resilience.cache.entry import Entry
from resilience.cache.fences import Fences
from resilience.cache.memory import MEMORY_BYTES, MemoryTier
from resilience.cache.redis import CHANNEL, InvalidationNotice, RedisStore
from resilience.cache.store import UNFENCED, Invalidation, InvalidationListener, StoredEntry, Usage, all_tags
from resilience.doorkeeper import Doorkeeper
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from resilience.task_set import TaskSet

NEAR_BYTES: Final = 256 * 1_024
"""An entry above this is left to Redis: one such would push out hundreds of small ones."""
LATELY: Final = 8_192
"""Look-ups within which a key must come again to be taken into a memory that is full: about as many as it has entries.
What is asked for less often would have gone before it was asked for."""


class TieredStore:
    """Redis has the say; the memory repeats it while the feed of invalidations is alive, and else is silent and empty.

    Redis away: nothing is found, nothing is kept, nobody fails. Only an invalidation says that it could not be made.
    """

    def __init__(self, link: RedisLink, limit: int = MEMORY_BYTES) -> None:
        """Before `link.start()`: it listens to the feed."""
        self.memory = MemoryTier(limit)
        self.listeners: list[InvalidationListener] = []
        self.lost_gets = 0
        self.lost_puts = 0
        self._redis = RedisStore(link)
        self._feed = link.feed
        self._doorkeeper = Doorkeeper(LATELY)
        self._fences: defaultdict[str, Fences] = defaultdict(Fences)
        self._epoch = 0
        self._dropping = TaskSet()
        self._notices = msgspec.json.Decoder(InvalidationNotice)
        link.feed.listen(CHANNEL, self._hear)
        link.feed.subscribe(on_up=self._begin_anew, on_down=self._begin_anew)

    def peek(self, service: str, key: str) -> Entry | None:
        return self.memory.get(service, key) if self._feed.alive else None

    async def get(self, service: str, key: str) -> StoredEntry:
        epoch, again = self._epoch, self._doorkeeper.seen_before(key)
        try:
            found = await self._redis.get(service, key)
        except StoreUnavailable:
            self.lost_gets += 1
            return StoredEntry(None, UNFENCED)
        if found.entry is not None and (again or self.memory.has_capacity_for(service, key, found.entry)):
            self._repeat(service, key, found.entry, found.seq, epoch)
        return found

    async def put(self, service: str, key: str, entry: Entry, seq: int) -> bool:
        epoch = self._epoch
        try:
            kept = await self._redis.put(service, key, entry, seq)
        except StoreUnavailable:
            self.lost_puts += 1
            return False
        if kept and self.memory.has_capacity_for(service, key, entry):
            self._repeat(service, key, entry, seq, epoch)
        return kept

    async def invalidate(self, service: str, tag: str | None = None) -> Invalidation:
        """Raises StoreUnavailable when Redis could not be told, or not to the end: then only this process obeys."""
        try:
            gone = await self._redis.invalidate(service, tag)
        except StoreUnavailable:
            await self._let_go(service, tag or service)
            raise
        self._fences[service].record(tag or service, gone.seq)
        await self._let_go(service, tag or service)
        for listener in self.listeners:
            listener(service, tag or service)
        return gone

    async def usage(self, service: str, tag: str | None = None) -> Usage:
        """Raises StoreUnavailable when Redis cannot be asked."""
        return await self._redis.usage(service, tag)

    def _repeat(self, service: str, key: str, entry: Entry, seq: int, epoch: int) -> None:
        """Keep near what Redis has, unless an invalidation overtook it, or may have while the feed was cut."""
        heard_all = self._feed.alive and epoch == self._epoch
        if heard_all and self._fences[service].allows(all_tags(service, entry), seq):
            self.memory.add(service, key, entry, NEAR_BYTES)

    def _hear(self, message: bytes) -> None:
        notice = self._notices.decode(message)
        self._fences[notice.service].record(notice.tag, notice.seq)
        self._dropping.create(self._let_go(notice.service, notice.tag))

    async def _let_go(self, service: str, tag: str) -> None:
        """After its fence is raised: what was fetched before cannot come back behind it."""
        await self.memory.remove_tagged(service, tag)

    def _begin_anew(self) -> None:
        """The feed fell or stands again: what was missed meanwhile is unknown, so nothing from before is trusted."""
        self._epoch += 1
        self.memory.clear()

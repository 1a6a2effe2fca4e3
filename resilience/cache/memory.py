"""Cache entries in this process: limited in bytes, evicted by least recent use, indexed by tag."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Final

from resilience.cache.entry import Entry, all_tags
from resilience.cache.invalidation import Fences
from resilience.cache.leases import Release
from resilience.cache.store import Invalidation, InvalidationListener, StoredEntry, StoreUsage, index

MEMORY_BYTES: Final = 64 * 1_024 * 1_024
REMOVALS_PER_TURN: Final = 100
"""Entries removed before the event loop gets a turn: about half a millisecond."""

_Location = tuple[str, str]
"""A service and a key."""


class MemoryTier:
    """Entries by service and key, indexed by exactly the tags of its entries. It checks neither expiry nor fences."""

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self.bytes = 0
        self._limit = limit
        self._entries: OrderedDict[_Location, Entry] = OrderedDict()
        self._sizes: dict[_Location, int] = {}
        self._by_tag: defaultdict[tuple[str, str], set[_Location]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, service: str, key: str) -> Entry | None:
        location = (service, key)
        entry = self._entries.get(location)
        if entry is not None:
            self._entries.move_to_end(location)
        return entry

    def add(self, service: str, key: str, entry: Entry, max_size: int | None = None) -> None:
        """Store the entry, replacing an earlier one, and evict until the limit is met. An entry above `max_size` bytes
        or the limit is not stored.
        """
        location = (service, key)
        self.remove(location)
        size = entry.size
        if size > self._limit or (max_size is not None and size > max_size):
            return
        self._entries[location] = entry
        self._sizes[location] = size
        self.bytes += size
        for tag in all_tags(service, entry):
            self._by_tag[service, tag].add(location)
        while self.bytes > self._limit:
            self.remove(next(iter(self._entries)))

    def has_capacity_for(self, service: str, key: str, entry: Entry) -> bool:
        """Whether the entry can be stored without evicting another key's."""
        free = self._limit - self.bytes  # the body alone may exceed it, which spares computing the size
        return (len(entry.body) <= free and entry.size <= free) or (service, key) in self._entries

    def remove(self, location: _Location) -> Entry | None:
        entry = self._entries.pop(location, None)
        if entry is None:
            return None
        self.bytes -= self._sizes.pop(location)
        for tag in all_tags(location[0], entry):
            locations = self._by_tag[location[0], tag]
            locations.discard(location)
            if not locations:
                del self._by_tag[location[0], tag]
        return entry

    async def remove_tagged(self, service: str, tag: str) -> list[Entry]:
        """Remove and return all entries with this tag, yielding to the event loop in between."""
        removed = []
        for number, location in enumerate(list(self._by_tag.get((service, tag), ())), 1):
            removed.append(self.remove(location))
            if number % REMOVALS_PER_TURN == 0:
                await asyncio.sleep(0)
        return [entry for entry in removed if entry is not None]

    def with_tag(self, service: str, tag: str) -> list[Entry]:
        return [self._entries[location] for location in self._by_tag.get((service, tag), ())]

    def oldest(self, count: int) -> list[tuple[_Location, Entry]]:
        """Up to `count` of the least recently used entries."""
        return [item for item, _ in zip(self._entries.items(), range(count), strict=False)]

    def clear(self) -> None:
        self._entries.clear()
        self._sizes.clear()
        self._by_tag.clear()
        self.bytes = 0

    @property
    def tags(self) -> int:
        """The number of tags in the index."""
        return len(self._by_tag)


class MemoryStore:
    """The cache of a gateway without Redis, which has a single process."""

    def __init__(self, clock: Callable[[], float], limit: int = MEMORY_BYTES) -> None:
        self.memory = MemoryTier(limit)
        self.listeners: list[InvalidationListener] = []
        self._clock = clock
        self._seq = 0
        self._fences: defaultdict[str, Fences] = defaultdict(Fences)

    def peek(self, service: str, key: str) -> Entry | None:
        entry = self.memory.get(service, key)
        if entry is not None and entry.fresh_until <= (now := self._clock()) and entry.expires_at <= now:
            self.memory.remove((service, key))
            return None
        return entry

    async def get(self, service: str, key: str) -> StoredEntry:
        return StoredEntry(self.peek(service, key), self._seq)

    async def get_or_claim(self, service: str, key: str, owner: str) -> tuple[StoredEntry, None]:  # noqa: ARG002 - there are no other workers
        return await self.get(service, key), None

    async def put(self, service: str, key: str, entry: Entry, seq: int, release: Release | None = None) -> bool:  # noqa: ARG002 - as above
        self._remove_expired()
        if seq < 0 or not self._fences[service].allows(all_tags(service, entry), seq):
            return False
        self.memory.add(service, key, entry)
        return True

    async def invalidate(self, service: str, tag: str | None = None) -> Invalidation:
        self._seq = seq = self._seq + 1
        self._fences[service].record(index(service, tag), seq)
        now = self._clock()
        removed = await self.memory.remove_tagged(service, index(service, tag))
        for listener in self.listeners:
            listener(service, index(service, tag))
        return Invalidation(sum(entry.expires_at > now for entry in removed), seq)

    async def drop_copies(self, service: str, key: str) -> None:
        """There are no others."""

    async def usage(self, service: str, tag: str | None = None) -> StoreUsage:
        now = self._clock()
        unexpired = [entry for entry in self.memory.with_tag(service, index(service, tag)) if entry.expires_at > now]
        return StoreUsage(len(unexpired), sum(entry.size for entry in unexpired))

    def _remove_expired(self) -> None:
        """Check the two least recently used entries, on every put: expired entries are removed without a timer."""
        now = self._clock()
        for location, entry in self.memory.oldest(2):
            if entry.expires_at <= now:
                self.memory.remove(location)

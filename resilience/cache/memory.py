"""Entries in this process: bounded in bytes, the least recently used out first, found again by tag."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Final

from resilience.cache.entry import Entry
from resilience.cache.fences import Fences
from resilience.cache.store import Invalidation, InvalidationListener, StoredEntry, Usage, all_tags

MEMORY_BYTES: Final = 64 * 1_024 * 1_024
AT_ONCE: Final = 100
"""Entries let go before others have their turn: half a millisecond's work."""

_Place = tuple[str, str]


class MemoryTier:
    """Entries by service and key, with an index by tag that holds exactly what is there. No time, no fences."""

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self.bytes = 0
        self._limit = limit
        self._entries: OrderedDict[_Place, Entry] = OrderedDict()
        self._sizes: dict[_Place, int] = {}
        self._places: defaultdict[tuple[str, str], set[_Place]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, service: str, key: str) -> Entry | None:
        place = (service, key)
        entry = self._entries.get(place)
        if entry is not None:
            self._entries.move_to_end(place)
        return entry

    def add(self, service: str, key: str, entry: Entry, largest: int | None = None) -> None:
        """Keep it, in place of what was there, and let go of the longest unused if that is too much. One of more than
        `largest` bytes is not kept, nor one that is larger than the shelf.
        """
        place = (service, key)
        self.remove(place)
        size = entry.size
        if size > self._limit or (largest is not None and size > largest):
            return
        self._entries[place] = entry
        self._sizes[place] = size
        self.bytes += size
        for tag in all_tags(service, entry):
            self._places[service, tag].add(place)
        while self.bytes > self._limit:
            self.remove(next(iter(self._entries)))

    def has_capacity_for(self, service: str, key: str, entry: Entry) -> bool:
        """Whether to keep it, no other key's entry need go."""
        free = self._limit - self.bytes  # a body alone may be too much, which is known without adding up the rest
        return (len(entry.body) <= free and entry.size <= free) or (service, key) in self._entries

    def remove(self, place: _Place) -> Entry | None:
        entry = self._entries.pop(place, None)
        if entry is None:
            return None
        self.bytes -= self._sizes.pop(place)
        for tag in all_tags(place[0], entry):
            places = self._places[place[0], tag]
            places.discard(place)
            if not places:
                del self._places[place[0], tag]
        return entry

    async def remove_tagged(self, service: str, tag: str) -> list[Entry]:
        """Let go of everything with this tag, and say what it was. A few at a time: whoever else is served by this
        process waits for none of it."""
        dropped = []
        for number, place in enumerate(list(self._places.get((service, tag), ())), 1):
            dropped.append(self.remove(place))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return [entry for entry in dropped if entry is not None]

    def with_tag(self, service: str, tag: str) -> list[Entry]:
        return [self._entries[place] for place in self._places.get((service, tag), ())]

    def oldest(self, count: int) -> list[tuple[_Place, Entry]]:
        """Up to `count` of the longest unused."""
        return [item for item, _ in zip(self._entries.items(), range(count), strict=False)]

    def clear(self) -> None:
        self._entries.clear()
        self._sizes.clear()
        self._places.clear()
        self.bytes = 0

    @property
    def tags(self) -> int:
        """How many tags the index knows: none that no entry has."""
        return len(self._places)


class MemoryStore:
    """The whole cache of a gateway without Redis: one process, its own count of invalidations."""

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

    async def put(self, service: str, key: str, entry: Entry, seq: int) -> bool:
        self._sweep()
        if seq < 0 or not self._fences[service].allows(all_tags(service, entry), seq):
            return False
        self.memory.add(service, key, entry)
        return True

    async def invalidate(self, service: str, tag: str | None = None) -> Invalidation:
        self._seq = seq = self._seq + 1
        self._fences[service].record(tag or service, seq)
        now = self._clock()
        dropped = await self.memory.remove_tagged(service, tag or service)
        for listener in self.listeners:
            listener(service, tag or service)
        return Invalidation(sum(entry.expires_at > now for entry in dropped), seq)

    async def usage(self, service: str, tag: str | None = None) -> Usage:
        now = self._clock()
        alive = [entry for entry in self.memory.with_tag(service, tag or service) if entry.expires_at > now]
        return Usage(len(alive), sum(entry.size for entry in alive))

    def _sweep(self) -> None:
        """Each entry that comes looks at two that have long been unused: what expired goes without a timer."""
        now = self._clock()
        for place, entry in self.memory.oldest(2):
            if entry.expires_at <= now:
                self.memory.remove(place)

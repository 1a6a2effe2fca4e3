"""What the cache asks of the place where entries are: a few whole, atomic operations.

Every service's entries, tags and fences are apart from every other's, and every entry carries its service's
name as a tag, so that taking back a whole service is taking back one tag.

The fence: `get` tells the number of the service's latest invalidation; whoever then fetches an answer hands the number
back with it, and `put` refuses the answer when one of its tags was taken back after that number.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from resilience.cache.entry import Entry
from resilience.outage import StoreUnavailable

UNFENCED: Final = -1
"""The number from a store that could not be asked: an answer fetched under it is never stored."""


class StoredEntry(NamedTuple):
    """What is under a key, if anything, and the fence to fetch its successor under."""

    entry: Entry | None
    seq: int


class Invalidation(NamedTuple):
    """How many live entries an invalidation took, and its number."""

    entries: int
    seq: int


class Usage(NamedTuple):
    """Live entries, and the bytes they take."""

    entries: int
    bytes: int


class Store(Protocol):
    """Raises StoreUnavailable where a shared store cannot be reached."""

    async def get(self, service: str, key: str) -> StoredEntry: ...

    async def put(self, service: str, key: str, entry: Entry, seq: int) -> bool:
        """Keep the entry until it `ends`; False if one of its tags was taken back after `seq`."""

    async def invalidate(self, service: str, tag: str | None = None) -> Invalidation:
        """Take back every entry with this tag, or of the whole service, and all that are being fetched now."""

    async def usage(self, service: str, tag: str | None = None) -> Usage:
        """What a tag, or the whole service, has in the store."""


InvalidationListener = Callable[[str, str], None]
"""Told of a service and a tag that were taken back: once in the cluster, by the worker that did it."""


class NearStore(Store, Protocol):
    """A store that may have an answer without waiting."""

    listeners: list[InvalidationListener]

    def peek(self, service: str, key: str) -> Entry | None:
        """The entry, if it is in this process and may be trusted: one look-up, no waiting."""


def all_tags(service: str, entry: Entry) -> tuple[str, ...]:
    """All tags of an entry, its service's name among them. Taken back by one variant's tag, all of them go."""
    tags = entry.tags
    if entry.others:
        tags = tuple(sorted(frozenset(tags).union(*(other.tags for other in entry.others))))
    return tags if service in tags else (*tags, service)


async def holds(store: Store, service: str, key: str) -> bool:
    """Whether a successful answer is kept under the key. False where the store cannot be asked."""
    try:
        entry = (await store.get(service, key)).entry
    except StoreUnavailable:
        return False
    return entry is not None and any(200 <= each.status < 300 for each in (entry, *entry.others))

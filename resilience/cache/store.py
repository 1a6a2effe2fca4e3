"""The port to the store of cache entries: a few atomic operations.

Services have separate entries, tags and fences. Each entry has its service's name as a tag, so that invalidating a
service is invalidating one tag.

Fencing: `get` returns the number of the service's latest invalidation. A response fetched afterwards is stored with
that number, and `put` refuses it if one of its tags has been invalidated since.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple, Protocol, TypeVar, cast

from resilience.cache.entry import Entry
from resilience.cache.leases import ClaimResult, Release
from resilience.outage import StoreUnavailable

T = TypeVar("T")
R = TypeVar("R")

UNFENCED: Final = -1
"""The number returned by an unavailable store. A response fetched with it is never stored."""


class StoredEntry(NamedTuple):
    """The entry under a key, if any, and the fence for storing its replacement."""

    entry: Entry | None
    seq: int


class Invalidation(NamedTuple):
    """How many unexpired entries an invalidation removed, and its number."""

    entries: int
    seq: int


class StoreUsage(NamedTuple):
    """The number of unexpired entries, and their total size."""

    entries: int
    bytes: int


class Store(Protocol):
    """Raises StoreUnavailable."""

    async def get(self, service: str, key: str) -> StoredEntry: ...

    async def get_or_claim(self, service: str, key: str, owner: str) -> tuple[StoredEntry, ClaimResult | None]:
        """Get an entry; if there is none, claim the lease of the same name for `owner` in the same round trip. The
        result of the claim is None where none was made.
        """

    async def put(self, service: str, key: str, entry: Entry, seq: int, release: Release | None = None) -> bool:
        """Store the entry until `expires_at`. False: one of its tags was invalidated after `seq`.

        Once it is stored, the lease of the fetch is released in the same round trip.
        """

    async def invalidate(self, service: str, tag: str | None = None) -> Invalidation:
        """Remove every entry with this tag, or all of the service, and refuse those being fetched now."""

    async def usage(self, service: str, tag: str | None = None) -> StoreUsage:
        """The usage by a tag or by the whole service."""


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """Invalidate for each item, at once, and only then raise what one of them raised: a store that is unavailable
    remembers what it has been asked for.
    """
    results = await asyncio.gather(*map(work, items), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(list[R], results)


def index(service: str, tag: str | None) -> str:
    """The tag that lists the entries with `tag`, or all of the service: every entry has the service's name as a tag."""
    return service if tag is None else tag


InvalidationListener = Callable[[str, str], None]
"""Called with the service and tag of an invalidation, only in the worker that made it."""


class NearStore(Store, Protocol):
    """A store that may have entries in this process's memory."""

    listeners: list[InvalidationListener]

    def peek(self, service: str, key: str) -> Entry | None:
        """The entry, if it is in memory and known not to be invalidated. Does not wait."""

    async def drop_copies(self, service: str, key: str) -> None:
        """Have other processes remove this entry from their memory, since it has been replaced while it was fresh."""


async def holds(store: Store, service: str, key: str) -> bool:
    """Whether a response with a 2xx status is stored under the key. False if the store is unavailable."""
    try:
        entry = (await store.get(service, key)).entry
    except StoreUnavailable:
        return False
    return entry is not None and any(200 <= each.status < 300 for each in (entry, *entry.others))

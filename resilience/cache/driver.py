"""The HTTP cache as the request's way uses it: the rules of RFC 9111 over a store, and what they came to."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from resilience.cache import fields, serving, storing, validation, variants
from resilience.cache.entry import Entry
from resilience.cache.messages import CacheRequest, CacheResponse, Fresh, LookupResult, Miss, Skip, Stale, Storable
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.store import UNFENCED, NearStore, Usage
from resilience.outage import StoreUnavailable

BODY_BYTES: Final = 8 * 1_024 * 1_024
"""A body above this is not stored."""


@dataclass(slots=True)
class LookupCounts:
    """One service's look-ups in this worker since they were last reset."""

    hits: int = 0
    misses: int = 0


class BodyRecorder:
    """Keeps a copy of a body while it streams past, and gives up on one above the limit, saying so once."""

    __slots__ = ("_chunks", "_left", "_on_overflow")

    def __init__(self, limit: int = BODY_BYTES, on_overflow: Callable[[], None] | None = None) -> None:
        self._chunks: list[bytes] = []
        self._left = limit
        self._on_overflow = on_overflow

    def add(self, chunk: bytes) -> None:
        if self._left >= 0:
            self._left -= len(chunk)
            self._chunks.append(chunk)
            if self._left < 0:
                self._chunks.clear()
                if self._on_overflow:
                    self._on_overflow()

    def body(self) -> bytes | None:
        """The whole body; None when it was above the limit. Only worth asking once the stream has ended well."""
        return None if self._left < 0 else b"".join(self._chunks)


class StoreTarget(NamedTuple):
    """Whose cache, under which key, and on what terms an answer is kept.

    `tags` are the route's, filled in; those of the answer and the service are added. `scope` is what the key was
    made for.
    """

    service: str
    key: str
    policy: CachePolicy
    scope: Scope
    tags: Collection[str] = ()


class UpdatedEntry(NamedTuple):
    """An answer that still holds, and whether it is stored as it is now."""

    entry: Entry
    kept: bool


class Cache:
    """`now` is Unix seconds. Nothing here fails for want of Redis but `invalidate` and `usage`."""

    def __init__(self, store: NearStore) -> None:
        self.lookup_counts: defaultdict[str, LookupCounts] = defaultdict(LookupCounts)
        self._store = store
        self._filing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def peek_fresh(self, service: str, key: str, now: float) -> Entry | None:
        """A fresh answer that this process has, for a request that asks nothing of a cache: the hottest path of all.

        None where there is more to be judged than its freshness: `peek` and `lookup` do.
        """
        entry = self._store.peek(service, key)
        if entry is None or entry.vary or now >= entry.fresh_until:
            return None
        self.lookup_counts[service].hits += 1
        return entry

    def try_lookup(self, service: str, key: str, asked: CacheRequest, now: float) -> Fresh | None:
        """An answer that this process has: the hot path, without waiting. None: `lookup` knows more."""
        entry = self._store.peek(service, key)
        if entry is None:
            return None
        verdict = serving.lookup(entry, asked, now)
        if type(verdict) is not Fresh:
            return None
        self.lookup_counts[service].hits += 1
        return verdict

    async def lookup(self, service: str, key: str, asked: CacheRequest, now: float) -> LookupResult:
        """What is stored for this request. A Stale or a Miss holds the fence that `store` wants to see again."""
        verdict = await self._far(service, key, asked, now)
        self._count(service, verdict)
        return verdict

    async def relookup(self, service: str, key: str, asked: CacheRequest, now: float) -> LookupResult:
        """The same once more, for a request that has been counted and has waited since."""
        near = serving.lookup(self._store.peek(service, key), asked, now)
        if isinstance(near, Fresh) and not near.refresh:
            return near
        return await self._far(service, key, asked, now)

    async def _far(self, service: str, key: str, asked: CacheRequest, now: float) -> LookupResult:
        refusal = serving.bypass_reason(asked)
        if refusal:
            return Miss(refusal, UNFENCED)
        found = await self._store.get(service, key)
        return serving.lookup(found.entry, asked, now, found.seq)

    async def store(
        self,
        spot: StoreTarget,
        asked: CacheRequest,
        answered: CacheResponse,
        body: bytes | None,
        *,
        found: Stale | Miss,
        storable: Storable,
    ) -> Skip | None:
        """Keep an answer that the rules have found `storable`, if the fence of what was `found` before allows it; else
        why not. `body` is the whole body, None if it was too large.
        """
        if body is None:
            return Skip("the body is too large")
        if not storing.is_whole(answered.headers, len(body)):
            return Skip("the body is cut short", "RFC 9111 section 3.3")
        if any(len(tag) > fields.MAX_TAG_LENGTH for tag in spot.tags):  # it could not be invalidated by that tag
            return Skip("a tag is too long")
        return await self._keep(spot, asked, _entry(answered, storable, body, spot.tags), found)

    async def update_from_304(
        self, spot: StoreTarget, asked: CacheRequest, found: Stale, answered: CacheResponse
    ) -> UpdatedEntry:
        """The stored answer as a 304, or the answer to a HEAD, says it is now: kept so, where the rules allow it."""
        entry = found.entry
        headers = validation.freshened_headers(entry, answered)
        get = msgspec.structs.replace(entry, headers=tuple(headers), others=())
        renewed = CacheResponse(entry.status, headers, answered.at, answered.delay)
        verdict = storing.may_store(
            CacheRequest("GET", asked.headers, asked.authenticated), renewed, spot.policy, spot.scope
        )
        if isinstance(verdict, Skip):
            once = msgspec.structs.replace(
                get, headers=fields.kept(headers), generated_at=answered.at, fresh_until=answered.at
            )
            return UpdatedEntry(once, kept=False)
        fresh = _entry(renewed, verdict, entry.body, spot.tags)
        return UpdatedEntry(fresh, kept=await self._keep(spot, asked, fresh, found) is None)

    async def _keep(self, spot: StoreTarget, asked: CacheRequest, entry: Entry, found: Stale | Miss) -> Skip | None:
        """Beside the answers of the same URI to requests that differ: as they are now, not as they were then. One at a
        time, or the second would be filed beside what was there before the first.
        """
        if not entry.vary and not found.varies:
            kept = await self._store.put(spot.service, spot.key, entry, found.seq)
        else:
            filing = self._filing.setdefault(spot.key, asyncio.Lock())
            async with filing:
                before = (await self._store.get(spot.service, spot.key)).entry
                entry = variants.merge(entry, before, asked.headers, entry.stored_at)
                kept = await self._store.put(spot.service, spot.key, entry, found.seq)
        return None if kept else Skip("taken back, or the store is away")

    async def invalidate(self, service: str, tags: Iterable[str] | None = None) -> int:
        """How many entries went: those with any of these tags, or all of the service's. Raises StoreUnavailable."""
        if tags is None:
            return (await self._store.invalidate(service)).entries
        return sum([(await self._store.invalidate(service, tag)).entries for tag in tags])

    async def invalidate_all(self, services: Iterable[str], tag: str | None = None) -> int:
        """The same over many services. Raises StoreUnavailable."""
        return sum([(await self._store.invalidate(service, tag)).entries for service in services])

    async def usage(self, service: str, tag: str | None = None) -> Usage:
        """What a service, or one of its tags, has in the store, and so would lose. Raises StoreUnavailable."""
        return await self._store.usage(service, tag)

    async def usage_of(self, services: Iterable[str], tag: str | None = None) -> Usage | None:
        """The same of many services together, before it is taken back; None where the store cannot be asked."""
        try:
            found = [await self._store.usage(service, tag) for service in services]
        except StoreUnavailable:
            return None
        return Usage(sum(one.entries for one in found), sum(one.bytes for one in found))

    def _count(self, service: str, verdict: LookupResult) -> None:
        tally = self.lookup_counts[service]
        if isinstance(verdict, Fresh):
            tally.hits += 1
        else:
            tally.misses += 1


def _entry(answered: CacheResponse, storable: Storable, body: bytes, tags: Iterable[str]) -> Entry:
    times = storable.freshness
    return Entry(
        status=answered.status,
        headers=storable.headers,
        body=body,
        stored_at=answered.at,
        generated_at=times.generated_at,
        fresh_until=times.fresh_until,
        refresh_until=times.refresh_until,
        stale_until=times.stale_until,
        kept_until=times.kept_until,
        must_revalidate=times.must_revalidate,
        vary=storable.vary,
        variant=storable.variant,
        tags=tuple(sorted(fields.tags(answered.headers).union(tags))),
    )

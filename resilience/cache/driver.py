"""The HTTP cache: the rules of RFC 9111 applied to a store."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from resilience.cache import fields, parts, serving, storing, validation, variants
from resilience.cache.entry import Entry
from resilience.cache.leases import Claim, Release
from resilience.cache.messages import (
    CacheRequest,
    CacheResponse,
    Forward,
    Fresh,
    LookupResult,
    Miss,
    Skip,
    Stale,
    Storable,
)
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.store import UNFENCED, NearStore, StoreUsage, for_each
from resilience.outage import StoreUnavailable

_INCOMPLETE: Final = Skip("the body is incomplete", "RFC 9111 section 3.3")
_INVALIDATED: Final = Skip("invalidated meanwhile, or the store is unavailable")


class StoreTarget(NamedTuple):
    """Where and how a response is stored.

    `scope` is that of `key`. `tags` are the route's, with their parameters filled in; the response's own are added.
    """

    service: str
    key: str
    policy: CachePolicy
    scope: Scope
    tags: Collection[str] = ()


Judge = Callable[[CacheRequest, CacheResponse, CachePolicy, Scope], Storable | Skip]
"""Whether a response may be stored, such as `storing.may_store`."""


class UpdatedEntry(NamedTuple):
    """A stored response with updated header fields, and whether it is stored with them."""

    entry: Entry
    is_stored: bool


class Cache:
    """`now` is in Unix seconds. Without Redis only `invalidate`, `invalidate_all` and `usage` raise an error."""

    def __init__(self, store: NearStore) -> None:
        self._store = store
        self._merging: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def peek_fresh(self, service: str, key: str, now: float) -> Entry | None:
        """A fresh response in memory, for a request without CACHE_FIELDS: the fast path.

        None if more than its freshness has to be checked, which `try_lookup` and `lookup` do.
        """
        entry = self._store.peek(service, key)
        if entry is None or entry.vary or now >= entry.fresh_until:
            return None
        return entry

    def try_lookup(self, service: str, key: str, request: CacheRequest, now: float) -> Fresh | None:
        """Look up in memory, without waiting. None: `lookup` must be awaited.

        What the request takes stale (`max-stale`) is looked up in the store: another process may have a newer one. What
        is to be refreshed is for the caller to look up, who may be refreshing it.
        """
        entry = self._store.peek(service, key)
        if entry is None:
            return None
        result = serving.lookup(entry, request, now)
        return result if type(result) is Fresh and (result.refresh or not result.stale) else None

    async def lookup(
        self, service: str, key: str, request: CacheRequest, now: float, claimant: str = ""
    ) -> LookupResult:
        """Look up in the store, after `try_lookup` returned None. `store` takes the Stale or Miss with its fence.

        A `claimant` claims the fetch where nothing is stored under the key: the Miss then has the claim.
        """
        reason = serving.bypass_reason(request)
        if reason:
            return Miss(reason, UNFENCED)
        stored, claim = await self._store.get_or_claim(service, key, claimant)
        if claim is not None:
            return Miss(Forward.URI_MISS, stored.seq, claim=Claim(claimant, claim))
        return serving.lookup(stored.entry, request, now, stored.seq)

    async def relookup(self, service: str, key: str, request: CacheRequest, now: float) -> LookupResult:
        """Look up in memory, then in the store: for a request that looked up before and has waited since."""
        result = serving.lookup(self._store.peek(service, key), request, now)
        if isinstance(result, Fresh) and not result.stale:
            return result
        return await self.lookup(service, key, request, now)

    async def store(
        self,
        target: StoreTarget,
        request: CacheRequest,
        response: CacheResponse,
        body: bytes | None,
        *,
        result: Stale | Miss,
        storable: Storable,
        release: Release | None = None,
    ) -> Skip | None:
        """Store a `storable` response, if the fence of the lookup's `result` allows it. Returns why it was not stored.

        `body` is the complete body, None if it was too large. A 206 is combined with the stored parts of the same
        representation. `release`: the lease of the fetch, which ends as soon as the response is stored, unless that is
        a 206.
        """
        if body is None:
            if isinstance(result, Stale):
                await self.supersede(target, request, result)
            return Skip("the body is too large")
        if not fields.are_indexable(fields.tags(response.headers).union(target.tags)):  # see MAX_TAGS
            return Skip("it has too many tags, or too long ones, to be invalidated by each")
        entry = _entry(response, storable, body, target.tags)
        if response.status == parts.PARTIAL:
            return await self._store_part(target, request, response, entry, result)
        if not storing.is_complete(response, len(body)):
            return _INCOMPLETE
        return await self._put(target, request, entry, result, release)

    async def update_from_304(
        self,
        target: StoreTarget,
        request: CacheRequest,
        stored: Stale,
        response: CacheResponse,
        judge: Judge = storing.may_store,
        *,
        may_supersede: bool = True,
    ) -> UpdatedEntry:
        """Update the stored response from a 304 or the response to a HEAD, and store it again if the rules allow it
        (RFC 9111 sections 4.3.4 and 4.3.5).

        If it must not be stored any more, the stored one is superseded where that `may` be; not for a cookie or another
        credential alone, which is for this client.
        """
        entry = stored.entry
        headers = validation.freshened_headers(entry, response)
        alone = msgspec.structs.replace(entry, headers=tuple(headers), others=())
        updated = CacheResponse(
            entry.status, headers, response.received_at, response.delay, response.ignore, response.dropped
        )
        get = CacheRequest("GET", request.headers, request.authenticated)
        verdict = judge(get, updated, target.policy, target.scope)
        if may_supersede and isinstance(verdict, Skip):
            kept = [field for field in headers if not fields.has_credential([field])]
            for_anyone = CacheResponse(entry.status, kept, response.received_at, response.delay, response.ignore)
            if isinstance(judge(get, for_anyone, target.policy, target.scope), Skip):
                await self.supersede(target, request, stored)
        if target.policy.only_if and not target.policy.only_if.matches(entry.status, headers, entry.body):
            verdict = storing.UNWANTED
        if isinstance(verdict, Skip):
            once = msgspec.structs.replace(
                alone,
                headers=fields.storable(headers),
                generated_at=response.received_at,
                fresh_until=response.received_at,
            )
            return UpdatedEntry(once, is_stored=False)
        fresh = _entry(updated, verdict, entry.body, target.tags)
        return UpdatedEntry(fresh, is_stored=await self._put(target, request, fresh, stored, is_update=True) is None)

    async def supersede(self, target: StoreTarget, request: CacheRequest, stored: Stale) -> None:
        """The backend has sent another response in place of the stored one, and it is not stored. From now on the old
        one is only validated: it is sent neither during a refresh nor instead of an error.
        """
        entry = msgspec.structs.replace(
            variants.without_others(stored.entry),
            fresh_until=0.0,
            refresh_until=0.0,
            stale_until=0.0,
            must_revalidate=True,
        )
        await self._put(target, request, entry, stored)

    async def _put(
        self,
        target: StoreTarget,
        request: CacheRequest,
        entry: Entry,
        result: Stale | Miss,
        release: Release | None = None,
        *,
        is_update: bool = False,
    ) -> Skip | None:
        """Store the entry, merged with the variants stored by now. Merges of a key are serialised, lest one be lost.

        Unless it is an update of the stored one, other processes drop their copies of one that is fresh still, which
        they would go on with: a client has asked for more than that (RFC 9111 section 4: the most recent response is
        used).
        """
        if not entry.vary and not result.varies:
            is_stored = await self._store.put(target.service, target.key, entry, result.seq, release)
        else:
            merging = self._merging.setdefault(target.key, asyncio.Lock())
            async with merging:
                stored = (await self._store.get(target.service, target.key)).entry
                entry = variants.merge_variant(entry, stored, request.headers, entry.stored_at)
                is_stored = await self._store.put(target.service, target.key, entry, result.seq, release)
        if not is_stored:
            return _INVALIDATED
        if not is_update and isinstance(result, Stale) and result.reason is Forward.REQUEST:
            await self._store.drop_copies(target.service, target.key)
        return None

    async def lookup_part(self, service: str, key: str, request: CacheRequest, now: float) -> Fresh | None:
        """A fresh part that has the whole range of this request, which `may_use_part` allows."""
        stored = await self._store.get(service, parts.part_key(key))
        result = serving.lookup(stored.entry, parts.without_range(request), now, stored.seq)
        if not isinstance(result, Fresh) or result.stale:
            return None
        return result if parts.select(result.entry, request) is not None else None

    async def _store_part(
        self, target: StoreTarget, request: CacheRequest, response: CacheResponse, part: Entry, result: Stale | Miss
    ) -> Skip | None:
        """Store a part, combined with the one that is stored; as the whole response, once nothing is missing."""
        extent = parts.byte_range(response)
        if extent is None or extent.end - extent.start != len(part.body):
            return _INCOMPLETE
        key = parts.part_key(target.key)
        async with self._merging.setdefault(key, asyncio.Lock()):
            stored = (await self._store.get(target.service, key)).entry
            if stored is not None and stored.fresh_until <= response.received_at:
                stored = None
            entry, extent = parts.combine(stored, part, extent)
            if extent.end - extent.start == extent.total:
                return await self._put(target, parts.without_range(request), parts.to_whole(entry), result)
            is_stored = await self._store.put(target.service, key, entry, result.seq)
        return None if is_stored else _INVALIDATED

    async def invalidate(self, service: str, tags: Iterable[str] | None = None) -> int:
        """Remove a service's entries with any of these tags, or all. Returns their number. Raises StoreUnavailable."""
        if tags is None:
            return (await self._store.invalidate(service)).entries
        return sum(done.entries for done in await for_each(tags, lambda tag: self._store.invalidate(service, tag)))

    async def invalidate_all(self, services: Iterable[str], tag: str | None = None) -> int:
        """Remove the entries of several services, only those with `tag` if given. Raises StoreUnavailable."""
        return sum(done.entries for done in await for_each(services, lambda name: self._store.invalidate(name, tag)))

    async def usage(self, service: str, tag: str | None = None) -> StoreUsage:
        """The usage of the store by a service, or by one of its tags. Raises StoreUnavailable."""
        return await self._store.usage(service, tag)

    async def usage_of(self, services: Iterable[str], tag: str | None = None) -> StoreUsage | None:
        """The total usage by several services; None if the store is unavailable."""
        try:
            usages = [await self._store.usage(service, tag) for service in services]
        except StoreUnavailable:
            return None
        return StoreUsage(sum(usage.entries for usage in usages), sum(usage.bytes for usage in usages))


def _entry(response: CacheResponse, storable: Storable, body: bytes, tags: Iterable[str]) -> Entry:
    freshness = storable.freshness
    return Entry(
        status=response.status,
        headers=storable.headers,
        body=body,
        stored_at=response.received_at,
        generated_at=freshness.generated_at,
        fresh_until=freshness.fresh_until,
        refresh_until=freshness.refresh_until,
        stale_until=freshness.stale_until,
        kept_until=freshness.kept_until,
        must_revalidate=freshness.must_revalidate,
        vary=storable.vary,
        variant=storable.variant,
        ignored=storable.ignored,
        tags=tuple(sorted(fields.tags(response.headers).union(tags))),
    )

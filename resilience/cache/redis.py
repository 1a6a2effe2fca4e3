"""Cache entries in Redis, shared by all workers. All keys of a service are in one slot of a Redis Cluster.

    <prefix>:{service}:e:<key>    an entry, until it expires: see stored.py
    <prefix>:{service}:t:<tag>    the keys that have a tag, scored by expiry (server's clock, ms)
    <prefix>:{service}:fences     scored by number: the tags invalidated recently, the floor (see fences.py), the latest
                                  invalidation `seq`, and the server's run in which all this was recorded

An invalidation's number is the server's clock in microseconds, or the previous number plus one: it grows even if the
server loses its data.

Under any eviction policy no invalidated entry is served: an entry is only served while it is in the index of each of
its tags, and a response is only stored while the fences of its fetch are known (ADR 12).
"""

import asyncio
import contextlib
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from resilience.batcher import Batcher
from resilience.cache import stored
from resilience.cache.entry import Entry, all_tags, shift
from resilience.cache.invalidation import MAX_FENCED_TAGS
from resilience.cache.leases import LEASE_SECONDS, ClaimResult, Release
from resilience.cache.redis_leases import claim_result, lease_key
from resilience.cache.redis_scripts import GET, INVALIDATE, MEASURE, PUT
from resilience.cache.store import Invalidation, StoredEntry, StoreUsage, index
from resilience.outage import StoreUnavailable, reading_shared_data
from resilience.redis import RedisLink
from resilience.task_set import TaskSet

INVALIDATION_CHANNEL: Final = "cache"
"""The channel of invalidations: an InvalidationNotice as JSON."""
REPLACEMENT_CHANNEL: Final = "cache-replaced"
"""The channel of entries that were replaced while they were fresh: a ReplacementNotice as JSON."""
BATCH: Final = 500
"""Entries processed per run of a script, which blocks the server."""
OVERWRITTEN: Final = -1
"""The result of a script that has found an index of another type."""
FENCE_MS: Final = 2 * 3_600 * 1_000
"""How long fences are kept after their service's latest invalidation: longer than any fetch takes."""
THREAD_BYTES: Final = 16 * 1_024
"""Larger entries are encoded and decoded in a thread, so as not to block the event loop."""
LEASE_MS: Final = int(LEASE_SECONDS * 1_000)
LARGE_BYTES: Final = 64 * 1_024
"""Larger entries are read by a second command: copying them to a script takes longer than its round trip."""


class InvalidationNotice(msgspec.Struct, frozen=True):
    """The entries of `service` with `tag` were invalidated, with number `seq`."""

    service: str
    tag: str
    seq: int


class ReplacementNotice(msgspec.Struct, frozen=True):
    """Copies of the entry under this key are out of date."""

    service: str
    key: str


class _Get(NamedTuple):
    key: str
    owner: str


_Found = tuple[StoredEntry, ClaimResult | None]


class _Put(msgspec.Struct, eq=False):
    """An encoded entry to be stored for `ttl_ms`, unless one of its tags was invalidated after `seq`."""

    key: str
    data: bytes
    ttl_ms: int
    seq: int
    tags: tuple[str, ...]
    release: Release | None


class RedisStore:
    """The shared store. Raises StoreUnavailable."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.lost_entries = 0
        """Entries found that may have been invalidated without a trace, and were not served."""
        self._rebuilds = TaskSet()
        self._gets = Batcher(self._get_all)
        self._puts = Batcher(self._put_all)

    async def get_or_claim(self, service: str, key: str, owner: str) -> _Found:
        """Get the entry, or claim its fetch, in a round trip shared with concurrent lookups. An empty `owner` claims
        nothing.
        """
        return await self._gets.submit(service, _Get(key, owner))

    async def get(self, service: str, key: str) -> StoredEntry:
        return (await self.get_or_claim(service, key, ""))[0]

    async def put(self, service: str, key: str, entry: Entry, seq: int, release: Release | None = None) -> bool:
        """Put an entry, in a round trip shared with concurrent puts. A large one gets its own, to delay no others."""
        ttl_ms = int((entry.expires_at - entry.stored_at) * 1_000)
        if seq < 0 or ttl_ms <= 0:
            return False
        tags = all_tags(service, entry)
        put = _Put(key, await _packed(entry, tags, self.link.clock_offset), ttl_ms, seq, tags, release)
        if len(put.data) > THREAD_BYTES:
            return (await self._put_all(service, [put]))[0]
        return await self._puts.submit(service, put)

    async def _get_all(self, service: str, gets: Sequence[_Get]) -> list[_Found]:
        names = [self._entry(service, get.key) for get in gets]
        leases = [lease_key(self.link, service, get.key) for get in gets if get.owner]
        arguments = [self._tag(service, ""), LARGE_BYTES, FENCE_MS, LEASE_MS, *(get.owner for get in gets)]
        seq, lost, *values = await self.link.run(GET, [self._name(service, "fences"), *names, *leases], arguments)
        self.lost_entries += lost
        with reading_shared_data():
            number = int(seq)
        return [await self._found(name, value, number) for name, value in zip(names, values, strict=True)]

    async def _found(self, name: str, value: bytes | int | list[bytes] | None, seq: int) -> _Found:
        if isinstance(value, list):
            return StoredEntry(None, seq), claim_result(value[0])
        return StoredEntry(None if value is None else await self._read(name, value), seq), None

    async def _read(self, name: str, value: bytes | int) -> Entry | None:
        data: bytes | None = value if isinstance(value, bytes) else await self.link.call(lambda c: c.get(name))
        if data is None:
            return None
        large = len(data) > THREAD_BYTES
        entry = await asyncio.to_thread(stored.unpack, data) if large else stored.unpack(data)
        return entry if entry is None else shift(entry, -self.link.clock_offset)

    async def _put_all(self, service: str, puts: Sequence[_Put]) -> list[bool]:
        keys, arguments = [self._name(service, "fences")], list[Any]()
        for put in puts:
            keys += [self._entry(service, put.key), *(self._tag(service, tag) for tag in put.tags)]
            arguments += [put.data, put.ttl_ms, put.seq, len(put.tags)]
            if put.release is None:
                arguments += ["", "", 0]
            else:
                keys.append(lease_key(self.link, service, put.release.name))
                arguments += [put.release.owner, put.release.result.value, put.release.milliseconds]
            arguments += put.tags
        results = await self.link.run(PUT, keys, arguments)
        if OVERWRITTEN in results:
            tags = {tag for put in puts for tag in put.tags}
            self._rebuilds.create(self._rebuild_later(service, tags))
        return [result > 0 for result in results]

    async def invalidate(self, service: str, tag: str | None = None) -> Invalidation:
        """Remove entries in batches, so that a tag with many does not block the server.

        Each batch raises the number; the last one publishes it.
        """
        tag = index(service, tag)
        keys = [self._name(service, "fences"), self._tag(service, tag), self._tag(service, service)]
        notice = msgspec.json.encode({"service": service, "tag": tag})[:-1] + b',"seq":'
        arguments = (tag, notice, BATCH, MAX_FENCED_TAGS, FENCE_MS, self.link.key(INVALIDATION_CHANNEL))
        total, left, number = 0, 1, 0
        while left:
            count, seq, left = await self.link.run(INVALIDATE, keys, arguments)
            if count == OVERWRITTEN:
                count = await self._rebuild(service, (tag, service))
            with reading_shared_data():
                total, number = total + count, int(seq)
        return Invalidation(total, number)

    async def drop_copies(self, service: str, key: str) -> None:
        await self.link.publish(REPLACEMENT_CHANNEL, msgspec.json.encode(ReplacementNotice(service, key)))

    async def usage(self, service: str, tag: str | None = None) -> StoreUsage:
        """Count entries in batches. Sizes are those of the encoded entries."""
        name, seen, entries, size = self._tag(service, index(service, tag)), BATCH, 0, 0
        for start in itertools.count(0, BATCH):
            if seen < BATCH:
                break
            seen, live, length = await self.link.run(MEASURE, [name], (start, start + BATCH - 1))
            entries, size = entries + live, size + length
        return StoreUsage(entries, size)

    async def _rebuild_later(self, service: str, tags: Iterable[str]) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._rebuild(service, tags)

    async def _rebuild(self, service: str, tags: Iterable[str]) -> int:
        """Remove the entries of a service, of whose tags another program has overwritten an index. Then remove that,
        so that entries are stored again. Returns the number of entries.
        """
        self.link.warn(f"an index of the cache of {service} is malformed", "the service's cached responses are removed")
        count = await self.link.call(lambda client: _unlink(client, self._entry(service, "*")))
        await self.link.remove_overwritten([self._tag(service, tag) for tag in tags], "zset")
        return count

    def _name(self, service: str, part: str) -> str:
        return f"{self.link.prefix}:{{{service}}}:{part}"

    def _entry(self, service: str, key: str) -> str:
        return self._name(service, f"e:{key}")

    def _tag(self, service: str, tag: str) -> str:
        return self._name(service, f"t:{tag}")


async def _unlink(client: Any, pattern: str) -> int:
    """Remove the keys that match `pattern`, all of one service, and return their number."""
    count = 0
    batch: list[bytes] = []
    async for key in client.scan_iter(pattern, count=BATCH):
        batch.append(key)
        if len(batch) == BATCH:
            count += await client.unlink(*batch)
            batch.clear()
    return count + (await client.unlink(*batch) if batch else 0)


async def _packed(entry: Entry, tags: Sequence[str], offset: float) -> bytes:
    shifted = shift(entry, offset)
    if entry.size > THREAD_BYTES:
        return await asyncio.to_thread(stored.pack, shifted, tags)
    return stored.pack(shifted, tags)

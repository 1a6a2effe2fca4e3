"""Cache entries in Redis, shared by all workers. All keys of a service are in one slot of a Redis Cluster.

    gw:{service}:e:<key>    an entry, until it expires
    gw:{service}:t:<tag>    the keys that have a tag, scored by expiry (server's clock, ms)
    gw:{service}:seq        the number of the latest invalidation
    gw:{service}:fences     the tags invalidated recently, scored by number, and the floor (see fences.py)

An invalidation's number is the server's clock in microseconds, or the previous number plus one: it grows even if the
server loses its data. The tag index must not be evicted before its entries: use `maxmemory-policy noeviction`, or a
`volatile` policy with memory to spare.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Sequence
from typing import Final

import msgspec

from resilience.batcher import Batcher
from resilience.cache.entry import Entry, decode, encode
from resilience.cache.fences import MAX_FENCED_TAGS
from resilience.cache.store import Invalidation, StoredEntry, Usage, all_tags
from resilience.redis import RedisLink, Script

INVALIDATION_CHANNEL: Final = "gw:cache"
"""The channel of invalidations: an InvalidationNotice as JSON."""
BATCH: Final = 500
"""Entries processed per run of a script, which blocks the server."""
FENCE_MS: Final = 2 * 3_600 * 1_000
"""How long fences are kept after their service's latest invalidation: longer than any fetch takes."""
THREAD_BYTES: Final = 16 * 1_024
"""Larger entries are encoded and decoded in a thread, so as not to block the event loop."""


class InvalidationNotice(msgspec.Struct, frozen=True):
    """The entries of `service` with `tag` were invalidated, with number `seq`."""

    service: str
    tag: str
    seq: int


# Several puts, each fenced by its own tags. Each put also removes up to a hundred expired keys from the index of its
# tags, which spreads the cost. A fence above the current number is from before the server lost its data, and with it
# invalidations.
_PUT: Final = Script(
    """
local number = tonumber(redis.call('GET', KEYS[1]) or '0')
local floor = tonumber(redis.call('ZSCORE', KEYS[2], 'floor') or '0')
local function allowed(fence, first, last)
  if number < fence or floor > fence then return false end
  for i = first, last do
    if tonumber(redis.call('ZSCORE', KEYS[2], 't:' .. ARGV[i]) or '0') > fence then return false end
  end
  return true
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept, key, argument = {}, 3, 1
while key <= #KEYS do
  local lives, tags = tonumber(ARGV[argument + 1]), tonumber(ARGV[argument + 3])
  local may = allowed(tonumber(ARGV[argument + 2]), argument + 4, argument + 3 + tags)
  if may then
    redis.call('SET', KEYS[key], ARGV[argument], 'PX', lives)
    for i = key + 1, key + tags do
      local ended = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', now, 'LIMIT', 0, 100)
      if #ended > 0 then redis.call('ZREM', KEYS[i], unpack(ended)) end
      redis.call('ZADD', KEYS[i], now + lives, KEYS[key])
      if redis.call('PTTL', KEYS[i]) < lives then redis.call('PEXPIRE', KEYS[i], lives) end
    end
  end
  kept[#kept + 1] = may and 1 or 0
  key, argument = key + 1 + tags, argument + 4 + tags
end
return kept
"""
)

# The number is raised atomically with the removal, so that an entry read before comes with the older number.
# The first write needs no memory: a server that is out of memory then allows the script's other writes too.
_INVALIDATE: Final = Script(
    """
local time = redis.call('TIME')
redis.call('ZREM', KEYS[3], '')
local seq = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') + 1, time[1] * 1000000 + time[2])
local number = string.format('%.0f', seq)
redis.call('SET', KEYS[1], number, 'PX', ARGV[5])
redis.call('ZADD', KEYS[2], number, 't:' .. ARGV[1])
if redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[4]) then
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 1, 'WITHSCORES')
  local lost = oldest[1] == 'floor' and 3 or 1
  redis.call('ZREM', KEYS[2], oldest[lost])
  redis.call('ZADD', KEYS[2], oldest[lost + 1], 'floor')
end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
local members, count = redis.call('ZRANGE', KEYS[3], 0, ARGV[3] - 1), 0
if #members > 0 then
  count = redis.call('UNLINK', unpack(members))
  redis.call('ZREM', KEYS[3], unpack(members))
  redis.call('ZREM', KEYS[4], unpack(members))
end
local left = redis.call('ZCARD', KEYS[3])
if left == 0 then redis.call('PUBLISH', ARGV[6], ARGV[2] .. number .. '}') end
return {count, number, left}
"""
)

_MEASURE: Final = Script(
    """
local members, entries, bytes = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2]), 0, 0
for _, member in ipairs(members) do
  local length = redis.call('STRLEN', member)
  if length > 0 then entries, bytes = entries + 1, bytes + length end
end
return {#members, entries, bytes}
"""
)


class _Put(msgspec.Struct, eq=False):
    """An encoded entry to be stored for `ttl_ms`, unless one of its tags was invalidated after `seq`."""

    key: str
    data: bytes
    ttl_ms: int
    seq: int
    tags: tuple[str, ...]


class RedisStore:
    """The shared store. Raises StoreUnavailable."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self._gets = Batcher(self._get_all)
        self._puts = Batcher(self._put_all)

    async def get(self, service: str, key: str) -> StoredEntry:
        """Get an entry, in a round trip shared with concurrent lookups."""
        return await self._gets.submit(service, key)

    async def put(self, service: str, key: str, entry: Entry, seq: int) -> bool:
        """Put an entry, in a round trip shared with concurrent puts. A large one gets its own, to delay no others."""
        ttl_ms = int((entry.expires_at - entry.stored_at) * 1_000)
        if seq < 0 or ttl_ms <= 0:
            return False
        put = _Put(key, await _encoded(entry), ttl_ms, seq, all_tags(service, entry))
        if len(put.data) > THREAD_BYTES:
            return (await self._put_all(service, [put]))[0]
        return await self._puts.submit(service, put)

    async def _get_all(self, service: str, keys: Sequence[str]) -> list[StoredEntry]:
        names = [_name(service, "seq"), *(_entry(service, key) for key in keys)]
        seq, *entries = await self.link.call(lambda client: client.mget(names))
        number = int(seq or 0)
        return [
            StoredEntry(await entry if isinstance(entry := _decoded(data), Awaitable) else entry, number)
            for data in entries
        ]

    async def _put_all(self, service: str, puts: Sequence[_Put]) -> list[bool]:
        keys, arguments = [_name(service, "seq"), _name(service, "fences")], []
        for put in puts:
            keys += [_entry(service, put.key), *(_tag(service, tag) for tag in put.tags)]
            arguments += [put.data, put.ttl_ms, put.seq, len(put.tags), *put.tags]
        return [bool(stored) for stored in await self.link.run(_PUT, keys, arguments)]

    async def invalidate(self, service: str, tag: str | None = None) -> Invalidation:
        """Remove entries in batches, so that a tag with many does not block the server.

        Each batch raises the number; the last one publishes it.
        """
        tag = tag or service
        keys = [_name(service, "seq"), _name(service, "fences"), _tag(service, tag), _tag(service, service)]
        notice = msgspec.json.encode({"service": service, "tag": tag})[:-1] + b',"seq":'
        arguments = (tag, notice, BATCH, MAX_FENCED_TAGS, FENCE_MS, INVALIDATION_CHANNEL)
        total, left, number = 0, 1, 0
        while left:
            count, seq, left = await self.link.run(_INVALIDATE, keys, arguments)
            total, number = total + count, int(seq)
        return Invalidation(total, number)

    async def usage(self, service: str, tag: str | None = None) -> Usage:
        """Count entries in batches. Sizes are those of the encoded entries."""
        name, seen, entries, size = _tag(service, tag or service), BATCH, 0, 0
        for start in itertools.count(0, BATCH):
            if seen < BATCH:
                break
            seen, live, length = await self.link.run(_MEASURE, [name], (start, start + BATCH - 1))
            entries, size = entries + live, size + length
        return Usage(entries, size)


def _name(service: str, part: str) -> str:
    return f"gw:{{{service}}}:{part}"


def _entry(service: str, key: str) -> str:
    return _name(service, f"e:{key}")


def _tag(service: str, tag: str) -> str:
    return _name(service, f"t:{tag}")


async def _encoded(entry: Entry) -> bytes:
    return await asyncio.to_thread(encode, entry) if entry.size > THREAD_BYTES else encode(entry)


def _decoded(data: bytes | None) -> Entry | Awaitable[Entry | None] | None:
    """The entry, or an awaitable if it is large: for a small one a coroutine would take as long as decoding it."""
    if data is None:
        return None
    return asyncio.to_thread(decode, data) if len(data) > THREAD_BYTES else decode(data)

"""Entries in Redis, for all workers and machines. All keys of a service hash to one slot, so a cluster will do.

    gw:{service}:e:<key>    an entry, gone when it ends
    gw:{service}:t:<tag>    the keys that have a tag, scored by when they end (server's clock, ms)
    gw:{service}:seq        the number of the latest invalidation
    gw:{service}:fences     the tags taken back lately, scored by that number, and the floor (see fences.py)

Numbers are the server's microseconds, or one more than the last: they grow even across a server that lost its memory.
The index must not be evicted while its entries live: `maxmemory-policy noeviction`, or one of the `volatile` ones
with room to spare.
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

CHANNEL: Final = "gw:cache"
"""Where an invalidation is told: a Notice, as JSON."""
BATCH: Final = 500
"""Entries touched by one run of a script: Redis serves nobody else meanwhile."""
FENCE_MS: Final = 2 * 3_600 * 1_000
"""How long a fence stands after its service's last invalidation: longer than any answer is being fetched."""
OFF_THE_LOOP: Final = 16 * 1_024
"""Bytes from which packing is done in a thread, so that other requests go on."""


class InvalidationNotice(msgspec.Struct, frozen=True):
    """Everything of `service` with `tag` was taken back, at number `seq`."""

    service: str
    tag: str
    seq: int


# Several puts, each refused by its own tags alone. Each takes a hundred ended keys off its tags' lists: so these
# shrink, and no single put pays for all.
# A fence number above the present one is of a server that has since lost its memory, and invalidations with it.
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

# The number is raised in the same breath as the entries go: whoever reads an entry before has the older number.
# It begins with a write that takes no memory: then a server that is full lets the others pass too, and can be emptied.
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
    """An entry on its way, as bytes, which live for so many milliseconds if no tag was taken back after `seq`."""

    key: str
    data: bytes
    lives: int
    seq: int
    tags: tuple[str, ...]


class RedisStore:
    """The store that all workers share. Raises StoreUnavailable when it cannot be reached."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self._gets = Batcher(self._get_all)
        self._puts = Batcher(self._put_all)

    async def get(self, service: str, key: str) -> StoredEntry:
        """One round trip, shared with the look-ups that come at the same time."""
        return await self._gets.submit(service, key)

    async def put(self, service: str, key: str, entry: Entry, seq: int) -> bool:
        """The same for small entries. A large one goes alone: others would wait for it."""
        lives = int((entry.expires_at - entry.stored_at) * 1_000)
        if seq < 0 or lives <= 0:
            return False
        put = _Put(key, await _encoded(entry), lives, seq, all_tags(service, entry))
        if len(put.data) > OFF_THE_LOOP:
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
            arguments += [put.data, put.lives, put.seq, len(put.tags), *put.tags]
        return [bool(kept) for kept in await self.link.run(_PUT, keys, arguments)]

    async def invalidate(self, service: str, tag: str | None = None) -> Invalidation:
        """In batches, so that a tag of many entries does not hold up the others' calls.

        The number is raised with every batch, and told with the last.
        """
        tag = tag or service
        keys = [_name(service, "seq"), _name(service, "fences"), _tag(service, tag), _tag(service, service)]
        notice = msgspec.json.encode({"service": service, "tag": tag})[:-1] + b',"seq":'
        arguments = (tag, notice, BATCH, MAX_FENCED_TAGS, FENCE_MS, CHANNEL)
        total, left, number = 0, 1, 0
        while left:
            count, seq, left = await self.link.run(_INVALIDATE, keys, arguments)
            total, number = total + count, int(seq)
        return Invalidation(total, number)

    async def usage(self, service: str, tag: str | None = None) -> Usage:
        """Counted in batches; bytes are as packed."""
        name, seen, entries, size = _tag(service, tag or service), BATCH, 0, 0
        for start in itertools.count(0, BATCH):
            if seen < BATCH:
                break
            seen, alive, held = await self.link.run(_MEASURE, [name], (start, start + BATCH - 1))
            entries, size = entries + alive, size + held
        return Usage(entries, size)


def _name(service: str, part: str) -> str:
    return f"gw:{{{service}}}:{part}"


def _entry(service: str, key: str) -> str:
    return _name(service, f"e:{key}")


def _tag(service: str, tag: str) -> str:
    return _name(service, f"t:{tag}")


async def _encoded(entry: Entry) -> bytes:
    return await asyncio.to_thread(encode, entry) if entry.size > OFF_THE_LOOP else encode(entry)


def _decoded(data: bytes | None) -> Entry | Awaitable[Entry | None] | None:
    """At once, but of a large entry: most are small, and a coroutine for each would take as long as the decoding."""
    if data is None:
        return None
    return asyncio.to_thread(decode, data) if len(data) > OFF_THE_LOOP else decode(data)

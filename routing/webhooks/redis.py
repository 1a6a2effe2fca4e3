"""The queue shared by all workers and machines: a Redis stream with a consumer group.

    <prefix>:{webhooks}             the stream; one delivery per entry, removed when its work is done
    <prefix>:{webhooks}:later       deliveries to be tried again, scored by the time (server's clock, ms)
    <prefix>:{webhooks}:bytes       the size of all of them
    <prefix>:{webhooks}:seen:<key>  an identity, until it is forgotten

A worker that dies leaves its entries pending; another one takes those that nobody has kept for IDLE_MS.
"""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from resilience.batcher import Batcher
from resilience.outage import StoreUnavailable
from resilience.redis import CALL_SECONDS, RedisLink, Script
from routing.webhooks.content import DeliveryIdentity
from routing.webhooks.queue import MAX_BYTES, MAX_DELIVERIES, Added, Entry

GROUP: Final = "gateway"
BLOCK_MS: Final = int(CALL_SECONDS * 500)
"""How long one read waits for new entries: well below the link's own time limit."""
IDLE_MS: Final = 10_000
RECLAIM_SECONDS: Final = 2.0
"""Between two looks for entries of workers that died, and for consumers that have left nothing."""
LARGE_BYTES: Final = 16 * 1_024
FORGOTTEN_CONSUMER_MS: Final = 3_600_000

_KINDS: Final = ("stream", "zset", "string", "string")
# For each delivery: its data, how long its identity is remembered (ms; 0 without one), and the key of that.
_ADD: Final = Script(
    """
local depth = redis.call('XLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2])
local bytes = depth > 0 and tonumber(redis.call('GET', KEYS[3]) or 0) or 0
local results = {}
for i = 4, #KEYS do
  local data, remembered = ARGV[2 * i - 5], tonumber(ARGV[2 * i - 4])
  if remembered > 0 and redis.call('EXISTS', KEYS[i]) == 1 then
    results[#results + 1] = 'duplicate'
  elseif depth >= tonumber(ARGV[1]) or bytes + #data > tonumber(ARGV[2]) then
    results[#results + 1] = 'full'
  else
    redis.call('XADD', KEYS[1], '*', 'd', data)
    if remembered > 0 then redis.call('SET', KEYS[i], '', 'PX', remembered) end
    depth, bytes = depth + 1, bytes + #data
    results[#results + 1] = 'queued'
  end
end
redis.call('SET', KEYS[3], bytes)
return results
""",
    *_KINDS,
)
# Only the worker that has an entry may remove it: another one may have taken it over.
_REMOVE: Final = """
local function remove(id)
  local owner = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  if not owner or owner[2] ~= ARGV[2] then return nil end
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  redis.call('XACK', KEYS[1], ARGV[1], id)
  redis.call('XDEL', KEYS[1], id)
  return entry and #entry[2][2] or 0
end
local function resize(size)
  redis.call('SET', KEYS[3], math.max(0, tonumber(redis.call('GET', KEYS[3]) or 0) - size))
end
"""
_DONE: Final = Script(
    _REMOVE
    + """
local size = 0
for i = 3, #ARGV do size = size + (remove(ARGV[i]) or 0) end
resize(size)
""",
    *_KINDS,
)
_PUT_BACK: Final = Script(
    _REMOVE
    + """
local size = remove(ARGV[3])
if not size then return end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[5], ARGV[4])
resize(size - #ARGV[4])
""",
    *_KINDS,
)
_MOVE_DUE: Final = Script(
    """
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, data in ipairs(due) do
  redis.call('XADD', KEYS[1], '*', 'd', data)
  redis.call('ZREM', KEYS[2], data)
end
return #due
""",
    *_KINDS,
)
_DEPTH: Final = Script("return redis.call('XLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2])", *_KINDS)


_CREATE_GROUP: Final = Script("redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')", *_KINDS)


class _Addition(NamedTuple):
    identity: DeliveryIdentity | None
    data: bytes


class RedisQueue:
    """One worker's access to the queue, as a consumer of its own."""

    def __init__(
        self,
        link: RedisLink,
        *,
        max_deliveries: int = MAX_DELIVERIES,
        max_bytes: int = MAX_BYTES,
        idle_ms: int = IDLE_MS,
    ) -> None:
        self._link = link
        self._max_deliveries, self._max_bytes, self._idle_ms = max_deliveries, max_bytes, idle_ms
        self._stream = link.key("{webhooks}")
        self._keys = [self._stream, link.key("{webhooks}:later"), link.key("{webhooks}:bytes")]
        self._consumer = secrets.token_hex(8)
        self._reclaim_at = 0.0
        self._has_group = False
        self._additions = Batcher(self._add_all)
        self._removals = Batcher(self._remove_all)

    async def add(self, identity: DeliveryIdentity | None, data: bytes) -> Added:
        """Add a delivery in a round trip shared with concurrent ones. A large one gets its own, to delay no others."""
        addition = _Addition(identity, data)
        if len(data) > LARGE_BYTES:
            return (await self._add_all("", [addition]))[0]
        return await self._additions.submit("", addition)

    async def _add_all(self, _group: str, additions: Sequence["_Addition"]) -> list[Added]:
        keys = list(self._keys)
        arguments: list[Any] = [self._max_deliveries, self._max_bytes]
        for identity, data in additions:
            keys.append(self._link.key(f"{{webhooks}}:seen:{identity.key if identity else ''}"))
            arguments += [data, int(identity.seconds * 1_000) if identity else 0]
        return [Added(result.decode()) for result in await self._link.run(_ADD, keys, arguments)]

    async def take(self, limit: int) -> list[Entry]:
        if not self._has_group:
            await self._link.run(_CREATE_GROUP, self._keys, (GROUP,))
            self._has_group = True
        try:
            await self._link.run(_MOVE_DUE, self._keys, (limit,))
            return await self._reclaim(limit) or await self._read(limit)
        except StoreUnavailable as error:
            self._has_group = "NOGROUP" not in str(error)  # the server has lost its data
            raise

    async def keep(self, entries: Iterable[Entry]) -> None:
        """Claim entries again for this worker, which resets their idle time."""
        ids = [entry.id for entry in entries]
        if ids:
            await self._link.call(
                lambda client: client.xclaim(self._stream, GROUP, self._consumer, 0, ids, justid=True)
            )

    async def done(self, entry: Entry) -> None:
        await self._removals.submit("", entry.id)

    async def _remove_all(self, _group: str, ids: Sequence[str]) -> Sequence[None]:
        await self._link.run(_DONE, self._keys, (GROUP, self._consumer, *ids))
        return [None] * len(ids)

    async def put_back(self, entry: Entry, data: bytes, seconds: float) -> None:
        await self._link.run(_PUT_BACK, self._keys, (GROUP, self._consumer, entry.id, data, int(seconds * 1_000)))

    async def depth(self) -> int:
        return int(await self._link.run(_DEPTH, self._keys))

    async def close(self) -> list[bytes]:
        """What this worker has taken is left to the others."""
        return []

    async def _read(self, limit: int) -> list[Entry]:
        found = await self._link.call(
            lambda client: client.xreadgroup(GROUP, self._consumer, {self._stream: ">"}, count=limit, block=BLOCK_MS)
        )
        streams = found.values() if isinstance(found, dict) else [entries for _, entries in found or ()]
        return _entries(entry for entries in streams for entry in _flatten(entries))

    async def _reclaim(self, limit: int) -> list[Entry]:
        now = asyncio.get_running_loop().time()
        if now < self._reclaim_at:
            return []
        claimed = await self._link.call(
            lambda client: client.xautoclaim(self._stream, GROUP, self._consumer, self._idle_ms, count=limit)
        )
        entries = _entries(claimed[1])
        if not entries:
            self._reclaim_at = now + min(RECLAIM_SECONDS, self._idle_ms / 1_000)
            await self._remove_consumers()
        return entries

    async def _remove_consumers(self) -> None:
        """Those of workers that ended long ago and have no entries."""
        for consumer in await self._link.call(lambda client: client.xinfo_consumers(self._stream, GROUP)):
            if consumer["pending"] == 0 and consumer["idle"] > FORGOTTEN_CONSUMER_MS:
                await self._remove_consumer(consumer["name"])

    async def _remove_consumer(self, name: Any) -> None:
        await self._link.call(lambda client: client.xgroup_delconsumer(self._stream, GROUP, name))


def _flatten(entries: Any) -> Any:
    """Under RESP3 the entries of a stream are in one more list."""
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _entries(found: Iterable[Any]) -> list[Entry]:
    """Without entries that are gone. One that another program has written has no data."""
    return [Entry(name.decode(), bytes(fields.get(b"d", b""))) for name, fields in found if name and fields]

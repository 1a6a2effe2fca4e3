"""All workers' records in Redis: one bounded stream for each kind, and an index by request id.

All keys share a hash tag, so that a Redis Cluster keeps them in one slot and each operation is one atomic script.
"""

from collections.abc import Sequence
from typing import Any, Final

from metrics.request_log.record import RecordKind
from metrics.request_log.store import (
    KEPT_SECONDS,
    MAX_BYTES,
    MAX_RECORDS,
    MAX_SAME_ID,
    NewRecord,
    Position,
    StoredRecord,
)
from resilience.outage import reading_shared_data
from resilience.redis import RedisLink, Script

STREAM: Final = "{requests}:log:"
IDS: Final = "{requests}:ids"
STATE: Final = "{requests}:state"
"""The last position, the bytes of each stream, and the number of requests that were not recorded."""
KINDS: Final = tuple(RecordKind)
MAX_BATCH: Final = 200
"""Records that one call of the script adds, during which Redis does nothing else."""

# ARGV: omitted, then the number of a stream, a request id and a record, for each. Positions increase over all streams,
# whatever the server's clock does, and where the state was lost. An id's positions are those of its latest records: one
# of these is not added again, since a worker repeats what it has sent if it has not heard that it was added.
_ADD: Final = Script(
    f"""
local ids, state = KEYS[{len(KINDS) + 1}], KEYS[{len(KINDS) + 2}]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('HMGET', state, 'ms', 'number')
local ms, number = tonumber(last[1]) or 0, tonumber(last[2]) or 0
for i = 1, {len(KINDS)} do
  local top = redis.call('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)[1]
  local top_ms, top_number = string.match(top and top[1] or '0-0', '(%d+)-(%d+)')
  top_ms, top_number = tonumber(top_ms), tonumber(top_number)
  if top_ms > ms or (top_ms == ms and top_number > number) then ms, number = top_ms, top_number end
end
for i = 2, #ARGV, 3 do
  local key, known = KEYS[tonumber(ARGV[i])], redis.call('HGET', ids, ARGV[i + 1]) or ''
  local is_new = true
  for other in string.gmatch(known, '%S+') do
    local place = string.match(other, '^' .. ARGV[i] .. '@(.+)$')
    local entry = place and redis.call('XRANGE', key, place, place)[1]
    if entry and entry[2][4] == ARGV[i + 2] then is_new = false end
  end
  if is_new then
    if now > ms then ms, number = now, 0 else number = number + 1 end
    local position = string.format('%.0f-%d', ms, number)
    redis.call('XADD', key, position, 'id', ARGV[i + 1], 'r', ARGV[i + 2])
    redis.call('HINCRBY', state, ARGV[i], #ARGV[i + 2])
    local found, count = ARGV[i] .. '@' .. position, 1
    for other in string.gmatch(known, '%S+') do
      if count < {MAX_SAME_ID} then found, count = found .. ' ' .. other, count + 1 end
    end
    redis.call('HSET', ids, ARGV[i + 1], found)
  end
end
redis.call('HSET', state, 'ms', string.format('%.0f', ms), 'number', number)
redis.call('HINCRBY', state, 'omitted', ARGV[1])
for i = 1, {len(KINDS)} do
  local length = redis.call('XLEN', KEYS[i])
  local bytes = tonumber(redis.call('HGET', state, i)) or 0
  if length == 0 then bytes = 0 end
  while length > 0 do
    local oldest = redis.call('XRANGE', KEYS[i], '-', '+', 'COUNT', 1)[1]
    local age = now - tonumber(string.match(oldest[1], '%d+'))
    if length <= {MAX_RECORDS} and bytes <= {MAX_BYTES} and age <= {KEPT_SECONDS * 1_000} then break end
    redis.call('XDEL', KEYS[i], oldest[1])
    length, bytes = length - 1, bytes - #(oldest[2][4] or '')
    local id, left = oldest[2][2] or '', ''
    for other in string.gmatch(redis.call('HGET', ids, id) or '', '%S+') do
      if other ~= i .. '@' .. oldest[1] then left = left .. ' ' .. other end
    end
    if left == '' then redis.call('HDEL', ids, id) else redis.call('HSET', ids, id, left) end
  end
  redis.call('HSET', state, i, bytes)
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, {KEPT_SECONDS}) end
""",
    *["stream"] * len(KINDS),
    "hash",
    "hash",
)
_PAGE: Final = Script(
    """
local found = {}
for _, key in ipairs(KEYS) do
  for _, entry in ipairs(redis.call('XREVRANGE', key, ARGV[1], '-', 'COUNT', ARGV[2])) do
    found[#found + 1] = {entry[1], entry[2][4]}
  end
end
return found
""",
    "stream",
)
_FIND: Final = Script(
    f"""
local found = {{}}
for place in string.gmatch(redis.call('HGET', KEYS[{len(KINDS) + 1}], ARGV[1]) or '', '%S+') do
  local number, position = string.match(place, '^(%d)@(%d+-%d+)$')
  local key = number and KEYS[tonumber(number)]
  if key then
    for _, entry in ipairs(redis.call('XRANGE', key, position, position)) do
      found[#found + 1] = {{entry[1], entry[2][4]}}
    end
  end
end
return found
""",
    *["stream"] * len(KINDS),
    "hash",
)


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._streams = {kind: link.key(f"{STREAM}{kind}") for kind in KINDS}
        self._keys = [*self._streams.values(), link.key(IDS), link.key(STATE)]

    async def add(self, records: Sequence[NewRecord], omitted: int) -> None:
        for start in range(0, max(len(records), 1), MAX_BATCH):
            arguments: list[Any] = [omitted if start == 0 else 0]
            for kind, identifier, data in records[start : start + MAX_BATCH]:
                arguments += [KINDS.index(kind) + 1, identifier, data]
            await self._link.run(_ADD, self._keys, arguments)

    async def page(self, kinds: Sequence[RecordKind], before: Position | None, count: int) -> list[StoredRecord]:
        with reading_shared_data():
            end = "+" if before is None else f"({before}"
            rows = await self._link.run(_PAGE, [self._streams[kind] for kind in kinds], [end, count])
            return sorted(_stored(rows), reverse=True)[:count]

    async def find(self, identifier: str) -> list[StoredRecord]:
        with reading_shared_data():
            rows = await self._link.run(_FIND, self._keys[:-1], [identifier])
            return sorted(_stored(rows), reverse=True)

    async def omitted(self) -> int:
        with reading_shared_data():
            number = await self._link.call(lambda client: client.hget(self._keys[-1], "omitted"))
            return int(number or 0)


def _stored(rows: Any) -> list[StoredRecord]:
    """The stored records, without what another program has written."""
    return [StoredRecord(Position.parse(row[0].decode()), row[1]) for row in rows if len(row) == 2]

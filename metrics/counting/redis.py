"""All workers' counts in Redis: added to an open batch, which is closed under an id and deleted once acknowledged.

All keys share a hash tag, so that a Redis Cluster keeps them in one slot and each operation is one atomic script.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from metrics.counting.counts import CountBatch, PendingCounts, read_fields
from metrics.counting.flush_requests import FlushRequests
from metrics.counting.store import Flush
from resilience.redis import RedisLink, Script

OPEN: Final = "{metrics}:open"
CLOSED: Final = "{metrics}:closed"
GAUGES: Final = "{metrics}:gauges"
LEASE: Final = "{metrics}:lease"
FLUSHED: Final = "{metrics}:flushed:"
FLUSH_REQUESTS: Final = "{metrics}:asked:"
FLUSH_CHANNEL: Final = "metrics"
"""Requests to all workers to flush."""
ID: Final = b"id"
"""The hash field that holds a batch's id; a count's field never has this name."""

FLUSH_ID_SECONDS: Final = 600
"""How long a flush's id is remembered, to ignore one that is sent again."""
LEASE_SECONDS: Final = 10
"""How long the lease outlives a worker that held it."""
GAUGE_SECONDS: Final = 5
"""A worker that has not flushed for this long is considered gone, and its gauges are ignored."""

# The flush is marked as added last: what fails before, at a key of another type, is added when it is sent again.
_ADD: Final = Script(
    """
if redis.call('EXISTS', KEYS[3]) == 1 then return end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
if #ARGV > 4 then redis.call('HSETNX', KEYS[1], 'id', ARGV[2]) end
for i = 5, #ARGV, 2 do
  local counted = redis.pcall('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
  if type(counted) == 'table' then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
redis.call('SET', KEYS[3], '1', 'EX', ARGV[1])
""",
    "hash",
    "hash",
    "string",
)
# A lease without an end was not written by a worker, and neither was an id of another form.
_TAKE: Final = Script(
    """
if ARGV[1] ~= '' then
  local leader = redis.call('GET', KEYS[3])
  if leader and leader ~= ARGV[1] then
    if redis.call('TTL', KEYS[3]) < 0 then redis.call('EXPIRE', KEYS[3], ARGV[2]) end
    return {}
  end
  redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])
end
if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RENAME', KEYS[1], KEYS[2])
end
local id = redis.call('HGET', KEYS[2], 'id')
if redis.call('EXISTS', KEYS[2]) == 1 and not (id and #id == 32 and string.match(id, '^%x+$')) then
  redis.call('HSET', KEYS[2], 'id', ARGV[3])
end
return redis.call('HGETALL', KEYS[2])
""",
    "hash",
    "hash",
    "string",
)
_ACKNOWLEDGE: Final = Script(
    """
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then redis.call('DEL', KEYS[1]) end
""",
    "hash",
)
_PENDING: Final = Script(
    """
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3])}
""",
    "hash",
)

_gauges: Final = msgspec.json.Decoder(tuple[float, dict[str, int]])


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._requests = FlushRequests(link, FLUSH_CHANNEL, FLUSH_REQUESTS)

    async def add(self, flush: Flush) -> None:
        expires_at = flush.at + self._link.clock_offset + GAUGE_SECONDS
        gauges = msgspec.json.encode((expires_at, flush.gauges))
        args: list[str | int | bytes] = [FLUSH_ID_SECONDS, secrets.token_hex(16), flush.worker, gauges]
        for field, number in flush.counts.items():
            args += (field, number)
        keys = self._keys(OPEN, GAUGES, FLUSHED + flush.id)
        await self._link.run(_ADD, keys, args)

    async def take(self, worker: str | None) -> CountBatch | None:
        keys, args = self._keys(OPEN, CLOSED, LEASE), (worker or "", LEASE_SECONDS, secrets.token_hex(16))
        return self._batch(await self._link.run(_TAKE, keys, args))

    async def acknowledge(self, batch: str) -> None:
        await self._link.run(_ACKNOWLEDGE, self._keys(CLOSED), [batch])

    async def pending(self, now: float) -> PendingCounts:
        await self._requests.send()
        closed, opened, gauges = await self._link.run(_PENDING, self._keys(CLOSED, OPEN, GAUGES))
        batches = (self._batch(closed), self._batch(opened))
        summed = _sum_gauges(_pairs(gauges), now + self._link.clock_offset)
        return PendingCounts(tuple(batch for batch in batches if batch), summed)

    def listen(self, flush: Callable[[], Awaitable[None]]) -> None:
        self._requests.listen(flush)

    def _batch(self, flat: Any) -> CountBatch | None:
        """The batch in a hash, without what other programs have added; None if it is empty."""
        fields = _pairs(flat)
        identifier = fields.pop(ID, None)
        if identifier is None:
            return None
        counts = read_fields(fields)
        if len(counts) < len(fields):
            self._link.warn("counts in Redis are malformed", f"{len(fields) - len(counts)} fields are ignored")
        return CountBatch(identifier.decode("latin-1"), counts)

    def _keys(self, *names: str) -> list[str]:
        return [self._link.key(name) for name in names]


def _pairs(flat: Any) -> dict[bytes, bytes]:
    if isinstance(flat, dict):  # RESP3 has maps
        return flat
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _sum_gauges(workers: dict[bytes, bytes], now: float) -> dict[str, int]:
    total: dict[str, int] = {}
    for encoded in workers.values():
        try:
            expires_at, gauges = _gauges.decode(encoded)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue  # another program's
        if expires_at >= now:
            for name, number in gauges.items():
                total[name] = total.get(name, 0) + number
    return total

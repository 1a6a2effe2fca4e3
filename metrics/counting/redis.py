"""All workers' counts in Redis: added to an open batch, closed under its id, gone once the database has it.

Every key has the same hash tag: in a Redis Cluster they live in one place, and each step is one atomic script.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from metrics.counting.counts import CountBatch, PendingCounts
from metrics.counting.store import Flush
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from resilience.task_set import TaskSet

OPEN: Final = "{gw:metrics}:open"
CLOSED: Final = "{gw:metrics}:closed"
GAUGES: Final = "{gw:metrics}:gauges"
LEASE: Final = "{gw:metrics}:lease"
FLUSHED: Final = "{gw:metrics}:flushed:"
ASKED: Final = "{gw:metrics}:asked:"
CHANNEL: Final = "gw:metrics"
"""Where a worker that is asked for the numbers asks the others for theirs: the message is the key they answer at."""
ID: Final = b"id"
"""Beside the counts, each batch's hash holds its id: no count's field is a single word."""

REMEMBERED_SECONDS: Final = 600
"""How long a flush may be sent again without being counted again."""
LEASE_SECONDS: Final = 10
"""How long the counts of a cluster wait when the worker that takes them is gone."""
ANSWER_SECONDS: Final = 0.25
"""Longest a reader waits for the others; one that is busier than that is as late as its last flush."""
ASKED_SECONDS: Final = 10
POLL_SECONDS: Final = 0.003
GAUGE_SECONDS: Final = 5
"""A worker that has said nothing for this long is gone, and its gauges with it."""

ADD: Final = """
if not redis.call('SET', KEYS[3], '1', 'NX', 'EX', ARGV[1]) then return end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
if #ARGV == 4 then return end
redis.call('HSETNX', KEYS[1], 'id', ARGV[2])
for i = 5, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
"""
TAKE: Final = """
if ARGV[1] ~= '' then
  local leader = redis.call('GET', KEYS[3])
  if leader and leader ~= ARGV[1] then return {} end
  redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])
end
if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RENAME', KEYS[1], KEYS[2])
end
return redis.call('HGETALL', KEYS[2])
"""
DONE: Final = """
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""
WAITING: Final = """
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3])}
"""

_gauge: Final = msgspec.json.Decoder(tuple[float, dict[str, int]])


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._add = link.client.register_script(ADD)
        self._take = link.client.register_script(TAKE)
        self._done = link.client.register_script(DONE)
        self._waiting = link.client.register_script(WAITING)
        self._answering = TaskSet()

    async def add(self, flush: Flush) -> None:
        gauges = msgspec.json.encode((flush.at + GAUGE_SECONDS, flush.gauges))
        args: list[str | int | bytes] = [REMEMBERED_SECONDS, secrets.token_hex(16), flush.worker, gauges]
        for field, number in flush.counts.items():
            args += (field, number)
        keys = [OPEN, GAUGES, FLUSHED + flush.id]
        await self._link.call(lambda client: self._add(keys=keys, args=args, client=client))

    async def take(self, worker: str | None) -> CountBatch | None:
        keys, args = [OPEN, CLOSED, LEASE], (worker or "", LEASE_SECONDS)
        return _batch(await self._link.call(lambda client: self._take(keys=keys, args=args, client=client)))

    async def acknowledge(self, batch: str) -> None:
        await self._link.call(lambda client: self._done(keys=[CLOSED], args=[batch], client=client))

    async def pending(self, now: float) -> PendingCounts:
        await self._gather()
        keys = [CLOSED, OPEN, GAUGES]
        closed, opened, gauges = await self._link.call(lambda client: self._waiting(keys=keys, client=client))
        batches = (_batch(closed), _batch(opened))
        return PendingCounts(tuple(batch for batch in batches if batch), _sum(_pairs(gauges), now))

    def listen(self, flush: Callable[[], Awaitable[None]]) -> None:
        def asked(message: bytes) -> None:
            self._answering.create(self._answer(message.decode(), flush))

        self._link.feed.listen(CHANNEL, asked)

    async def _gather(self) -> None:
        key, loop = ASKED + secrets.token_hex(16), asyncio.get_running_loop()
        others = await self._link.call(lambda client: client.publish(CHANNEL, key))
        deadline = loop.time() + ANSWER_SECONDS
        while others and loop.time() < deadline:
            if int(await self._link.call(lambda client: client.get(key)) or 0) >= others:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _answer(self, key: str, flush: Callable[[], Awaitable[None]]) -> None:
        if not key.startswith(ASKED):
            return
        with contextlib.suppress(StoreUnavailable):
            await flush()
            await self._link.call(lambda client: _count_up(client, key))


async def _count_up(client: Any, key: str) -> None:
    await client.incr(key)
    await client.expire(key, ASKED_SECONDS)


def _pairs(flat: Any) -> dict[bytes, bytes]:
    if isinstance(flat, dict):  # RESP3 has maps
        return flat
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _batch(flat: Any) -> CountBatch | None:
    fields = _pairs(flat)
    identifier = fields.pop(ID, None)
    if identifier is None:
        return None
    return CountBatch(identifier.decode(), {field.decode(): int(number) for field, number in fields.items()})


def _sum(workers: dict[bytes, bytes], now: float) -> dict[str, int]:
    total: dict[str, int] = {}
    for said in workers.values():
        until, gauges = _gauge.decode(said)
        if until >= now:
            for name, number in gauges.items():
                total[name] = total.get(name, 0) + number
    return total

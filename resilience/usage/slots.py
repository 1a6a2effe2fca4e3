"""Slots of requests in flight, over all workers. The slots of a worker that ends without releasing them expire."""

import hashlib
import time
from collections.abc import Callable
from secrets import token_hex
from typing import Any, Final

from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink, Script
from resilience.task_set import TaskSet

TERM_SECONDS: Final = 15
"""How long a worker's slots are held without being renewed."""
RENEW_SECONDS: Final = 5.0

# One field for each worker: how many slots it holds, and until when.
_SUM: Final = """
local time = redis.call('TIME')
local now, total, own = tonumber(time[1]), 0, 0
local held = redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
  local count, ends = string.match(held[i + 1], '^(%d+):(%d+)$')
  if not count or tonumber(ends) <= now then
    redis.call('HDEL', KEYS[1], held[i])
  else
    total = total + tonumber(count)
    if held[i] == ARGV[1] then own = tonumber(count) end
  end
end
local term = tonumber(ARGV[2])
local function hold(count)
  if count <= 0 then redis.call('HDEL', KEYS[1], ARGV[1])
  else
    redis.call('HSET', KEYS[1], ARGV[1], string.format('%d:%d', count, now + term))
    redis.call('EXPIRE', KEYS[1], term)
  end
end
"""
_ENTER: Final = Script(
    _SUM + "if total >= tonumber(ARGV[3]) then return 0 end hold(own + 1) return 1",
    "hash",
)
_LEAVE: Final = Script(_SUM + "hold(own - 1)", "hash")
_RENEW: Final = Script(_SUM + "hold(tonumber(ARGV[3]))", "hash")


class HeldSlots:
    """The slots of one request: none until `enter`."""

    __slots__ = ("_keys", "_slots")

    def __init__(self, slots: "Slots") -> None:
        self._slots = slots
        self._keys: list[str] = []

    async def enter(self, key: str, limit: int) -> bool:
        """Take one slot of `limit`; False if none is free."""
        if not await self._slots.enter(key, limit):
            return False
        self._keys.append(key)
        return True

    def release(self) -> None:
        """Release all slots. May be called more than once."""
        keys, self._keys = self._keys, []
        for key in keys:
            self._slots.leave(key)


class Slots:
    """`share` is the number of workers among which a limit is divided while Redis is unavailable."""

    def __init__(
        self, link: RedisLink | None = None, *, share: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._link, self._share, self._clock = link, share, clock
        self._held: dict[str, int] = {}
        self._touched: set[str] = set()
        self._worker = token_hex(8)
        self._tasks = TaskSet()
        self._renewed_at = 0.0

    def hold(self) -> HeldSlots:
        return HeldSlots(self)

    async def enter(self, key: str, limit: int) -> bool:
        # Counted first, so that no renewal meanwhile gives the slot up.
        self._touched.add(key)
        self._held[key] = self._held.get(key, 0) + 1
        try:
            free = await self._enter(key, limit)
        except BaseException:
            self.leave(key)
            raise
        if not free:
            self._forget(key)
        return free

    def leave(self, key: str) -> None:
        """Give a slot back, without waiting for Redis."""
        self._forget(key)
        if self._link is not None:
            self._tasks.create(self._leave(key))

    async def renew(self) -> None:
        """Write how many slots are held, if it is time. Called every second.

        Also of keys whose slots have all been released since: Redis may not know of it, and every later request would
        renew what it counts for this worker.
        """
        now = self._clock()
        if self._link is None or now < self._renewed_at + RENEW_SECONDS:
            return
        self._renewed_at = now
        touched, self._touched = self._touched, set()
        due = {*self._held, *touched}
        try:
            while due:
                key = due.pop()
                touched.add(key)
                await self._run(_RENEW, key, self._held.get(key, 0))
                touched.discard(key)
        except StoreUnavailable:
            self._touched |= touched
            self._renewed_at = 0.0

    async def close(self) -> None:
        await self._tasks.wait()

    async def _enter(self, key: str, limit: int) -> bool:
        if self._link is None:
            return self._held[key] <= limit
        try:
            return bool(await self._run(_ENTER, key, limit))
        except StoreUnavailable:
            return self._held[key] <= max(1, limit // self._share)

    async def _leave(self, key: str) -> None:
        try:
            await self._run(_LEAVE, key)
        except StoreUnavailable:
            self._renewed_at = 0.0  # the next renewal says how many are held

    def _forget(self, key: str) -> None:
        count = self._held.get(key, 0) - 1
        if count > 0:
            self._held[key] = count
        else:
            self._held.pop(key, None)

    async def _run(self, script: Script, key: str, *arguments: int) -> Any:
        link = self._link
        if link is None:
            raise StoreUnavailable
        name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return await link.run(script, [link.key(f"slots:{name}")], (self._worker, TERM_SECONDS, *arguments))

"""Sliding windows in Redis: one hash of counts by slice per caller, updated by an atomic script.

The script reads the server's clock: by a fast worker's, slices would be dropped that the other workers still count.
"""

import hashlib
from typing import Final

from resilience.ratelimit.policy import SLICES, RatePolicy
from resilience.ratelimit.window import Decision
from resilience.redis import RedisLink, Script

CLOCK: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
"""

# Other programs' fields are deleted: they have no count, or one of a slice that no clock has reached.
TAKE: Final = """
local function integer(text) return #text < 16 and string.match(text, '^%d+$') and tonumber(text) end
local limit, window, wanted, slices = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local slice = window / slices
local current = math.floor(now / slice)
local total, oldest = 0, nil
local counts = redis.call('HGETALL', KEYS[1])
for i = 1, #counts, 2 do
  local index, count = integer(counts[i]), integer(counts[i + 1])
  if not index or not count or math.abs(index - current) > slices then
    redis.call('HDEL', KEYS[1], counts[i])
  else
    total = total + count
    if oldest == nil or index < oldest then oldest = index end
  end
end
local granted = math.max(0, math.min(wanted, limit - total))
if granted > 0 then
  redis.call('HINCRBY', KEYS[1], string.format('%d', current), granted)
  redis.call('PEXPIRE', KEYS[1], math.ceil((window + slice) * 1000))
  oldest = oldest or current
end
local reset = oldest and math.max(0, (oldest + slices + 1) * slice - now) or 0
local keep = (current + 1) * slice - now
return {granted, math.max(0, limit - total - granted), math.ceil(reset * 1000000), current, math.floor(keep * 1000000)}
"""

_REFUND: Final = Script(
    """
local held = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') or 0
local count = math.min(held, tonumber(ARGV[2]))
if count == held then redis.call('HDEL', KEYS[1], ARGV[1])
else redis.call('HINCRBY', KEYS[1], ARGV[1], -count) end
""",
    "hash",
)


class RedisStore:
    def __init__(self, link: RedisLink, *, clock: str = CLOCK) -> None:
        """`clock` is the Lua line that sets `now`."""
        self._link = link
        self._take = Script(clock + TAKE, "hash")

    async def take(self, key: str, policy: RatePolicy, now: float, wanted: int) -> Decision:
        args = (policy.limit, policy.window, wanted, SLICES, now)
        granted, remaining, reset, current, expires_in = await self._link.run(
            self._take, [self._link.key(_bucket(key))], args
        )
        return Decision(granted, remaining, reset / 1e6, current, expires_in / 1e6)

    async def refund(self, key: str, taken: int, count: int) -> None:
        await self._link.run(_REFUND, [self._link.key(_bucket(key))], (taken, count))


def _bucket(key: str) -> str:
    """Redis holds digests of callers' names, never the names."""
    return f"rate:{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"

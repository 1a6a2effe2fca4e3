"""Counters in Redis: one hash each, changed by scripts that read the server's clock.

A counter is valid in the run of the server that it was written in: after a restart from a snapshot or a failover to a
replica, it may be from before requests that were counted. It is then filled from the database, as one that is lost.
"""

import hashlib
from typing import Any, Final

from resilience.redis import RedisLink, Script
from resilience.usage.counter import LEASE_SECONDS, NEAR, SHARE_OF_FREE, Allowance, Counter, Missing, OtherPeriod, Take

_KEEP_SECONDS: Final = 86_400
"""How long a counter is kept after its period."""
_MISSING: Final = b"missing"
_OTHER_PERIOD: Final = b"other"

_RUN: Final = """
local about = redis.call('INFO', 'server')
local start = string.find(about, 'run_id:', 1, true) + 7
local run = string.sub(about, start, start + 15)
"""
_BEGIN: Final = (
    _RUN
    + """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local amount, starts, ends = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local names = {'used', 'extra', 'since', 'ends', 'warned', 'leased'}
local found = redis.call('HMGET', KEYS[1], 'generation', 'run', unpack(names))
if not found[1] then return {'missing'} end
if found[2] and found[2] ~= run then redis.call('DEL', KEYS[1]) return {'missing'} end
local c = {}
for i, name in ipairs(names) do
  c[name] = tonumber(found[i + 2])
  if not c[name] then redis.call('DEL', KEYS[1]) return {'missing'} end
end
if now < starts or now >= ends then return {'other', string.format('%.6f', now)} end
if now >= c.ends then
  c.used, c.extra, c.warned, c.leased, c.since = 0, 0, 0, 0, starts
end
c.ends = ends
local function whole(number) return string.format('%.0f', number) end
local function put()
  redis.call('HSET', KEYS[1], 'used', whole(c.used), 'extra', whole(c.extra), 'since', whole(c.since),
    'ends', whole(c.ends), 'warned', whole(c.warned), 'leased', string.format('%.6f', c.leased), 'run', run)
  redis.call('EXPIREAT', KEYS[1], whole(c.ends + tonumber(ARGV[4])))
end
local function reply(granted, crossed, retry)
  return {granted, whole(c.used), whole(c.extra), whole(c.since), whole(c.ends), whole(c.warned), found[1],
    string.format('%.6f', now), crossed, string.format('%.6f', retry)}
end
"""
)

_TAKE: Final = Script(
    _BEGIN
    + f"""
local wanted, spare = tonumber(ARGV[5]), tonumber(ARGV[6])
local limit = amount + c.extra
local free = math.max(0, limit - c.used)
local granted = math.min(wanted, free)
local ahead = math.min(spare, math.floor((free - granted) / {SHARE_OF_FREE}))
if ahead > 0 then c.leased = now + {LEASE_SECONDS} end
c.used = c.used + granted + ahead
local crossed = 0
if granted > 0 then
  if c.used >= limit and c.warned < 100 then crossed = 100
  elseif c.used * 100 >= limit * {NEAR} and c.warned < {NEAR} then crossed = {NEAR} end
end
c.warned = math.max(c.warned, crossed)
put()
local retry = 0
if granted < wanted then retry = math.min(math.max(0, c.leased - now), {LEASE_SECONDS}) end
return reply(granted + ahead, crossed, retry)
""",
    "hash",
)
_ADJUST: Final = Script(
    _BEGIN
    + f"""
local before = c.used
if ARGV[5] == 'all' then c.used = 0 else c.used = math.max(0, c.used - tonumber(ARGV[5])) end
c.extra = c.extra + tonumber(ARGV[6])
local limit, reached = amount + c.extra, 0
if c.used >= limit then reached = 100 elseif c.used * 100 >= limit * {NEAR} then reached = {NEAR} end
c.warned = math.min(c.warned, reached)
put()
return reply(c.used - before, 0, 0)
""",
    "hash",
)
_FILL: Final = Script(
    _RUN
    + """
local found = redis.call('HGET', KEYS[1], 'generation')
if found then return found end
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'used', ARGV[2], 'extra', ARGV[3], 'since', ARGV[4], 'ends', ARGV[5],
  'warned', ARGV[6], 'leased', '0', 'run', run)
redis.call('EXPIRE', KEYS[1], ARGV[7])
return ARGV[1]
""",
    "hash",
)
_SETTLE: Final = Script(
    """
local found = redis.call('HMGET', KEYS[1], 'generation', 'since')
if found[1] == ARGV[1] and found[2] == ARGV[2] and redis.call('HINCRBY', KEYS[1], 'used', ARGV[3]) < 0 then
  redis.call('HSET', KEYS[1], 'used', '0')
end
return found[1] and 1 or 0
""",
    "hash",
)


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link

    @property
    def unavailable(self) -> bool:
        return self._link.unavailable

    async def take(self, key: str, quota: Allowance, wanted: int, spare: int, now: float) -> Take:  # noqa: ARG002 - Redis has a clock
        found = await self._run(_TAKE, key, quota, wanted, spare)
        return Take(int(found[0]), _counter(found), float(found[7]), int(found[8]), float(found[9]))

    async def adjust(
        self,
        key: str,
        quota: Allowance,
        used: int | None,
        extra: int,
        now: float,  # noqa: ARG002 - as above
    ) -> Take:
        found = await self._run(_ADJUST, key, quota, "all" if used is None else used, extra)
        return Take(int(found[0]), _counter(found), float(found[7]))

    async def fill(self, key: str, counter: Counter) -> str:
        fields = (counter.generation, counter.used, counter.extra, counter.since, counter.ends, counter.warned)
        found = await self._link.run(_FILL, [self._key(key)], (*fields, _KEEP_SECONDS))
        return bytes(found).decode()

    async def settle(self, key: str, generation: str, since: int, count: int) -> bool:
        return bool(await self._link.run(_SETTLE, [self._key(key)], (generation, since, count)))

    async def _run(self, script: Script, key: str, quota: Allowance, first: Any, second: Any) -> Any:
        """Raises Missing and OtherPeriod."""
        args = (quota.amount, quota.period.starts, quota.period.ends, _KEEP_SECONDS, first, second)
        found = await self._link.run(script, [self._key(key)], args)
        if found[0] == _MISSING:
            raise Missing
        if found[0] == _OTHER_PERIOD:
            raise OtherPeriod(float(found[1]))
        return found

    def _key(self, key: str) -> str:
        """Redis holds digests of what is counted, as for rate limits."""
        return self._link.key(f"usage:{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}")


def _counter(found: Any) -> Counter:
    used, extra, since, ends, warned = map(int, found[1:6])
    return Counter(used, extra, since, ends, warned, bytes(found[6]).decode())

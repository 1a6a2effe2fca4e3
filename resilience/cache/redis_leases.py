"""Leases that all workers share, in Redis.

<prefix>:{service}:l:<name>    the owner's id until the lease ends, then for a while the fetch's result
"""

from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple

from resilience.batcher import Batcher
from resilience.cache.leases import LEASE_SECONDS, ClaimResult, Release
from resilience.redis import RedisLink, Script

_RESULTS: Final = frozenset(result.value for result in ClaimResult)

# A key that outlives the term of a lease has no living owner, so its time to live is reduced. A server that is out of
# memory grants every claim.
CLAIM_FUNCTION: Final = """
local function claim(key, owner, missed, term)
  local held = redis.pcall('GET', key)
  if type(held) == 'string' and not (held == '+' and missed) then
    local left = redis.call('PTTL', key)
    if left < 0 or left > tonumber(term) then redis.call('PEXPIRE', key, term) end
    return held
  end
  redis.pcall('SET', key, owner, 'PX', term)
  return ''
end
"""
RELEASE_FUNCTION: Final = """
local function release(key, owner, result, lasts)
  if redis.pcall('GET', key) ~= owner then return end
  if result == '' then redis.call('DEL', key) else redis.call('SET', key, result, 'PX', lasts) end
end
"""

_CLAIM: Final = Script(
    CLAIM_FUNCTION
    + """
local results = {}
for i, key in ipairs(KEYS) do results[i] = claim(key, ARGV[2 * i], ARGV[2 * i + 1] == '1', ARGV[1]) end
return results
"""
)

_RENEW: Final = Script(
    """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
)

_RELEASE: Final = Script(
    RELEASE_FUNCTION
    + """
for i, key in ipairs(KEYS) do release(key, ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]) end
"""
)


class _ClaimRequest(NamedTuple):
    name: str
    owner: str
    missed: bool


class RedisLeases:
    """A lease may also be claimed together with the lookup, and released together with the response that was fetched:
    see redis_scripts.py.
    """

    def __init__(self, link: RedisLink, seconds: float = LEASE_SECONDS) -> None:
        self._link = link
        self._term_ms = int(seconds * 1_000)
        self._claims = Batcher(self._claim_all)
        self._releases = Batcher(self._release_all)

    async def claim(self, service: str, name: str, owner: str, *, missed: bool) -> ClaimResult:
        return await self._claims.submit(service, _ClaimRequest(name, owner, missed))

    async def renew(self, service: str, name: str, owner: str) -> bool:
        return bool(await self._link.run(_RENEW, [self._key(service, name)], (owner, self._term_ms)))

    async def release(self, service: str, name: str, owner: str, result: ClaimResult, seconds: float) -> None:
        await self._releases.submit(service, Release(name, owner, result, seconds))

    async def _claim_all(self, service: str, requests: Sequence[_ClaimRequest]) -> list[ClaimResult]:
        keys = [self._key(service, request.name) for request in requests]
        pairs = chain.from_iterable((request.owner, int(request.missed)) for request in requests)
        values = await self._link.run(_CLAIM, keys, [self._term_ms, *pairs])
        return [claim_result(value) for value in values]

    async def _release_all(self, service: str, requests: Sequence[Release]) -> Sequence[None]:
        keys = [self._key(service, request.name) for request in requests]
        arguments = [*chain.from_iterable((each.owner, each.result.value, each.milliseconds) for each in requests)]
        await self._link.run(_RELEASE, keys, arguments)
        return [None] * len(requests)

    def _key(self, service: str, name: str) -> str:
        return lease_key(self._link, service, name)


def lease_key(link: RedisLink, service: str, name: str) -> str:
    """Where a lease is in Redis."""
    return link.key(f"{{{service}}}:l:{name}")


def claim_result(value: bytes) -> ClaimResult:
    """The result for the value of a lease's key; an owner's id is THEIRS."""
    text = value.decode("latin-1")
    return ClaimResult(text) if text in _RESULTS else ClaimResult.THEIRS

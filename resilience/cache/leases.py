"""Leases on fetches: of all workers that want the same response, one at a time fetches it, until it has or is dead.

<prefix>:{service}:l:<name>    the owner's id until the lease ends, then for a while the fetch's result
"""

from collections.abc import Sequence
from enum import StrEnum
from itertools import chain
from typing import Final, NamedTuple, Protocol

from resilience.batcher import Batcher
from resilience.redis import RedisLink, Script

LEASE_SECONDS: Final = 5.0
"""The term of a lease. An owner that does not renew it within that is considered dead."""
RENEW_SECONDS: Final = LEASE_SECONDS / 3
"""How often an owner renews its lease, so that one renewal may be lost."""
STORED_SECONDS: Final = 1.0
"""How long STORED remains, for workers that looked up before the response was stored and claim the lease after."""


class ClaimResult(StrEnum):
    """The result of claiming a lease; also what an owner leaves behind when it releases one."""

    OURS = ""
    """The claim succeeded. On release: nothing is left behind."""
    THEIRS = "?"
    """Another worker owns the lease."""
    STORED = "+"
    """The response has been stored."""
    UNCACHEABLE = "-"
    """The response cannot be stored."""


_RESULTS: Final = frozenset(result.value for result in ClaimResult)


class Leases(Protocol):
    """Raises StoreUnavailable."""

    async def claim(self, service: str, name: str, owner: str, *, missed: bool) -> ClaimResult:
        """Claim a lease. `missed`: we got STORED before, and found no usable response, so that it is ignored."""

    async def renew(self, service: str, name: str, owner: str) -> bool:
        """Extend our lease by its term. False: it is no longer ours."""

    async def release(self, service: str, name: str, owner: str, result: ClaimResult, seconds: float) -> None:
        """End our lease. STORED and UNCACHEABLE remain for `seconds`; OURS leaves nothing."""


# Claims several leases. A key that outlives the term of a lease has no living owner, so its time to live is reduced.
_CLAIM: Final = Script(
    """
local results = {}
for i, key in ipairs(KEYS) do
  local owner, missed, held = ARGV[2 * i], ARGV[2 * i + 1], redis.pcall('GET', key)
  if type(held) == 'string' and not (held == '+' and missed == '1') then
    local left = redis.call('PTTL', key)
    if left < 0 or left > tonumber(ARGV[1]) then redis.call('PEXPIRE', key, ARGV[1]) end
    results[i] = held
  else
    redis.call('SET', key, owner, 'PX', ARGV[1])
    results[i] = ''
  end
end
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
    """
for i, key in ipairs(KEYS) do
  local owner, result, lasts = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  if redis.pcall('GET', key) == owner then
    if result == '' then redis.call('DEL', key) else redis.call('SET', key, result, 'PX', lasts) end
  end
end
"""
)


class _ClaimRequest(NamedTuple):
    name: str
    owner: str
    missed: bool


class _ReleaseRequest(NamedTuple):
    name: str
    owner: str
    result: ClaimResult
    milliseconds: int


class RedisLeases:
    """Leases that all workers share."""

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
        await self._releases.submit(service, _ReleaseRequest(name, owner, result, int(seconds * 1_000)))

    async def _claim_all(self, service: str, requests: Sequence[_ClaimRequest]) -> list[ClaimResult]:
        keys = [self._key(service, request.name) for request in requests]
        pairs = chain.from_iterable((request.owner, int(request.missed)) for request in requests)
        values = await self._link.run(_CLAIM, keys, [self._term_ms, *pairs])
        return [_claim_result(value) for value in values]

    async def _release_all(self, service: str, requests: Sequence[_ReleaseRequest]) -> Sequence[None]:
        keys = [self._key(service, request.name) for request in requests]
        arguments = [*chain.from_iterable((each.owner, each.result.value, each.milliseconds) for each in requests)]
        await self._link.run(_RELEASE, keys, arguments)
        return [None] * len(requests)

    def _key(self, service: str, name: str) -> str:
        return self._link.key(f"{{{service}}}:l:{name}")


def _claim_result(value: bytes) -> ClaimResult:
    """The result for the value of a lease's key; an owner's id is THEIRS."""
    text = value.decode("latin-1")
    return ClaimResult(text) if text in _RESULTS else ClaimResult.THEIRS

"""Who of several workers fetches an answer that all of them want: one at a time, and never one that is dead.

gw:{service}:l:<name>    the fetcher's id until its lease ends, then for a moment what came of it
"""

from collections.abc import Sequence
from enum import StrEnum
from itertools import chain
from typing import Final, NamedTuple, Protocol

from resilience.batcher import Batcher
from resilience.redis import RedisLink, Script

LEASE_SECONDS: Final = 5.0
"""After this the others no longer wait for a fetcher that has not been heard of: it is dead."""
RENEW_SECONDS: Final = LEASE_SECONDS / 3
"""How often a living fetcher is heard of, whose backend takes its time: one such word may be lost."""
ECHO_SECONDS: Final = 1.0
"""How long "it is stored" is said after it was: to one who looked before that, and asks for the lease after."""


class ClaimResult(StrEnum):
    """What became of asking for a lease."""

    OURS = ""
    THEIRS = "?"
    STORED = "+"
    UNCACHEABLE = "-"


_CLAIMS: Final = frozenset(claim.value for claim in ClaimResult)


class Leases(Protocol):
    """Raises StoreUnavailable where a shared place for them cannot be reached."""

    async def claim(self, service: str, name: str, owner: str, *, looked: bool) -> ClaimResult:
        """`looked`: STORED was said to us, and we have looked since and found nothing of use: it is no answer."""

    async def renew(self, service: str, name: str, owner: str) -> bool:
        """We are alive. False: the lease is no longer ours."""

    async def release(self, service: str, name: str, owner: str, said: ClaimResult, seconds: float) -> None:
        """End our lease. `said`: OURS says nothing to the next; STORED and UNKEPT stand for `seconds`."""


# Several at once. One that would outlive a lease is nobody's, and nobody is to wait for it longer.
_CLAIM: Final = Script(
    """
local said = {}
for i, key in ipairs(KEYS) do
  local owner, looked, held = ARGV[2 * i], ARGV[2 * i + 1], redis.call('GET', key)
  if held and not (held == '+' and looked == '1') then
    local left = redis.call('PTTL', key)
    if left < 0 or left > tonumber(ARGV[1]) then redis.call('PEXPIRE', key, ARGV[1]) end
    said[i] = held
  else
    redis.call('SET', key, owner, 'PX', ARGV[1])
    said[i] = ''
  end
end
return said
"""
)

_RENEW: Final = Script(
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
)

_RELEASE: Final = Script(
    """
for i, key in ipairs(KEYS) do
  local owner, said, lasts = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  if redis.call('GET', key) == owner then
    if said == '' then redis.call('DEL', key) else redis.call('SET', key, said, 'PX', lasts) end
  end
end
"""
)


class _ClaimRequest(NamedTuple):
    """A lease that `owner` asks for, or has `looked` and asks for again."""

    name: str
    owner: str
    looked: bool


class _ReleaseRequest(NamedTuple):
    """What `owner` says at its lease's end, and for how many milliseconds that stands."""

    name: str
    owner: str
    said: ClaimResult
    lasts: int


class RedisLeases:
    """Leases that all workers see."""

    def __init__(self, link: RedisLink, seconds: float = LEASE_SECONDS) -> None:
        self._link = link
        self._milliseconds = int(seconds * 1_000)
        self._wishes = Batcher(self._claim_all)
        self._words = Batcher(self._release_all)

    async def claim(self, service: str, name: str, owner: str, *, looked: bool) -> ClaimResult:
        return await self._wishes.submit(service, _ClaimRequest(name, owner, looked))

    async def renew(self, service: str, name: str, owner: str) -> bool:
        return bool(await self._link.run(_RENEW, [_key(service, name)], (owner, self._milliseconds)))

    async def release(self, service: str, name: str, owner: str, said: ClaimResult, seconds: float) -> None:
        await self._words.submit(service, _ReleaseRequest(name, owner, said, int(seconds * 1_000)))

    async def _claim_all(self, service: str, wishes: Sequence[_ClaimRequest]) -> list[ClaimResult]:
        keys = [_key(service, wish.name) for wish in wishes]
        arguments = [self._milliseconds, *chain.from_iterable((wish.owner, int(wish.looked)) for wish in wishes)]
        return [_heard(held) for held in await self._link.run(_CLAIM, keys, arguments)]

    async def _release_all(self, service: str, words: Sequence[_ReleaseRequest]) -> Sequence[None]:
        keys = [_key(service, word.name) for word in words]
        arguments = [*chain.from_iterable((word.owner, word.said.value, word.lasts) for word in words)]
        await self._link.run(_RELEASE, keys, arguments)
        return [None] * len(words)


def _heard(held: bytes) -> ClaimResult:
    said = held.decode("latin-1")
    return ClaimResult(said) if said in _CLAIMS else ClaimResult.THEIRS


def _key(service: str, name: str) -> str:
    return f"gw:{{{service}}}:l:{name}"

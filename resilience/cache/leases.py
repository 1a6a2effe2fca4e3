"""Who of several workers fetches an answer that all of them want: one at a time, and never one that is dead.

gw:{service}:l:<name>    the fetcher's id until its lease ends, then for a moment what came of it
"""

from enum import StrEnum
from functools import partial
from typing import Final, Protocol

from resilience.cache.redis import Script
from resilience.redis import RedisLink

LEASE_SECONDS: Final = 5.0
"""After this the others no longer wait for a fetcher that has not been heard of: it is dead."""
RENEW_SECONDS: Final = LEASE_SECONDS / 3
"""How often a living fetcher is heard of, whose backend takes its time: one such word may be lost."""
ECHO_SECONDS: Final = 1.0
"""How long "it is stored" is said after it was: to one who looked before that, and asks for the lease after."""


class Claim(StrEnum):
    """What became of asking for a lease."""

    OURS = ""
    THEIRS = "?"
    STORED = "+"
    UNKEPT = "-"


class Leases(Protocol):
    """Raises StoreUnavailable where a shared place for them cannot be reached."""

    async def claim(self, service: str, name: str, owner: str, *, looked: bool) -> Claim:
        """`looked`: STORED is no answer, we have looked since and found nothing of use."""

    async def renew(self, service: str, name: str, owner: str) -> bool:
        """We are alive. False: the lease is no longer ours."""

    async def release(self, service: str, name: str, owner: str, said: Claim, seconds: float) -> None:
        """End our lease. `said`: OURS says nothing to the next; STORED and UNKEPT stand for `seconds`."""


# One that would outlive a lease is nobody's, and nobody is to wait for it longer.
_CLAIM: Final = Script(
    """
local held = redis.call('GET', KEYS[1])
if held and not (held == '+' and ARGV[3] == '1') then
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  return held
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ''
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
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
)


class RedisLeases:
    """Leases that all workers see."""

    def __init__(self, link: RedisLink, seconds: float = LEASE_SECONDS) -> None:
        self._link = link
        self._milliseconds = int(seconds * 1_000)

    async def claim(self, service: str, name: str, owner: str, *, looked: bool) -> Claim:
        arguments = (owner, self._milliseconds, int(looked))
        held = await self._link.call(partial(_CLAIM, keys=[_key(service, name)], arguments=arguments))
        said = bytes(held).decode("latin-1")
        return Claim(said) if said in tuple(Claim) else Claim.THEIRS

    async def renew(self, service: str, name: str, owner: str) -> bool:
        arguments = (owner, self._milliseconds)
        return bool(await self._link.call(partial(_RENEW, keys=[_key(service, name)], arguments=arguments)))

    async def release(self, service: str, name: str, owner: str, said: Claim, seconds: float) -> None:
        arguments = (owner, said.value, int(seconds * 1_000))
        await self._link.call(partial(_RELEASE, keys=[_key(service, name)], arguments=arguments))


def _key(service: str, name: str) -> str:
    return f"gw:{{{service}}}:l:{name}"

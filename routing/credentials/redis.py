"""Records and leases in Redis, shared by all workers.

<prefix>:credential:<name>          an encrypted record
<prefix>:credential-lease:<name>    the worker that refreshes it
"""

from typing import Final

from resilience.redis import RedisLink, Script
from routing.credentials.store import CHANNEL, LEASE_SECONDS

# What has no end, or a later one than a lease can have, was not written by a worker.
_CLAIM: Final = Script(
    """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and held ~= ARGV[1] then
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)
_RELEASE: Final = Script("if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end")
_READ: Final = Script("return redis.call('GET', KEYS[1])", "string")


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def read(self, name: str) -> bytes | None:
        value: bytes | None = await self._link.run(_READ, [self._key(name)])
        return value

    async def write(self, name: str, value: bytes, seconds: float) -> None:
        key, milliseconds = self._key(name), max(1, round(seconds * 1_000))
        await self._link.call(lambda client: client.set(key, value, px=milliseconds))

    async def remove(self, name: str) -> None:
        key = self._key(name)
        await self._link.call(lambda client: client.delete(key))

    async def claim(self, name: str, owner: str) -> bool:
        return bool(await self._link.run(_CLAIM, [self._lease(name)], (owner, round(LEASE_SECONDS * 1_000))))

    async def release(self, name: str, owner: str) -> None:
        await self._link.run(_RELEASE, [self._lease(name)], (owner,))

    async def announce(self, service: str) -> None:
        await self._link.publish(CHANNEL, service.encode())

    def _key(self, name: str) -> str:
        return self._link.key(f"credential:{name}")

    def _lease(self, name: str) -> str:
        return self._link.key(f"credential-lease:{name}")

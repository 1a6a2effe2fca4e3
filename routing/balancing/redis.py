"""Verdicts in Redis: one JSON object for all targets, written by the holder of a short lease."""

from collections.abc import Mapping
from typing import Final

import msgspec

from resilience.redis import RedisLink, Script
from routing.balancing.rules import HealthVerdict

LEADER: Final = "{targets}:prober"
VERDICTS: Final = "{targets}:verdicts"
"""The braces put both keys in the same slot of a Redis Cluster."""
VERDICT_TTL_SECONDS: Final = 3_600
"""Verdicts that no worker has renewed for this long expire."""

# A lease without an end was not written by a worker; it gets one, so that health checks go on.
_LEAD: Final = Script(
    """
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then
  if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""",
    "string",
)
_LOAD: Final = Script("return redis.call('GET', KEYS[1])", "string")
_SAVE: Final = Script(
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
return 1
""",
    "string",
)

_encode_verdicts: Final = msgspec.json.Encoder().encode
_verdicts_decoder: Final = msgspec.json.Decoder(dict[str, HealthVerdict])


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def lead(self, holder: str, seconds: float) -> bool:
        args = holder, round(seconds * 1000)
        return bool(await self._link.run(_LEAD, [self._link.key(LEADER)], args))

    async def load(self) -> Mapping[str, HealthVerdict]:
        key = self._link.key(VERDICTS)
        stored: bytes | None = await self._link.run(_LOAD, [key])
        try:
            return {} if stored is None else _verdicts_decoder.decode(stored)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            await self._link.remove_malformed("the targets' health", key, stored or b"")
            return {}

    async def save(self, holder: str, verdicts: Mapping[str, HealthVerdict]) -> bool:
        args = holder, _encode_verdicts(verdicts), VERDICT_TTL_SECONDS
        return bool(await self._link.run(_SAVE, [self._link.key(LEADER), self._link.key(VERDICTS)], args))

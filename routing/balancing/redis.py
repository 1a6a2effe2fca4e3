"""Verdicts in Redis: one JSON object for all targets, written by the holder of a short lease."""

import logging
from collections.abc import Mapping
from typing import Final

import msgspec

from resilience.redis import RedisLink, Script
from routing.balancing.rules import HealthVerdict

log = logging.getLogger(__name__)

LEADER: Final = "{targets}:prober"
VERDICTS: Final = "{targets}:verdicts"
"""The braces put both keys in the same slot of a Redis Cluster."""
VERDICT_TTL_SECONDS: Final = 3_600
"""Verdicts that no worker has renewed for this long expire."""

_LEAD: Final = Script(
    """
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)
_SAVE: Final = Script(
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
return 1
"""
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
        stored: bytes | None = await self._link.call(lambda client: client.get(self._link.key(VERDICTS)))
        try:
            return {} if stored is None else _verdicts_decoder.decode(stored)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            log.warning("the health verdicts in Redis cannot be decoded; starting without any")
            return {}

    async def save(self, holder: str, verdicts: Mapping[str, HealthVerdict]) -> bool:
        args = holder, _encode_verdicts(verdicts), VERDICT_TTL_SECONDS
        return bool(await self._link.run(_SAVE, [self._link.key(LEADER), self._link.key(VERDICTS)], args))

"""Hold-offs in Redis: one hash for all services, compared and set by a script that publishes each change."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from resilience.holdoff.rules import HoldOff, Swap
from resilience.partition import Partition
from resilience.redis import RedisLink, Script

KEY: Final = "holdoffs"
CHANNEL: Final = "holdoff"
VERSION: Final = b"version"
"""The field that counts the changes. No partition is encoded like this."""
MAX_STORED: Final = 10_000
"""Further hold-offs replace none and are not shared."""
TTL_SECONDS: Final = 172_800
"""Time to live of all of them: longer than any hold-off."""

_SWAP: Final = Script(
    """
local stored = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if stored ~= ARGV[2] then return stored end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1])
elseif stored == '' and redis.call('HLEN', KEYS[1]) > tonumber(ARGV[4]) then return false
else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
local counted = redis.pcall('HINCRBY', KEYS[1], 'version', 1)
if type(counted) == 'table' then redis.call('HSET', KEYS[1], 'version', 1) end
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('PUBLISH', ARGV[6], ARGV[7])
return false
""",
    "hash",
)

_encode: Final = msgspec.json.Encoder().encode
_partition: Final = msgspec.json.Decoder(Partition)
_hold_off: Final = msgspec.json.Decoder(HoldOff)
_message: Final = msgspec.json.Decoder(tuple[Partition, HoldOff | None])


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._version: bytes | None = None

    async def load(self) -> Mapping[Partition, HoldOff] | None:
        key = self._link.key(KEY)
        version: bytes | None = await self._link.call(lambda client: client.hget(key, VERSION))
        if version == self._version and self._link.feed.alive:
            return None
        stored: dict[bytes, bytes] = await self._link.call(lambda client: client.hgetall(key))
        self._version = stored.pop(VERSION, None)
        found = {_decoded(_partition, field): _decoded(_hold_off, value) for field, value in stored.items()}
        return {partition: item for partition, item in found.items() if partition is not None and item is not None}

    async def swap(self, partition: Partition, before: HoldOff | None, after: HoldOff | None) -> Swap:
        field, value = _encode(partition.stored), b"" if after is None else _encode(after)
        expected = b"" if before is None else _encode(before)
        while True:
            args = (
                *(field, expected, value, MAX_STORED, TTL_SECONDS),
                *(self._link.key(CHANNEL), _encode((partition.stored, after))),
            )
            stored: bytes | None = await self._link.run(_SWAP, [self._link.key(KEY)], args)
            if stored is None:
                return Swap(True, after)
            current = _decoded(_hold_off, stored) if stored else None
            if current != before or stored == expected:
                return Swap(False, current)
            expected = stored  # equal, but encoded by another version, or malformed

    def listen(self, listener: Callable[[Partition, HoldOff | None], None]) -> None:
        self._link.feed.listen(CHANNEL, lambda message: listener(*_message.decode(message)))


def _decoded(decoder: Any, value: bytes) -> Any:
    """The value, or None if another program has written it."""
    try:
        return decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None

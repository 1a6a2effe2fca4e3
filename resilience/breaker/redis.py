"""Circuits in Redis: one JSON snapshot per service, compared and set by a script that publishes new generations.

Values are compared by meaning, so that one encoded by another version is accepted. A malformed value counts as absent
and is overwritten: it must not hide the other circuits.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from resilience.breaker.machine import Snapshot, State
from resilience.redis import RedisLink, Script

SNAPSHOT_CHANNEL: Final = "breaker"
SNAPSHOT_TTL_SECONDS: Final = 172_800
"""Time to live of a state, unless it is an override: longer than any window and any open time."""

_SWAP: Final = Script(
    """
local stored = redis.pcall('GET', KEYS[1]) or ARGV[1]
if type(stored) == 'table' then stored = '' end
if stored ~= ARGV[2] then return stored end
if ARGV[4] == '0' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[4]) end
if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[6], ARGV[5]) end
return false
"""
)

_encode: Final = msgspec.json.Encoder().encode
_snapshot: Final = msgspec.json.Decoder(Snapshot)
_message: Final = msgspec.json.Decoder(tuple[str, Snapshot])
_NEVER_WRITTEN: Final = _encode(Snapshot())
_OVERRIDES: Final = (State.FORCED_OPEN, State.DISABLED)


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        if not names:
            return []
        keys = [self._snapshot_key(name) for name in names]
        stored = await self._link.call(lambda client: _get_all(client, keys))
        return [await self._read(name, value) for name, value in zip(names, stored, strict=True)]

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        expected = _encode(before)
        while (stored := await self._swap_bytes(name, expected, before, after)) is not None:
            current = _decode(stored) or Snapshot()
            if current != before:
                return current
            expected = stored
        return None

    async def _swap_bytes(self, name: str, expected: bytes, before: Snapshot, after: Snapshot) -> bytes | None:
        """Store `after` and return None if exactly the bytes `expected` are stored; else return the stored bytes."""
        ttl = 0 if after.state in _OVERRIDES else SNAPSHOT_TTL_SECONDS
        message = _encode((name, after)) if after.version != before.version else b""
        args = (_NEVER_WRITTEN, expected, _encode(after), ttl, message, self._link.key(SNAPSHOT_CHANNEL))
        stored: bytes | None = await self._link.run(_SWAP, [self._snapshot_key(name)], args)
        return stored

    def listen(self, listener: Callable[[str, Snapshot], None]) -> None:
        self._link.feed.listen(SNAPSHOT_CHANNEL, lambda message: listener(*_message.decode(message)))

    async def _read(self, name: str, stored: bytes | None) -> Snapshot:
        """The stored snapshot; the initial one if there is none, or it is malformed and therefore deleted."""
        if stored is None:
            return Snapshot()
        snapshot = _decode(stored)
        if snapshot is None:
            await self._link.remove_malformed(f"the circuit of {name}", self._snapshot_key(name), stored)
        return snapshot or Snapshot()

    def _snapshot_key(self, name: str) -> str:
        return self._link.key(f"breaker:{name}")


async def _get_all(client: Any, keys: Sequence[str]) -> list[bytes | None]:
    """The values; empty for a key that has another type, which is as malformed as any other value."""
    # Not MGET: in a Redis Cluster the keys are in different slots.
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.get(key)
    values: list[bytes | Exception | None] = await pipeline.execute(raise_on_error=False)
    for value in values:
        if isinstance(value, Exception) and "WRONGTYPE" not in str(value):
            raise value
    return [b"" if isinstance(value, Exception) else value for value in values]


def _decode(stored: bytes) -> Snapshot | None:
    """The snapshot, or None if it is malformed."""
    try:
        return _snapshot.decode(stored)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None

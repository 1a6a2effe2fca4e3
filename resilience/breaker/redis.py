"""Circuits in Redis: one JSON snapshot a service, compared and set in one script, changes of generation published.

What cannot be read there, or was written in another form, counts by its meaning: one bad value must neither blind the
worker to the other circuits, nor stay.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from resilience.breaker.machine import Snapshot, State
from resilience.redis import RedisLink, Script

log = logging.getLogger(__name__)

CHANNEL: Final = "gw:breaker"
KEPT_SECONDS: Final = 172_800
"""An automatic state is forgotten after two quiet days: longer than any window and any open time."""

_SWAP: Final = Script(
    """
local stored = redis.call('GET', KEYS[1]) or ARGV[1]
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
        stored = await self._link.call(lambda client: _get_all(client, names))
        return [_decode(name, value) for name, value in zip(names, stored, strict=True)]

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        expected = _encode(before)
        while (stored := await self._swap_bytes(name, expected, before, after)) is not None:
            found = _decode(name, stored)
            if found != before:
                return found
            expected = stored
        return None

    async def _swap_bytes(self, name: str, expected: bytes, before: Snapshot, after: Snapshot) -> bytes | None:
        """Store `after` in the place of the very bytes `expected`, and give None; else the bytes that are there."""
        kept = 0 if after.state in _OVERRIDES else KEPT_SECONDS
        message = _encode((name, after)) if after.generation != before.generation else b""
        args = (_NEVER_WRITTEN, expected, _encode(after), kept, message, CHANNEL)
        stored: bytes | None = await self._link.run(_SWAP, [_key(name)], args)
        return stored

    def listen(self, listener: Callable[[str, Snapshot], None]) -> None:
        self._link.feed.listen(CHANNEL, lambda message: listener(*_message.decode(message)))


def _key(name: str) -> str:
    return f"gw:breaker:{name}"


async def _get_all(client: Any, names: Sequence[str]) -> list[bytes | None]:
    # Not MGET: in a Redis Cluster the keys live in different places.
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.get(_key(name))
    answers: list[bytes | None] = await pipeline.execute()
    return answers


def _decode(name: str, stored: bytes | None) -> Snapshot:
    """What is stored; one written by something that is not this version of the gateway was never written."""
    try:
        return Snapshot() if stored is None else _snapshot.decode(stored)
    except msgspec.MsgspecError:
        log.warning("the circuit of %s in Redis cannot be read; it is begun anew", name)
        return Snapshot()

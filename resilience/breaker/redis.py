"""Circuits in Redis: one JSON snapshot a service, compared and set in one script, changes of generation published."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from resilience.breaker.machine import Snapshot, State
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink

CHANNEL: Final = "gw:breaker"
KEPT_SECONDS: Final = 172_800
"""An automatic state is forgotten after two quiet days: longer than any window and any open time."""

SWAP: Final = """
local stored = redis.call('GET', KEYS[1]) or ARGV[1]
if stored ~= ARGV[2] then return stored end
if ARGV[4] == '0' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[4]) end
if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[6], ARGV[5]) end
return false
"""

_encode: Final = msgspec.json.Encoder().encode
_snapshot: Final = msgspec.json.Decoder(Snapshot)
_message: Final = msgspec.json.Decoder(tuple[str, Snapshot])
_NEVER_WRITTEN: Final = _encode(Snapshot())
_OVERRIDES: Final = (State.FORCED_OPEN, State.DISABLED)


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._swap = link.client.register_script(SWAP)

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        if not names:
            return []
        return [_decode(stored) for stored in await self._link.call(lambda client: _get_all(client, names))]

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        kept = 0 if after.state in _OVERRIDES else KEPT_SECONDS
        message = _encode((name, after)) if after.generation != before.generation else b""
        args = (_NEVER_WRITTEN, _encode(before), _encode(after), kept, message, CHANNEL)
        stored = await self._link.call(lambda client: self._swap(keys=[_key(name)], args=args, client=client))
        return None if stored is None else _decode(stored)

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


def _decode(stored: bytes | None) -> Snapshot:
    try:
        return Snapshot() if stored is None else _snapshot.decode(stored)
    except msgspec.MsgspecError as error:  # written by something that is not this version of the gateway
        raise StoreUnavailable("a circuit in Redis cannot be read") from error

"""Records in Redis. A value begins with the holder's name, which the scripts compare."""

from typing import Final

import msgspec

from resilience.outage import reading_shared_data
from resilience.redis import RedisLink, Script
from routing.idempotency.record import RETENTION_SECONDS, IdempotencyRecord

# What has no end was not written by a worker. It may have replaced the record of a completed write, so it is not
# ignored, but it ends when that record would have.
_BEGIN: Final = Script(
    """
local stored = redis.pcall('GET', KEYS[1])
if stored then
  if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
  return stored
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""
)
_FINISH: Final = Script(
    """
local stored = redis.call('GET', KEYS[1])
if not stored or string.sub(stored, 1, #ARGV[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
"""
)
_RELEASE: Final = Script(
    """
local stored = redis.call('GET', KEYS[1])
if stored and string.sub(stored, 1, #ARGV[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""
)

_encode_record: Final = msgspec.msgpack.Encoder().encode
_saved_decoder: Final = msgspec.msgpack.Decoder(IdempotencyRecord)


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def begin(self, name: str, record: IdempotencyRecord, seconds: float) -> IdempotencyRecord | None:
        args = _serialize(record), _milliseconds(seconds), _milliseconds(RETENTION_SECONDS)
        stored: bytes | None = await self._link.run(_BEGIN, [self._link.key(f"idempotency:{name}")], args)
        return None if stored is None else _deserialize(stored)

    async def finish(self, name: str, record: IdempotencyRecord, seconds: float) -> None:
        args = _holder_line(record.holder), _serialize(record), _milliseconds(seconds)
        await self._link.run(_FINISH, [self._link.key(f"idempotency:{name}")], args)

    async def release(self, name: str, holder: str) -> None:
        await self._link.run(_RELEASE, [self._link.key(f"idempotency:{name}")], (_holder_line(holder),))


def _holder_line(holder: str) -> bytes:
    return holder.encode() + b"\n"


def _serialize(record: IdempotencyRecord) -> bytes:
    return _holder_line(record.holder) + _encode_record(record)


def _deserialize(stored: bytes) -> IdempotencyRecord:
    """Raises StoreUnavailable for malformed data: it may belong to a completed write, so it is not ignored."""
    with reading_shared_data():
        return _saved_decoder.decode(stored.partition(b"\n")[2])


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))

"""Batches of all workers in one Redis hash, by id, until they are in the database."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from metrics.counting.flush_requests import FlushRequests
from metrics.usage.record import UsageBatch
from resilience.redis import RedisLink, Script

BATCHES: Final = "{usage}:batches"
FLUSH_REQUESTS: Final = "{usage}:requests:"
FLUSH_CHANNEL: Final = "usage"
KEEP_SECONDS: Final = 12 * 3_600
"""How long a batch is kept while the database is unavailable: less than the ids of saved batches are."""

_PUT: Final = Script(
    """
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
""",
    "hash",
)
_REMOVE: Final = Script("redis.call('HDEL', KEYS[1], unpack(ARGV))", "hash")
_ALL: Final = Script("return redis.call('HVALS', KEYS[1])", "hash")
_CHUNK: Final = 100
"""Batches of one command."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(UsageBatch).decode


class RedisBackup:
    is_shared = True

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._key = link.key(BATCHES)
        self._requests = FlushRequests(link, FLUSH_CHANNEL, FLUSH_REQUESTS)

    async def put(self, batches: Sequence[UsageBatch]) -> None:
        for start in range(0, len(batches), _CHUNK):
            args: list[Any] = [KEEP_SECONDS]
            for batch in batches[start : start + _CHUNK]:
                args += (batch.id, _encode(batch))
            await self._link.run(_PUT, [self._key], args)

    async def remove(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _CHUNK):
            await self._link.run(_REMOVE, [self._key], ids[start : start + _CHUNK])

    async def all(self) -> list[UsageBatch]:
        """Without those that are older than KEEP_SECONDS, and without what other programs have written."""
        found: list[UsageBatch] = []
        for value in await self._link.run(_ALL, [self._key]):
            try:
                found.append(_decode(value))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self._link.warn("a batch of usage in Redis is malformed", "another program has written it")
        oldest = self._link.now() - KEEP_SECONDS
        return [batch for batch in found if batch.at >= oldest]

    async def gather(self) -> None:
        await self._requests.send()

    def listen(self, flush: Callable[[], Awaitable[None]]) -> None:
        self._requests.listen(flush)

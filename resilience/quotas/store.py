"""The stores of what remains of each service's limits, by the latest response to any worker: in memory, or in Redis for
all workers.
"""

from typing import Any, Final, Protocol

import msgspec

from resilience.redis import RedisLink

KEY: Final = "quotas"
TTL_SECONDS: Final = 86_400

QuotaCounts = dict[tuple[str, str], int]
"""What remains of each quota, by service and limit."""

_encode: Final = msgspec.json.Encoder().encode
_name: Final = msgspec.json.Decoder(tuple[str, str])
_number: Final = msgspec.json.Decoder(int)


class Store(Protocol):
    """Raises StoreUnavailable."""

    async def put(self, quotas: QuotaCounts) -> None: ...

    async def load(self) -> QuotaCounts: ...


class MemoryStore:
    def __init__(self) -> None:
        self._quotas: QuotaCounts = {}

    async def put(self, quotas: QuotaCounts) -> None:
        self._quotas |= quotas

    async def load(self) -> QuotaCounts:
        return dict(self._quotas)


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def put(self, quotas: QuotaCounts) -> None:
        key = self._link.key(KEY)
        fields = {_encode(name): number for name, number in quotas.items()}

        async def write(client: Any) -> None:
            await client.hset(key, mapping=fields)
            await client.expire(key, TTL_SECONDS)

        await self._link.call(write)

    async def load(self) -> QuotaCounts:
        key = self._link.key(KEY)
        stored: dict[bytes, bytes] = await self._link.call(lambda client: client.hgetall(key))
        found: QuotaCounts = {}
        for name, number in stored.items():
            try:
                found[_name.decode(name)] = _number.decode(number)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue  # another program's
        return found

"""All workers' failures in Redis: one bounded list for each consumer and each service."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from metrics.failures.failure import KEPT, Failure
from resilience.outage import reading_shared_data
from resilience.redis import RedisLink, Script

KEY: Final = "failures:"
KEPT_SECONDS: Final = 30 * 86_400

_ADD: Final = Script(
    f"""
for i = 2, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
redis.call('LTRIM', KEYS[1], -{KEPT}, -1)
redis.call('EXPIRE', KEYS[1], ARGV[1])
""",
    "list",
)
_READ: Final = Script(f"return redis.call('LRANGE', KEYS[1], -{KEPT}, -1)", "list")
_failure: Final = msgspec.json.Decoder(Failure)


class RedisStore:
    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def add(self, failures: Mapping[str, Sequence[Failure]]) -> None:
        for owner, added in failures.items():
            encoded = [msgspec.json.encode(failure) for failure in added]
            await self._link.run(_ADD, [self._key(owner)], [KEPT_SECONDS, *encoded])

    async def read(self, owner: str) -> list[Failure]:
        with reading_shared_data():
            rows = await self._link.run(_READ, [self._key(owner)], [])
        return [failure for row in rows if (failure := _decoded(row)) is not None]

    def _key(self, owner: str) -> str:
        return self._link.key(f"{KEY}{owner}")


def _decoded(row: object) -> Failure | None:
    """None for what another program has written."""
    try:
        return _failure.decode(row if isinstance(row, bytes) else b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None

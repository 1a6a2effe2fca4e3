"""Which stored answers are asked for most, and how to ask a backend for them again: for warming.

gw:{service}:hot    recipes, scored by hits since the list was begun, a day at most
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import msgspec

from resilience.doorkeeper import Doorkeeper
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink, Script

MAX_COUNTED: Final = 5_000
"""Answers counted in a worker at a time; beyond it all counts are halved, and those of nothing forgotten."""
MAX_REQUESTS: Final = 1_000
"""Recipes kept for each service."""
DAY_MS: Final = 86_400_000


class ReplayableRequest(msgspec.Struct, frozen=True, array_like=True):
    """A request that gets a stored answer. Without a secret: answers to requests with one are not counted."""

    host: bytes
    path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    caller: str | None = None
    tenant: str | None = None


@dataclass(slots=True)
class _Count:
    service: str
    recipe: ReplayableRequest | None
    hits: int = 0


_ADD: Final = Script(
    """
for i = 3, #ARGV, 2 do redis.call('ZINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
"""
)

_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(ReplayableRequest)


class HitCounter:
    """Counted in this worker; over all workers once flushed, where there is a link to Redis."""

    def __init__(self, link: RedisLink | None = None) -> None:
        self._link = link
        self.counts: dict[str, _Count] = {}
        self._doorkeeper = Doorkeeper(MAX_COUNTED)

    def record_hit(self, key: str) -> bool:
        """Count a hit. False: nothing is known of this key, and `first` is due.

        While as many are counted as may be, only what is hit again lately takes another's place.
        """
        count = self.counts.get(key)
        if count is None:
            return len(self.counts) >= MAX_COUNTED and not self._doorkeeper.seen_before(key)
        count.hits += 1
        return True

    def start_counting(self, service: str, key: str, recipe: ReplayableRequest | None) -> None:
        """Begin counting; None for an answer that is not to be asked for again."""
        if len(self.counts) >= MAX_COUNTED:
            self._halve()
        self.counts[key] = _Count(service, recipe, 1)

    async def flush(self) -> None:
        """Tell Redis, and begin anew. Redis away: what was counted is lost."""
        if self._link is None:
            return
        counts, self.counts = self.counts, {}
        for service, hits in _by_service(counts).items():
            top = hits.most_common(MAX_REQUESTS)
            scored = chain.from_iterable((number, _encode(request)) for request, number in top)
            try:
                await self._link.run(_ADD, [_key(service)], (MAX_REQUESTS, DAY_MS, *scored))
            except StoreUnavailable:
                return

    async def top(self, service: str, count: int) -> list[ReplayableRequest]:
        """The most asked for, most first. Raises StoreUnavailable."""
        if self._link is None:
            return [recipe for recipe, _ in _by_service(self.counts)[service].most_common(count)]
        members: list[bytes] = await self._link.call(lambda client: _most(client, service, count))
        return [recipe for member in members if (recipe := _decoded(member)) is not None]

    def _halve(self) -> None:
        for key, count in list(self.counts.items()):
            count.hits //= 2
            if not count.hits:
                del self.counts[key]
        if len(self.counts) >= MAX_COUNTED:
            self.counts.clear()


def _by_service(counts: dict[str, _Count]) -> defaultdict[str, Counter[ReplayableRequest]]:
    hits: defaultdict[str, Counter[ReplayableRequest]] = defaultdict(Counter)
    for count in counts.values():
        if count.recipe is not None:
            hits[count.service][count.recipe] += count.hits
    return hits


async def _most(client: Any, service: str, count: int) -> list[bytes]:
    return list(await client.zrevrange(_key(service), 0, count - 1))


def _decoded(member: bytes) -> ReplayableRequest | None:
    try:
        return _decoder.decode(member)
    except msgspec.MsgspecError:
        return None


def _key(service: str) -> str:
    return f"gw:{{{service}}}:hot"

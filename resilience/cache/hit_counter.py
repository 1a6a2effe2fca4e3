"""Hit counts of stored responses, with the requests that fetch them again, for cache warming.

<prefix>:{service}:hot    requests, scored by hits; the list expires a day after its first
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import chain
from typing import Final

import msgspec

from resilience.doorkeeper import Doorkeeper
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink, Script

MAX_COUNTED: Final = 5_000
"""Keys counted per worker. Beyond it all counts are halved, and those that reach zero are dropped."""
MAX_REQUESTS: Final = 1_000
"""The most requests that are kept per service in Redis."""
DAY_MS: Final = 86_400_000


class ReplayableRequest(msgspec.Struct, frozen=True, array_like=True):
    """A request that fetches a stored response. It contains no secret: responses that depend on one are not counted."""

    host: bytes
    path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    caller: str | None = None
    tenant: str | None = None
    scheme: str = "http"


@dataclass(slots=True)
class _Count:
    service: str
    request: ReplayableRequest | None
    hits: int = 0


_ADD: Final = Script(
    """
for i = 3, #ARGV, 2 do redis.call('ZINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
""",
    "zset",
)

_encode_request: Final = msgspec.msgpack.Encoder().encode
_request_decoder: Final = msgspec.msgpack.Decoder(ReplayableRequest)


class HitCounter:
    """Counts hits in this worker. With a link to Redis, `flush` adds them to those of the other workers."""

    def __init__(self, link: RedisLink | None = None) -> None:
        self._link = link
        self.counts: dict[str, _Count] = {}
        self._doorkeeper = Doorkeeper(MAX_COUNTED)

    def record_hit(self, key: str) -> bool:
        """Count a hit. False: the key is not counted yet, so `start_counting` must be called.

        When MAX_COUNTED keys are counted, another one is admitted on its second recent hit.
        """
        count = self.counts.get(key)
        if count is None:
            return len(self.counts) >= MAX_COUNTED and not self._doorkeeper.seen_before(key)
        count.hits += 1
        return True

    def start_counting(self, service: str, key: str, request: ReplayableRequest | None) -> None:
        """Count a key's first hit. `request` is None for a response that cannot be fetched again without a secret."""
        if len(self.counts) >= MAX_COUNTED:
            self._halve()
        self.counts[key] = _Count(service, request, 1)

    async def flush(self) -> None:
        """Move the counts to Redis; they are lost if it is unavailable."""
        if self._link is None:
            return
        counts, self.counts = self.counts, {}
        for service, hits in _by_service(counts).items():
            top = hits.most_common(MAX_REQUESTS)
            scored = chain.from_iterable((number, _encode_request(request)) for request, number in top)
            try:
                await self._link.run(_ADD, [self._link.key(_hot(service))], (MAX_REQUESTS, DAY_MS, *scored))
            except StoreUnavailable:
                return

    async def top(self, service: str, count: int) -> list[ReplayableRequest]:
        """The `count` requests with the most hits, in descending order. Raises StoreUnavailable."""
        if self._link is None:
            return [request for request, _ in _by_service(self.counts)[service].most_common(count)]
        key = self._link.key(_hot(service))
        members: list[bytes] = await self._link.call(lambda client: client.zrevrange(key, 0, count - 1))
        return [request for member in members if (request := _decode_request(member)) is not None]

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
        if count.request is not None:
            hits[count.service][count.request] += count.hits
    return hits


def _decode_request(member: bytes) -> ReplayableRequest | None:
    try:
        return _request_decoder.decode(member)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _hot(service: str) -> str:
    return f"{{{service}}}:hot"

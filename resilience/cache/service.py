"""The cache for Python code: JSON values under names, over the same store as the answers of services.

Every value carries a tag of its own name, so that replacing or deleting one is an invalidation like any other: it
reaches every worker's memory, and a value being computed meanwhile is not kept.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from resilience.cache.entry import Entry
from resilience.cache.key import key as digest
from resilience.cache.store import UNFENCED, NearStore, Usage
from resilience.outage import StoreUnavailable

SERVICE: Final = "app"
"""The name these values are kept under, beside the services'."""
TTL: Final = 300.0

Answer = TypeVar("Answer")
Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Stats(NamedTuple):
    """This worker's look-ups, and the values in the store, None when it cannot be asked."""

    hits: int
    misses: int
    stored: Usage | None


class Held(NamedTuple):
    """The value is there."""

    value: Any


@dataclass(eq=False, slots=True)
class Claim:
    """The duty to compute a value that others wait for: ends with `fulfil` or `abandon`. The outcome is JSON."""

    name: str
    seq: int = UNFENCED
    outcome: asyncio.Future[bytes | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class ObjectCache:
    """Values are what JSON can hold, and come back as such: a tuple as a list. Times are seconds.

    Redis away: `get` finds nothing and `set` says False; what takes values back raises StoreUnavailable.
    """

    def __init__(self, store: NearStore, clock: Callable[[], float], service: str = SERVICE) -> None:
        self.service = service
        self._store = store
        self._clock = clock
        self._claims: dict[str, Claim] = {}
        self._hits = 0
        self._misses = 0

    async def get(self, name: str, default: Any = None) -> Any:
        body, _ = await self._look(name)
        return default if body is None else msgspec.json.decode(body)

    async def set(self, name: str, value: Any, ttl: float = TTL, tags: Iterable[str] = ()) -> bool:
        """Keep a value in place of what was there; False if Redis is away, or somebody was later. Raises TypeError
        for what JSON cannot hold."""
        body = msgspec.json.encode(value)
        self._claims.pop(name, None)
        try:
            _, seq = await self._store.invalidate(self.service, _own_tag(name))
        except StoreUnavailable:
            return False
        return await self._put(name, body, ttl, tags, seq)

    async def delete(self, name: str) -> bool:
        """Was there a value? Raises StoreUnavailable."""
        return await self._take_back(_own_tag(name)) > 0

    async def get_or_set(
        self, name: str, compute: Callable[[], Awaitable[Any]], ttl: float = TTL, tags: Iterable[str] = ()
    ) -> Any:
        """The value, computed if it is not there: once in this process, however many ask for it at a time."""
        claim = await self.claim(name)
        if isinstance(claim, Held):
            return claim.value
        try:
            value = await compute()
            return await self.fulfil(claim, value, ttl, tags)
        except BaseException as error:
            self.abandon(claim, error)
            raise

    async def invalidate_tag(self, tag: str) -> int:
        """How many values with this tag went. Raises StoreUnavailable."""
        return await self._take_back(tag)

    async def flush(self) -> int:
        """How many values went: all. Raises StoreUnavailable."""
        return await self._take_back(None)

    async def stats(self) -> Stats:
        try:
            return Stats(self._hits, self._misses, await self._store.usage(self.service))
        except StoreUnavailable:
            return Stats(self._hits, self._misses, None)

    async def claim(self, name: str) -> Held | Claim:
        """The value, waited for if it is being computed; or the duty to compute it.

        What went wrong for the one who computes is raised here too, but not that they gave up: then it is our turn.
        """
        while True:
            current = self._claims.get(name)
            if current is None:
                return await self._begin(name)
            body = await asyncio.shield(current.outcome)  # one who stops waiting does not end it for the others
            if body is not None:
                return Held(msgspec.json.decode(body))

    async def fulfil(self, claim: Claim, value: Any, ttl: float = TTL, tags: Iterable[str] = ()) -> Any:
        """Keep the value, give it to those who wait, and return it: as JSON gives it back, to everybody alike."""
        body = msgspec.json.encode(value)
        await self._put(claim.name, body, ttl, tags, claim.seq)
        self._settle(claim, body)
        return msgspec.json.decode(body)

    def abandon(self, claim: Claim, error: BaseException) -> None:
        """The value could not be computed, or its computing was called off."""
        if isinstance(error, Exception):
            claim.outcome.set_exception(error)
            claim.outcome.exception()  # seen, should nobody be waiting
        self._settle(claim, None)

    async def _begin(self, name: str) -> Held | Claim:
        """Look, with all who come meanwhile waiting for what is found."""
        claim = self._claims[name] = Claim(name)
        try:
            body, claim.seq = await self._look(name)
        except BaseException as error:
            self.abandon(claim, error)
            raise
        if body is None:
            return claim
        self._settle(claim, body)
        return Held(msgspec.json.decode(body))

    def _settle(self, claim: Claim, body: bytes | None) -> None:
        if not claim.outcome.done():
            claim.outcome.set_result(body)
        if self._claims.get(claim.name) is claim:
            del self._claims[claim.name]

    async def _look(self, name: str) -> tuple[bytes | None, int]:
        """The value as JSON, None when there is none, and the fence."""
        place = _place(self.service, name)
        entry, seq = self._store.peek(self.service, place), UNFENCED
        if entry is None or entry.fresh_until <= self._clock():
            entry, seq = await self._store.get(self.service, place)
        if entry is None or entry.fresh_until <= self._clock():
            self._misses += 1
            return None, seq
        self._hits += 1
        return entry.body, seq

    async def _put(self, name: str, body: bytes, ttl: float, tags: Iterable[str], seq: int) -> bool:
        now = self._clock()
        entry = Entry(
            status=200,
            headers=(),
            body=body,
            stored_at=now,
            generated_at=now,
            fresh_until=now + ttl,
            stale_until=now + ttl,
            tags=(*tags, _own_tag(name)),
        )
        return ttl > 0 and await self._store.put(self.service, _place(self.service, name), entry, seq)

    async def _take_back(self, tag: str | None) -> int:
        self._claims.clear()  # what is being computed now is for those who asked before, and for them alone
        return (await self._store.invalidate(self.service, tag)).entries


class CacheService:
    """The same for code that cannot await: `run` takes a coroutine to the gateway's loop and waits for its result.

    Never from the loop itself: it would wait for itself.
    """

    def __init__(self, core: ObjectCache, run: Run) -> None:
        self._core = core
        self._run = run

    def get(self, name: str, default: Any = None) -> Any:
        return self._run(self._core.get(name, default))

    def set(self, name: str, value: Any, ttl: float = TTL, tags: Iterable[str] = ()) -> bool:
        return bool(self._run(self._core.set(name, value, ttl, tags)))

    def delete(self, name: str) -> bool:
        return bool(self._run(self._core.delete(name)))

    def get_or_set(
        self, name: str, compute: Callable[[], Answer], ttl: float = TTL, tags: Iterable[str] = ()
    ) -> Answer:
        """`compute` runs in the caller's thread, where its database connection and its transaction are."""
        claim = self._run(self._core.claim(name))
        if isinstance(claim, Held):
            value: Answer = claim.value
            return value
        try:
            value = compute()
            value = self._run(self._core.fulfil(claim, value, ttl, tags))
        except BaseException as error:
            self._run(self._abandon(claim, error))
            raise
        return value

    def invalidate_tag(self, tag: str) -> int:
        return int(self._run(self._core.invalidate_tag(tag)))

    def flush(self) -> int:
        return int(self._run(self._core.flush()))

    def stats(self) -> Stats:
        stats: Stats = self._run(self._core.stats())
        return stats

    async def _abandon(self, claim: Claim, error: BaseException) -> None:
        self._core.abandon(claim, error)


def _place(service: str, name: str) -> str:
    return digest(service, "shared", name.encode("utf-8", "surrogatepass"), b"")


def _own_tag(name: str) -> str:
    return f"name:{_place('', name)}"

"""Cached values of Python code: JSON under names, in the same store as the responses of services.

Every value carries a tag of its own name, so that replacing or deleting one is an invalidation like any other: it
reaches every worker's memory, and a value that is being computed meanwhile is not stored.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from resilience.cache.body_recorder import BODY_BYTES
from resilience.cache.computations import Computation, for_waiters, outcome_of, waits_for
from resilience.cache.entry import Entry
from resilience.cache.flights import FlightEnd, Flights
from resilience.cache.json_values import encode
from resilience.cache.key import key as digest
from resilience.cache.messages import Forward, Fresh, Miss
from resilience.cache.store import UNFENCED, NearStore, StoreUsage
from resilience.outage import StoreUnavailable

SERVICE: Final = "app"
"""The service under which values are stored that belong to none of the gateway's."""
TTL: Final = 300.0


class Stats(NamedTuple):
    """This process's look-ups, and the values in the store, None if it is unavailable."""

    hits: int
    misses: int
    stored: StoreUsage | None


class Held(NamedTuple):
    """The value is stored."""

    value: Any


class ObjectCache:
    """The values of one service, on the gateway's event loop. Values are what JSON can hold, and are returned as such:
    a tuple as a list. Times are seconds.

    Without `flights`, a value is computed once in this process but not in the cluster. `on_lookup` is called with
    whether a look-up was a hit. A value of more than BODY_BYTES is not stored. Where the store is unavailable `get`
    finds nothing and `set` returns False; what invalidates raises StoreUnavailable.
    """

    def __init__(
        self,
        store: NearStore,
        clock: Callable[[], float],
        service: str = SERVICE,
        *,
        flights: Flights | None = None,
        on_lookup: Callable[[bool], None] = lambda _hit: None,
    ) -> None:
        self.service = service
        self._store = store
        self._clock = clock
        self._flights = flights
        self._on_lookup = on_lookup
        self._computations: dict[str, Computation] = {}
        self._hits = 0
        self._misses = 0

    async def get(self, name: str, default: Any = None) -> Any:
        body, _ = await self._look_up(name)
        return default if body is None else msgspec.json.decode(body)

    async def set(self, name: str, value: Any, ttl: float = TTL, tags: Iterable[str] = ()) -> bool:
        """Replace the value. False if the store is unavailable, or the value is too large, or was replaced or
        invalidated meanwhile.

        Raises TypeError or ValueError for what JSON cannot hold.
        """
        body = encode(value)
        self._detach(name)
        try:
            _, seq = await self._store.invalidate(self.service, _own_tag(name))
        except StoreUnavailable:
            return False
        return await self._put(name, body, ttl, tags, seq)

    async def delete(self, name: str) -> bool:
        """Whether there was a value. Raises StoreUnavailable."""
        return await self._invalidate(_own_tag(name)) > 0

    async def get_or_set(
        self, name: str, compute: Callable[[], Awaitable[Any]], ttl: float = TTL, tags: Iterable[str] = ()
    ) -> Any:
        """The value, computed if there is none: once, however many callers ask for it at a time."""
        found = await self.claim(name)
        if isinstance(found, Held):
            return found.value
        try:
            value = await compute()
            return await self.fulfil(found, value, ttl, tags)
        except BaseException as error:
            self.abandon(found, error)
            raise

    async def invalidate_tag(self, tag: str) -> int:
        """The number of entries with this tag that were invalidated. Raises StoreUnavailable."""
        return await self._invalidate(tag)

    async def flush(self) -> int:
        """The number of entries that were invalidated: all. Raises StoreUnavailable."""
        return await self._invalidate(None)

    async def stats(self) -> Stats:
        try:
            return Stats(self._hits, self._misses, await self._store.usage(self.service))
        except StoreUnavailable:
            return Stats(self._hits, self._misses, None)

    async def claim(self, name: str, own: Collection[Computation] = ()) -> Held | Computation:
        """The value, waited for if it is being computed, or the duty to compute it. `own` are the computations that
        need it: RuntimeError if it is one of them, or waits for one.

        Raises the error of the computation waited for. If that was cancelled, the duty falls to this caller.
        """
        while True:
            current = self._computations.get(name)
            if current is None:
                return await self._begin(name)
            if own and waits_for(current, own):
                raise RuntimeError(f"the computation of {name!r} needs its own result")
            body = await outcome_of(current, own)
            if body is not None:
                return Held(msgspec.json.decode(body))

    async def fulfil(self, computation: Computation, value: Any, ttl: float = TTL, tags: Iterable[str] = ()) -> Any:
        """Store the value, give it to those who wait, and return it as JSON gives it back.

        Raises TypeError or ValueError for what JSON cannot hold.
        """
        body = encode(value)
        stored = await self._put(computation.name, body, ttl, tags, computation.seq)
        self._settle(computation, body, FlightEnd.STORED if stored else FlightEnd.ABANDONED)
        return msgspec.json.decode(body)

    def abandon(self, computation: Computation, error: BaseException) -> None:
        """The computation failed, or was cancelled."""
        if isinstance(error, Exception) and not computation.outcome.done():
            computation.outcome.set_exception(for_waiters(error))
            computation.outcome.exception()  # retrieved, in case nobody waits
        self._settle(computation, None, FlightEnd.ABANDONED)

    async def _begin(self, name: str) -> Held | Computation:
        """Look the value up. Callers that come meanwhile wait for the result."""
        computation = self._computations[name] = Computation(name)
        try:
            body, computation.seq = await self._look_up(name)
            if body is None:
                body = await self._lead(computation)
        except BaseException as error:
            self.abandon(computation, error)
            raise
        if body is None:
            return computation
        self._settle(computation, body, FlightEnd.STORED)
        return Held(msgspec.json.decode(body))

    async def _lead(self, computation: Computation) -> bytes | None:
        """Wait until no other worker computes the value. Returns the value that it has stored, or None if this worker
        is to compute it.
        """
        if self._flights is None:
            return None
        key = _value_key(self.service, computation.name)
        computation.flight = self._flights.begin(self.service, key)
        result = await self._flights.lead(computation.flight, lambda: self._result(key))
        if isinstance(result, Fresh):
            return result.entry.body
        if result is not None:
            computation.seq = result.seq
        return None

    def _settle(self, computation: Computation, body: bytes | None, end: FlightEnd) -> None:
        if computation.flight is not None:
            computation.flight.land(end)
        if not computation.outcome.done():
            computation.outcome.set_result(body)
        if self._computations.get(computation.name) is computation:
            del self._computations[computation.name]

    def _detach(self, name: str) -> None:
        """Let only those who already wait have the value that is being computed: later callers, here or elsewhere, do
        not join them.
        """
        computation = self._computations.pop(name, None)
        if computation is not None and computation.flight is not None:
            computation.flight.land(FlightEnd.ABANDONED)

    async def _look_up(self, name: str) -> tuple[bytes | None, int]:
        """The value as JSON, None if there is none, and the fence for storing one."""
        result = await self._result(_value_key(self.service, name))
        is_hit = isinstance(result, Fresh)
        self._hits += is_hit
        self._misses += not is_hit
        self._on_lookup(is_hit)
        return (result.entry.body, result.seq) if isinstance(result, Fresh) else (None, result.seq)

    async def _result(self, key: str) -> Fresh | Miss:
        entry, seq = self._store.peek(self.service, key), UNFENCED
        if entry is None or entry.fresh_until <= self._clock():
            entry, seq = await self._store.get(self.service, key)
        if entry is None or entry.fresh_until <= self._clock():
            return Miss(Forward.URI_MISS, seq)
        return Fresh(entry, max(0, int(self._clock() - entry.generated_at)), seq=seq)

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
        fits = ttl > 0 and len(body) <= BODY_BYTES
        return fits and await self._store.put(self.service, _value_key(self.service, name), entry, seq)

    async def _invalidate(self, tag: str | None) -> int:
        for name in list(self._computations):
            self._detach(name)
        return (await self._store.invalidate(self.service, tag)).entries


class ObjectCaches:
    """The ObjectCache of each service that Python code stores values for, made as they are used."""

    def __init__(
        self, store: NearStore, clock: Callable[[], float], flights: Flights, on_lookup: Callable[[bool], None]
    ) -> None:
        self._make = partial(ObjectCache, store, clock, flights=flights, on_lookup=on_lookup)
        self._known: dict[str, ObjectCache] = {}

    def __call__(self, service: str) -> ObjectCache:
        known = self._known.get(service)
        if known is None:
            known = self._known[service] = self._make(service)
        return known


def _value_key(service: str, name: str) -> str:
    return digest(service, "shared", name.encode("utf-8", "surrogatepass"), b"")


def _own_tag(name: str) -> str:
    return f"name:{_value_key('', name)}"

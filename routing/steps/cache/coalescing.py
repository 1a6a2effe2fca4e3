"""Requests that wait for another's fetch, and fetches that renew what was already given."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from resilience.cache.driver import Cache
from resilience.cache.flights import Flight, FlightEnd, Flights
from resilience.cache.messages import Forward, Fresh, LookupResult, Miss, Stale
from resilience.cache.store import UNFENCED
from routing.errors import GatewayError
from routing.exchange import CacheSlot, Exchange
from routing.http import Response
from routing.steps.cache.revalidation import Revalidation

log = logging.getLogger(__name__)

Fetch = Callable[[Exchange], Awaitable[Response]]

ROUNDS: Final = 4
"""How many fetches of others a request waits for before it goes itself."""


class Coalescing:
    """One fetch at a time for one key of the cache, and so for one scope."""

    def __init__(
        self, cache: Cache, flights: Flights, *, clock: Callable[[], float], timer: Callable[[], float]
    ) -> None:
        self._cache = cache
        self._flights = flights
        self._revalidation = Revalidation(cache)
        self._clock = clock
        self._timer = timer
        self._renewing: set[asyncio.Task[None]] = set()

    async def join(self, exchange: Exchange, place: CacheSlot) -> Fresh | None:
        """What another's fetch brought. None: this request is the one to fetch, in `place.flight`, or fetches for
        itself alone. Raises what the other's fetch came to.
        """
        if not _may_wait(place):
            return None
        if exchange.request.watch_disconnect:
            exchange.request.watch_disconnect()
        service = place.spot.service
        for _ in range(ROUNDS):
            name = _name(place)
            if self._flights.passes(service, name):
                return None
            flight = self._flights.begun(service, name)
            if flight is None:
                return await self._lead(place, self._flights.begin(service, name))
            if await _ended(flight) is FlightEnd.PASS:
                return None
            found = await self._look(place)
            if isinstance(found, Fresh):
                return found
            place.found = found
        return None

    def renew(self, exchange: Exchange, place: CacheSlot, fetch: Fetch) -> None:
        """Have an answer renewed that was given stale (RFC 5861 section 3), unless somebody is at it."""
        service, name = place.spot.service, _name(place)
        if self._flights.begun(service, name) or self._flights.passes(service, name):
            return
        flight = self._flights.begin(service, name)
        again = CacheSlot(place.spot, place.asked.plain(), place.found, flight)
        task = asyncio.create_task(
            self._renew(exchange.again(list(again.asked.headers), self._clock(), self._timer()), again, flight, fetch)
        )
        self._renewing.add(task)
        task.add_done_callback(self._renewing.discard)

    async def _lead(self, place: CacheSlot, flight: Flight) -> Fresh | None:
        found = await self._flights.lead(flight, lambda: self._look(place))
        if isinstance(found, Fresh):
            flight.land(FlightEnd.STORED)
            return found
        if found is not None:
            place.found = found
        place.flight = flight
        return None

    async def _renew(self, exchange: Exchange, place: CacheSlot, flight: Flight, fetch: Fetch) -> None:
        try:
            found = await self._flights.lead(flight, lambda: self._look(place)) or await self._look(place)
            if isinstance(found, Fresh) and found.refresh and not flight.end.done():
                place.found = Stale(found.entry, found.age, found.seq)
                exchange.cache_slot = place
                self._revalidation.prepare(exchange, place)
                await _drained(await fetch(exchange), flight)
            elif isinstance(found, Fresh):
                flight.land(FlightEnd.STORED)
        except GatewayError as error:
            log.info("an answer of %s could not be renewed: %s", place.spot.service, error.code)
        except Exception:
            log.exception("renewing an answer of %s failed", place.spot.service)
        finally:
            flight.land(FlightEnd.GONE)

    async def _look(self, place: CacheSlot) -> LookupResult:
        return await self._cache.relookup(place.spot.service, place.spot.key, place.asked, self._clock())

    async def close(self) -> None:
        for task in list(self._renewing):
            task.cancel()
        await asyncio.gather(*self._renewing, return_exceptions=True)
        await self._flights.close()


async def _ended(flight: Flight) -> FlightEnd:
    """Raises what the flight came to, where that is the backend's failure."""
    end = await flight.ended()
    if flight.error is not None:
        raise flight.error.with_traceback(None)
    return end


async def _drained(response: Response, flight: Flight) -> None:
    """Read to its end what is to be kept, and let go of what is not."""
    if isinstance(response.body, bytes):
        return
    try:
        async for _ in response.body:
            if flight.end.done() and flight.end.result() is FlightEnd.PASS:
                return
    finally:
        await response.body.aclose()


def _may_wait(place: CacheSlot) -> bool:
    """Would what another fetches do? Not where the request wants the backend's word, or the store is away."""
    found = place.found
    if isinstance(found, Fresh) or found.reason is Forward.REQUEST:
        return False
    return place.asked.wants_whole and found.seq != UNFENCED


def _name(place: CacheSlot) -> str:
    """Under which a fetch is known: each variant has its own, as soon as it is known that there are some."""
    found = place.found
    variant = found.variant if isinstance(found, Miss) else found.entry.variant
    return f"{place.spot.key}:{variant.hex()}" if variant else place.spot.key

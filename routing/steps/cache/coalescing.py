"""Request coalescing: requests that wait for another's fetch, and background revalidation."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from resilience.cache.driver import Cache
from resilience.cache.flights import Flight, FlightEnd, Flights
from resilience.cache.leases import Claim
from resilience.cache.messages import CacheRequest, Forward, Fresh, LookupResult, Miss, Stale
from resilience.cache.store import UNFENCED
from resilience.task_set import TaskSet
from routing.errors import GatewayError
from routing.exchange import CacheSlot, Exchange
from routing.http import Response
from routing.messages.bodies import drain
from routing.messages.via import gateways_passed
from routing.steps.cache.revalidation import Revalidation

log = logging.getLogger(__name__)

Fetch = Callable[[Exchange], Awaitable[Response]]

BACKGROUND_SECONDS: Final = 60.0
"""How long a body is read that no client waits for."""
ROUNDS: Final = 4
"""How many fetches of others a request waits for before it makes its own."""


class Coalescing:
    """One fetch at a time for one cache key, and so within one scope.

    `fetch` takes an exchange through steps 6 to 8. `clock` is Unix seconds, `timer` monotonic ones.
    """

    def __init__(
        self,
        cache: Cache,
        flights: Flights,
        fetch: Fetch,
        *,
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._flights = flights
        self._fetch = fetch
        self._revalidation = Revalidation(cache)
        self._clock = clock
        self._timer = timer
        self._refreshing = TaskSet()

    def look_up(self, service: str, key: str, request: CacheRequest, now: float) -> Awaitable[LookupResult]:
        """Step 5's lookup in the store. It claims the fetch too, where the request may have to make it for others."""
        if request.cache_fields or not request.can_share_fetch or not self._flights.may_claim(service, key):
            return self._cache.lookup(service, key, request, now)
        return self._look_up_and_claim(service, key, request, now)

    async def join(self, exchange: Exchange, slot: CacheSlot) -> Fresh | None:
        """The result of another's fetch. None: this request makes the fetch, as `slot.flight`, or fetches for itself
        alone. Raises the error of the other's fetch.
        """
        claim = slot.result.claim if isinstance(slot.result, Miss) else None
        service = slot.target.service
        if not _may_wait(slot):
            self._flights.give_up(service, slot.target.key, claim)
            return None
        if exchange.request.watch_disconnect:
            exchange.request.watch_disconnect()
        for _ in range(ROUNDS):
            name = _fetch_name(slot)
            flight = self._flights.get(service, name)
            if flight is None and not self._flights.is_uncacheable(service, name):
                return await self._lead(slot, self._flights.begin(service, name), claim)
            self._flights.give_up(service, name, claim)
            claim = None
            if flight is None:
                return None
            if await _end_of(flight) is FlightEnd.UNCACHEABLE:
                return None
            result = await self._look_up(slot)
            if isinstance(result, Fresh):
                return result
            slot.result = result
        return None

    def is_refreshing(self, service: str, key: str, stored: Fresh) -> bool:
        """Whether this worker already fetches what replaces the stored response, or has found that nothing can."""
        return self._is_fetching(service, _variant_name(key, stored.entry.variant))

    def _is_fetching(self, service: str, name: str) -> bool:
        return self._flights.get(service, name) is not None or self._flights.is_uncacheable(service, name)

    def refresh(self, exchange: Exchange, slot: CacheSlot) -> None:
        """Revalidate in the background a response that was served stale (RFC 5861 section 3), unless a fetch for it is
        in flight already.
        """
        service, name = slot.target.service, _fetch_name(slot)
        if self._is_fetching(service, name):
            return
        flight = self._flights.begin(service, name)
        copy = CacheSlot(slot.target, slot.request.unconditional_get(), slot.result, flight)
        background = exchange.background_copy(list(copy.request.headers), self._clock(), self._timer())
        self._refreshing.create(self._refresh(background, copy, flight))

    async def close(self) -> None:
        """End the fetches in the background."""
        await self._refreshing.cancel_and_wait()
        await self._flights.close()

    async def _look_up_and_claim(self, service: str, key: str, request: CacheRequest, now: float) -> LookupResult:
        with self._flights.claimant(service, key) as claimant:
            return await self._cache.lookup(service, key, request, now, claimant)

    async def _lead(self, slot: CacheSlot, flight: Flight, claim: Claim | None) -> Fresh | None:
        result = await self._flights.lead(flight, lambda: self._look_up(slot), claim)
        if isinstance(result, Fresh):
            flight.land(FlightEnd.STORED)
            return result
        if result is not None:
            slot.result = result
        slot.flight = flight
        return None

    async def _refresh(self, exchange: Exchange, slot: CacheSlot, flight: Flight) -> None:
        try:
            result = await self._flights.lead(flight, lambda: self._look_up(slot)) or await self._look_up(slot)
            if isinstance(result, Fresh) and result.refresh and not flight.end.done():
                slot.result = Stale(result.entry, result.age, result.seq)
                exchange.cache_slot = slot
                self._revalidation.prepare(exchange, slot)
                response = await self._fetch(exchange)
                async with asyncio.timeout(BACKGROUND_SECONDS):
                    await drain(response, lambda: not _is_uncacheable(flight))
            elif isinstance(result, Fresh):
                flight.land(FlightEnd.STORED)
        except GatewayError as error:
            log.info("a response of %s could not be revalidated: %s", slot.target.service, error.code)
        except TimeoutError:
            log.info("a response of %s is too slow to be revalidated in the background", slot.target.service)
        except Exception:
            log.exception("revalidating a response of %s failed", slot.target.service)
        finally:
            flight.land(FlightEnd.ABANDONED)

    async def _look_up(self, slot: CacheSlot) -> LookupResult:
        return await self._cache.relookup(slot.target.service, slot.target.key, slot.request, self._clock())


async def _end_of(flight: Flight) -> FlightEnd:
    """Wait for the flight. Raises its error, where that is the backend's failure."""
    end = await flight.wait()
    if flight.error is not None:
        raise flight.error.with_traceback(None)
    return end


def _is_uncacheable(flight: Flight) -> bool:
    return flight.end.done() and flight.end.result() is FlightEnd.UNCACHEABLE


def _may_wait(slot: CacheSlot) -> bool:
    """Whether another's response would do: not where the request demands the backend's, or the store is unavailable.

    Nor for one that comes from such a gateway: it may be part of the fetch that it would wait for, where a target leads
    back to this gateway.
    """
    result = slot.result
    if isinstance(result, Fresh) or result.reason is Forward.REQUEST:
        return False
    if not slot.request.can_share_fetch or result.seq == UNFENCED:
        return False
    return not gateways_passed(slot.request.headers)


def _fetch_name(slot: CacheSlot) -> str:
    """The name of a fetch: each variant has its own, once it is known that there are variants."""
    result = slot.result
    variant = result.variant if isinstance(result, Miss) else result.entry.variant
    return _variant_name(slot.target.key, variant)


def _variant_name(key: str, variant: bytes) -> str:
    return f"{key}:{variant.hex()}" if variant else key

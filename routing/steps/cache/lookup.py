"""Steps 5 and 8: what the cache has for a request, and what becomes of its answer in it."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from resilience.cache import explaining, invalidation, serving
from resilience.cache.driver import Cache, Recorder
from resilience.cache.entry import Entry
from resilience.cache.flights import FlightEnd, Flights
from resilience.cache.heat import HitCounter
from resilience.cache.messages import (
    DECISIVE,
    CacheRequest,
    CacheResponse,
    Forward,
    Fresh,
    LookupResult,
    Miss,
    Skip,
    Stale,
)
from resilience.cache.policy import CachePolicy
from resilience.cache.replies import reply
from resilience.cache.store import UNFENCED
from routing.errors import BadGateway, CircuitOpen, GatewayError, NotCached, Overloaded, UpstreamTimeout
from routing.exchange import CacheSlot, Exchange
from routing.http import Headers, Response
from routing.messages import forwarding
from routing.messages.response_body import OnComplete, Relay
from routing.router.resolution import HitHeaders
from routing.router.tags import filled
from routing.steps.cache import cache_key, cache_status
from routing.steps.cache.coalescing import Coalescing
from routing.steps.cache.revalidation import Revalidation
from routing.steps.cache.storable import passes_unverified, storable
from routing.steps.calls import BackendCall

CACHED_METHODS: Final = frozenset({"GET", "HEAD"})
SHARED_FAILURES: Final = (BadGateway, UpstreamTimeout, CircuitOpen, Overloaded)
"""What befalls one fetch would befall those who wait for it."""


class Caching:
    """The pipeline's side of `resilience.cache`. `clock` is Unix seconds, `timer` monotonic ones.

    `fetch` takes an exchange through steps 6 to 8: the gateway sets it.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        own_cookies: frozenset[bytes],
        flights: Flights | None = None,
        heat: HitCounter | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.fetch: Callable[[Exchange], Awaitable[Response]]
        self._cache = cache
        self._own_cookies = own_cookies
        self._places = cache_key.Places(own_cookies)
        self._heat = heat or HitCounter()
        self._coalescing = Coalescing(cache, flights or Flights(clock=clock), clock=clock, timer=timer)
        self._revalidation = Revalidation(cache)
        self._clock = clock
        self._timer = timer

    async def close(self) -> None:
        """Ends what is being renewed behind the answers."""
        await self._coalescing.close()

    def at_hand(self, exchange: Exchange) -> Response | None:
        """Step 5 at its shortest: a fresh answer that this process has, for a request that asks nothing of a cache."""
        request, seat, now = exchange.request, exchange.caller_slot, exchange.received_at
        match = exchange.match
        policy = match.policy.cache
        if policy is None or request.method not in CACHED_METHODS or not DECISIVE.isdisjoint(request.fields):
            return None
        if not seat.key:
            seat.key = self._places.key(exchange, policy)
        entry = self._cache.peek_fresh(match.service.name, seat.key, now)
        if entry is None:
            return None
        if not self._heat.again(seat.key):
            self._heat.first(match.service.name, seat.key, cache_key.recipe(exchange))
        page = seat.page
        age, left = int(now - entry.generated_at) if now > entry.generated_at else 0, int(entry.fresh_until - now)
        if page is None or page.entry is not entry or page.age != age or page.left != left:
            page = seat.page = HitHeaders(entry, age, left, _paged(entry, age, left))
        exchange.cache = "HIT"
        if exchange.step_log is not None:
            self._mark(exchange, Fresh(entry, age), seat.key, CacheRequest("GET", ()))
        return Response(entry.status, page.headers.copy(), entry.body, True)

    def passed_by(self, exchange: Exchange) -> bool:
        """Step 5 where nothing is stored: by a route without a cache, or for a method whose answers are not kept."""
        if exchange.match.policy.cache is None:
            cache_status.forward(exchange, Forward.BYPASS, "off")
        elif exchange.request.method not in CACHED_METHODS:
            cache_status.forward(exchange, Forward.METHOD)
        else:
            return False
        return True

    async def lookup(self, exchange: Exchange) -> Response | None:
        """Step 5: the stored answer, if it is this caller's to have. None: the backend is to be asked."""
        policy = exchange.match.policy.cache
        if self.passed_by(exchange) or policy is None:
            return None
        service, key = exchange.service, exchange.caller_slot.key or self._places.key(exchange, policy)
        asked = CacheRequest(exchange.request.method, exchange.request.headers, exchange.caller is not None)
        found: LookupResult | None = self._cache.try_lookup(service, key, asked, exchange.received_at)
        if found is None:
            found = await self._cache.lookup(service, key, asked, exchange.received_at)
        if exchange.step_log is not None:
            self._mark(exchange, found, key, asked)
        if isinstance(found, Fresh):
            return self._hit(exchange, policy, key, asked, found)
        exchange.cache_slot = CacheSlot(cache_key.spot(exchange, policy, key), asked, found)
        if serving.only_if_cached(asked):
            exchange.cache, exchange.cache_status = "MISS", "gateway; detail=only-if-cached"
            raise NotCached("the request is only for what is stored", service=service)
        return await self._joined(exchange, exchange.cache_slot)

    def _mark(self, exchange: Exchange, found: LookupResult, key: str, asked: CacheRequest) -> None:
        verdict = f"{type(found).__name__.lower()} {key} {explaining.rule(found, asked)}"
        exchange.mark("cache check", verdict, self._timer())

    def _hit(self, exchange: Exchange, policy: CachePolicy, key: str, asked: CacheRequest, found: Fresh) -> Response:
        cache_status.hit(exchange, found)
        if not self._heat.again(key):
            self._heat.first(exchange.service, key, cache_key.recipe(exchange))
        if found.refresh:
            place = CacheSlot(cache_key.spot(exchange, policy, key), asked, found)
            self._coalescing.renew(exchange, place, self.fetch)
        return given(asked, found)

    async def _joined(self, exchange: Exchange, place: CacheSlot) -> Response | None:
        """Another request's answer, if one is being fetched that will do."""
        reason = why(place)
        try:
            found = await self._coalescing.join(exchange, place)
        except SHARED_FAILURES as error:
            response = await self.instead(exchange, error)
            if response is None:
                raise
            return response
        if found is not None:
            cache_status.collapsed(exchange, reason)
            return given(place.asked, found)
        cache_status.forward(exchange, reason)
        self._revalidation.prepare(exchange, place)
        return None

    async def stored(self, exchange: Exchange, called: BackendCall) -> Response:
        """Step 8: the backend's answer on its way to the client, and into the cache where the rules allow it."""
        place, status = exchange.cache_slot, called.answer.status
        if place is None or not isinstance(place.found, Stale):
            return await self._passed_on(exchange, called)
        try:
            standing = await self._standing(place) if status in serving.FAILURES else None
            if standing is not None:
                await self._let_go(called)
                cache_status.instead_of(exchange, why(place), status)
                self._landed(place, FlightEnd.FAILED, error=BadGateway(f"the service answered {status}"))
                return given(place.asked, standing)
            answered = self._answered(exchange, called, self._headers(exchange, called))
            if status == 304 and exchange.conditional_headers is not None:
                await self._let_go(called)
                renewed = await self._revalidation.confirmed(exchange, place, answered)
                if renewed is None:
                    return await self.fetch(exchange)
                self._settled(place, renewed.entry.fresh_until)
                return given(place.asked, renewed)
            await self._revalidation.compared(place, answered)
        except BaseException:
            self.abandoned(exchange)
            raise
        return await self._passed_on(exchange, called)

    async def instead(self, exchange: Exchange, error: GatewayError) -> Response | None:
        """What this caller may be given when the backend cannot be asked or has failed: its own stale answer, or,
        while the circuit is open, the service's fallback. None where there is neither.
        """
        place, failed = exchange.cache_slot, isinstance(error, SHARED_FAILURES)
        if place is not None:
            self._landed(place, FlightEnd.FAILED if failed else FlightEnd.GONE, error=error if failed else None)
        standing = await self._standing(place) if failed and place is not None else None
        if place is not None and standing is not None:
            cache_status.instead(exchange, error.code)
            return given(place.asked, standing)
        return self.fallback(exchange, error)

    def fallback(self, exchange: Exchange, error: GatewayError) -> Response | None:
        """What the service's configuration says to answer while its circuit is open."""
        fallback = exchange.match.policy.fallback
        if isinstance(error, CircuitOpen) and fallback is not None:
            exchange.error_code = error.code
            body = msgspec.json.encode(fallback.body)
            return Response(fallback.status, [(b"content-type", b"application/json")], body)
        return None

    async def _standing(self, place: CacheSlot) -> Fresh | Stale | None:
        """The stored answer, if it may stand in for the backend's and was not taken back while that was asked."""
        found = place.found
        if not isinstance(found, Stale) or not found.usable:
            return None
        now = await self._cache.relookup(place.spot.service, place.spot.key, place.asked, self._clock())
        if isinstance(now, Miss):
            return found if now.seq == UNFENCED else None
        return now if isinstance(now, Fresh) or now.usable else None

    def abandoned(self, exchange: Exchange) -> None:
        """The call was given up: whoever waits for its answer need not."""
        if exchange.cache_slot is not None:
            self._landed(exchange.cache_slot, FlightEnd.GONE)

    async def _passed_on(self, exchange: Exchange, called: BackendCall) -> Response:
        """A small answer has come whole with its head, and goes on so; any other as it comes."""
        answer, headers = called.answer, self._headers(exchange, called)
        recorder, complete = self._kept(exchange, called, headers, answer.length)
        body = answer.body.whole()
        if body is None:
            return Response(answer.status, headers, self._relayed(exchange, called, recorder, complete))
        try:
            if recorder:
                recorder.add(body)
            if complete:
                await complete()
        finally:
            called.ended("")
            self.abandoned(exchange)  # unless it has landed
        is_framed = answer.length is not None or exchange.request.method == "HEAD"
        return Response(answer.status, headers, body, is_framed)

    def _relayed(
        self, exchange: Exchange, called: BackendCall, recorder: Recorder | None, complete: OnComplete | None
    ) -> Relay:
        answer = called.answer
        if recorder and exchange.cache_slot and exchange.cache_slot.flight:
            exchange.cache_slot.flight.body_begins()
        relay = Relay(answer, answer.length, recorder.add if recorder else None, complete)

        def ended(_passed: int, aborted: str) -> None:
            called.ended(aborted)
            self.abandoned(exchange)  # unless it has landed

        relay.when_ended(ended)
        return relay

    def _kept(
        self, exchange: Exchange, called: BackendCall, headers: Headers, length: int | None
    ) -> tuple[Recorder | None, OnComplete | None]:
        """What collects the body and what to do once it is whole: decided before its first byte goes on."""
        place = exchange.cache_slot
        if place is None:
            return None, self._change(exchange, called.answer.status, headers)
        answered = self._answered(exchange, called, headers)
        verdict = storable(place, answered, length or 0, unverified=passes_unverified(exchange))
        found = place.found
        if exchange.step_log is not None:
            exchange.mark("store", explaining.kept(verdict, answered, place.spot.policy), self._timer())
        if isinstance(verdict, Skip) or isinstance(found, Fresh) or found.seq == UNFENCED:
            cache_status.not_stored(exchange, verdict.reason if isinstance(verdict, Skip) else "the store is away")
            self._landed(place, FlightEnd.PASS, remember=isinstance(verdict, Skip) and answered.status < 500)
            return None, None
        cache_status.stored(exchange, verdict.fresh_until - exchange.received_at if verdict.fresh_until else 0)
        recorder = Recorder(over=lambda: self._landed(place, FlightEnd.PASS, remember=True))

        async def complete() -> None:
            body = recorder.body()
            skipped = await self._cache.store(place.spot, place.asked, answered, body, found=found, storable=verdict)
            if skipped:
                self._landed(place, FlightEnd.GONE)
            self._settled(place, verdict.fresh_until)

        return recorder, complete

    def _change(self, exchange: Exchange, status: int, headers: Headers) -> OnComplete | None:
        """What a successful write takes back, before its answer is whole: the writer's next read sees its change."""
        request, match = exchange.request, exchange.match
        if not invalidation.changes(request.method, status):
            return None
        tags = set(filled(match.policy.invalidates, match, exchange.caller))
        if _keeps(exchange):
            tags |= invalidation.taken_back(match.path, request.query, headers, exchange.prefix)
        return (lambda: self._revalidation.taken_back(exchange.service, tags)) if tags else None

    def _answered(self, exchange: Exchange, called: BackendCall, headers: Headers) -> CacheResponse:
        return CacheResponse(called.answer.status, tuple(headers), self._clock(), exchange.backend_seconds or 0.0)

    def _headers(self, exchange: Exchange, called: BackendCall) -> Headers:
        answer, target, prefix = called.answer, called.target, exchange.prefix
        if answer.head is None:
            return forwarding.to_client(answer.headers, target, prefix, self._own_cookies)
        alike = answer.head.alike
        if alike is None or alike[0] is not target or alike[1] != prefix:
            told = forwarding.to_client(answer.headers, target, prefix, self._own_cookies)
            alike = answer.head.alike = target, prefix, told
        return alike[2].copy()

    async def _let_go(self, called: BackendCall) -> None:
        """The answer's body is of no use."""
        await called.answer.aclose()
        called.ended("")

    def _settled(self, place: CacheSlot, fresh_until: float) -> None:
        """It is stored; but of no use to those who wait, if the backend is to be asked about it each time."""
        if fresh_until > self._clock():
            self._landed(place, FlightEnd.STORED)
        else:
            self._landed(place, FlightEnd.PASS, remember=True)

    def _landed(
        self, place: CacheSlot, end: FlightEnd, *, remember: bool = False, error: Exception | None = None
    ) -> None:
        if place.flight:
            place.flight.land(end, remember=remember, error=error)


def given(asked: CacheRequest, found: Fresh | Stale) -> Response:
    """The stored answer as this request gets it."""
    ready = reply(found.entry, asked, found.age)
    return Response(ready.status, ready.headers, ready.body, framed=True)


def _paged(entry: Entry, age: int, left: int) -> Headers:
    """A fresh answer's fields and the cache's own."""
    whole = reply(entry, CacheRequest("GET", ()), age)
    return [*whole.headers, (b"x-cache", b"HIT"), (b"cache-status", cache_status.fresh(left).encode())]


def why(place: CacheSlot) -> Forward:
    """Why the request goes on (RFC 9211 section 2.2)."""
    return Forward.STALE if isinstance(place.found, Fresh) else place.found.reason


def _keeps(exchange: Exchange) -> bool:
    """Is there anything of this service's that may be stored?"""
    service = exchange.match.service
    return service.policy.cache is not None or any(route.policy.cache is not None for route in service.routes)

"""Steps 5 and 8: what the cache has for a request, and what becomes of its answer in it."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from resilience.cache import explaining, invalidation, serving
from resilience.cache.driver import Cache, Recorder
from resilience.cache.entry import Entry
from resilience.cache.flights import End, Flights
from resilience.cache.heat import Heat
from resilience.cache.messages import (
    DECISIVE,
    Answered,
    Asked,
    Forward,
    Found,
    Fresh,
    Miss,
    Skip,
    Stale,
)
from resilience.cache.policy import CachePolicy
from resilience.cache.replies import reply
from resilience.cache.store import UNFENCED
from routing.errors import BadGateway, CircuitOpen, GatewayError, NotCached, Overloaded, UpstreamTimeout
from routing.exchange import Exchange, Place
from routing.http import Headers, Response
from routing.messages import forwarding
from routing.messages.response_body import Complete, Relay
from routing.router.resolution import Page
from routing.router.tags import filled
from routing.steps.cache import cache_key, cache_status
from routing.steps.cache.coalescing import Coalescing
from routing.steps.cache.revalidation import Revalidation
from routing.steps.cache.storable import passes_unverified, storable
from routing.steps.calls import Called

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
        heat: Heat | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.fetch: Callable[[Exchange], Awaitable[Response]]
        self._cache = cache
        self._own_cookies = own_cookies
        self._places = cache_key.Places(own_cookies)
        self._heat = heat or Heat()
        self._coalescing = Coalescing(cache, flights or Flights(clock=clock), clock=clock, timer=timer)
        self._revalidation = Revalidation(cache)
        self._clock = clock
        self._timer = timer

    async def close(self) -> None:
        """Ends what is being renewed behind the answers."""
        await self._coalescing.close()

    def at_hand(self, exchange: Exchange) -> Response | None:
        """Step 5 at its shortest: a fresh answer that this process has, for a request that asks nothing of a cache."""
        request, seat, now = exchange.request, exchange.seat, exchange.at
        match = exchange.routed
        policy = match.policy.cache
        if policy is None or request.method not in CACHED_METHODS or not DECISIVE.isdisjoint(request.fields):
            return None
        if not seat.key:
            seat.key = self._places.key(exchange, policy)
        entry = self._cache.at_hand(match.service.name, seat.key, now)
        if entry is None:
            return None
        if not self._heat.again(seat.key):
            self._heat.first(match.service.name, seat.key, cache_key.recipe(exchange))
        page = seat.page
        age, left = int(now - entry.born) if now > entry.born else 0, int(entry.fresh_until - now)
        if page is None or page.entry is not entry or page.age != age or page.left != left:
            page = seat.page = Page(entry, age, left, _paged(entry, age, left))
        exchange.cache = "HIT"
        if exchange.steps is not None:
            self._mark(exchange, Fresh(entry, age), seat.key, Asked("GET", ()))
        return Response(entry.status, page.headers.copy(), entry.body, True)

    def passed_by(self, exchange: Exchange) -> bool:
        """Step 5 where nothing is stored: by a route without a cache, or for a method whose answers are not kept."""
        if exchange.routed.policy.cache is None:
            cache_status.forward(exchange, Forward.BYPASS, "off")
        elif exchange.request.method not in CACHED_METHODS:
            cache_status.forward(exchange, Forward.METHOD)
        else:
            return False
        return True

    async def lookup(self, exchange: Exchange) -> Response | None:
        """Step 5: the stored answer, if it is this caller's to have. None: the backend is to be asked."""
        policy = exchange.routed.policy.cache
        if self.passed_by(exchange) or policy is None:
            return None
        service, key = exchange.service, exchange.seat.key or self._places.key(exchange, policy)
        asked = Asked(exchange.request.method, exchange.request.headers, exchange.caller is not None)
        found: Found | None = self._cache.peek(service, key, asked, exchange.at)
        if found is None:
            found = await self._cache.lookup(service, key, asked, exchange.at)
        if exchange.steps is not None:
            self._mark(exchange, found, key, asked)
        if isinstance(found, Fresh):
            return self._hit(exchange, policy, key, asked, found)
        exchange.place = Place(cache_key.spot(exchange, policy, key), asked, found)
        if serving.only_if_cached(asked):
            exchange.cache, exchange.cache_status = "MISS", "gateway; detail=only-if-cached"
            raise NotCached("the request is only for what is stored", service=service)
        return await self._joined(exchange, exchange.place)

    def _mark(self, exchange: Exchange, found: Found, key: str, asked: Asked) -> None:
        verdict = f"{type(found).__name__.lower()} {key} {explaining.rule(found, asked)}"
        exchange.mark("cache check", verdict, self._timer())

    def _hit(self, exchange: Exchange, policy: CachePolicy, key: str, asked: Asked, found: Fresh) -> Response:
        cache_status.hit(exchange, found)
        if not self._heat.again(key):
            self._heat.first(exchange.service, key, cache_key.recipe(exchange))
        if found.refresh:
            place = Place(cache_key.spot(exchange, policy, key), asked, found)
            self._coalescing.renew(exchange, place, self.fetch)
        return given(asked, found)

    async def _joined(self, exchange: Exchange, place: Place) -> Response | None:
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

    async def stored(self, exchange: Exchange, called: Called) -> Response:
        """Step 8: the backend's answer on its way to the client, and into the cache where the rules allow it."""
        place, status = exchange.place, called.answer.status
        if place is None or not isinstance(place.found, Stale):
            return await self._passed_on(exchange, called)
        try:
            standing = await self._standing(place) if status in serving.FAILURES else None
            if standing is not None:
                await self._let_go(called)
                cache_status.instead_of(exchange, why(place), status)
                self._landed(place, End.FAILED, error=BadGateway(f"the service answered {status}"))
                return given(place.asked, standing)
            answered = self._answered(exchange, called, self._headers(exchange, called))
            if status == 304 and exchange.asks is not None:
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
        place, failed = exchange.place, isinstance(error, SHARED_FAILURES)
        if place is not None:
            self._landed(place, End.FAILED if failed else End.GONE, error=error if failed else None)
        standing = await self._standing(place) if failed and place is not None else None
        if place is not None and standing is not None:
            cache_status.instead(exchange, error.code)
            return given(place.asked, standing)
        return self.fallback(exchange, error)

    def fallback(self, exchange: Exchange, error: GatewayError) -> Response | None:
        """What the service's configuration says to answer while its circuit is open."""
        fallback = exchange.routed.policy.fallback
        if isinstance(error, CircuitOpen) and fallback is not None:
            exchange.code = error.code
            body = msgspec.json.encode(fallback.body)
            return Response(fallback.status, [(b"content-type", b"application/json")], body)
        return None

    async def _standing(self, place: Place) -> Fresh | Stale | None:
        """The stored answer, if it may stand in for the backend's and was not taken back while that was asked."""
        found = place.found
        if not isinstance(found, Stale) or not found.usable:
            return None
        now = await self._cache.look(place.spot.service, place.spot.key, place.asked, self._clock())
        if isinstance(now, Miss):
            return found if now.seq == UNFENCED else None
        return now if isinstance(now, Fresh) or now.usable else None

    def abandoned(self, exchange: Exchange) -> None:
        """The call was given up: whoever waits for its answer need not."""
        if exchange.place is not None:
            self._landed(exchange.place, End.GONE)

    async def _passed_on(self, exchange: Exchange, called: Called) -> Response:
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
        self, exchange: Exchange, called: Called, recorder: Recorder | None, complete: Complete | None
    ) -> Relay:
        answer = called.answer
        if recorder and exchange.place and exchange.place.flight:
            exchange.place.flight.body_begins()
        relay = Relay(answer, answer.length, recorder.add if recorder else None, complete)

        def ended(_passed: int, aborted: str) -> None:
            called.ended(aborted)
            self.abandoned(exchange)  # unless it has landed

        relay.when_ended(ended)
        return relay

    def _kept(
        self, exchange: Exchange, called: Called, headers: Headers, length: int | None
    ) -> tuple[Recorder | None, Complete | None]:
        """What collects the body and what to do once it is whole: decided before its first byte goes on."""
        place = exchange.place
        if place is None:
            return None, self._change(exchange, called.answer.status, headers)
        answered = self._answered(exchange, called, headers)
        verdict = storable(place, answered, length or 0, unverified=passes_unverified(exchange))
        found = place.found
        if exchange.steps is not None:
            exchange.mark("store", explaining.kept(verdict, answered, place.spot.policy), self._timer())
        if isinstance(verdict, Skip) or isinstance(found, Fresh) or found.seq == UNFENCED:
            cache_status.not_stored(exchange, verdict.reason if isinstance(verdict, Skip) else "the store is away")
            self._landed(place, End.PASS, remember=isinstance(verdict, Skip) and answered.status < 500)
            return None, None
        cache_status.stored(exchange, verdict.fresh_until - exchange.at if verdict.fresh_until else 0)
        recorder = Recorder(over=lambda: self._landed(place, End.PASS, remember=True))

        async def complete() -> None:
            body = recorder.body()
            skipped = await self._cache.store(place.spot, place.asked, answered, body, found=found, storable=verdict)
            if skipped:
                self._landed(place, End.GONE)
            self._settled(place, verdict.fresh_until)

        return recorder, complete

    def _change(self, exchange: Exchange, status: int, headers: Headers) -> Complete | None:
        """What a successful write takes back, before its answer is whole: the writer's next read sees its change."""
        request, match = exchange.request, exchange.routed
        if not invalidation.changes(request.method, status):
            return None
        tags = set(filled(match.policy.invalidates, match, exchange.caller))
        if _keeps(exchange):
            tags |= invalidation.taken_back(match.path, request.query, headers, exchange.prefix)
        return (lambda: self._revalidation.taken_back(exchange.service, tags)) if tags else None

    def _answered(self, exchange: Exchange, called: Called, headers: Headers) -> Answered:
        return Answered(called.answer.status, tuple(headers), self._clock(), exchange.backend or 0.0)

    def _headers(self, exchange: Exchange, called: Called) -> Headers:
        answer, target, prefix = called.answer, called.target, exchange.prefix
        if answer.head is None:
            return forwarding.to_client(answer.headers, target, prefix, self._own_cookies)
        alike = answer.head.alike
        if alike is None or alike[0] is not target or alike[1] != prefix:
            told = forwarding.to_client(answer.headers, target, prefix, self._own_cookies)
            alike = answer.head.alike = target, prefix, told
        return alike[2].copy()

    async def _let_go(self, called: Called) -> None:
        """The answer's body is of no use."""
        await called.answer.aclose()
        called.ended("")

    def _settled(self, place: Place, fresh_until: float) -> None:
        """It is stored; but of no use to those who wait, if the backend is to be asked about it each time."""
        if fresh_until > self._clock():
            self._landed(place, End.STORED)
        else:
            self._landed(place, End.PASS, remember=True)

    def _landed(self, place: Place, end: End, *, remember: bool = False, error: Exception | None = None) -> None:
        if place.flight:
            place.flight.land(end, remember=remember, error=error)


def given(asked: Asked, found: Fresh | Stale) -> Response:
    """The stored answer as this request gets it."""
    ready = reply(found.entry, asked, found.age)
    return Response(ready.status, ready.headers, ready.body, framed=True)


def _paged(entry: Entry, age: int, left: int) -> Headers:
    """A fresh answer's fields and the cache's own."""
    whole = reply(entry, Asked("GET", ()), age)
    return [*whole.headers, (b"x-cache", b"HIT"), (b"cache-status", cache_status.fresh(left).encode())]


def why(place: Place) -> Forward:
    """Why the request goes on (RFC 9211 section 2.2)."""
    return Forward.STALE if isinstance(place.found, Fresh) else place.found.reason


def _keeps(exchange: Exchange) -> bool:
    """Is there anything of this service's that may be stored?"""
    service = exchange.routed.service
    return service.policy.cache is not None or any(route.policy.cache is not None for route in service.routes)

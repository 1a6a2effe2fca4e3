"""Step 8: the backend's response on its way to the client, and into the cache where the rules allow it."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from resilience.cache import parts, rationale
from resilience.cache.body_recorder import BodyRecorder
from resilience.cache.driver import Cache
from resilience.cache.entry import Entry
from resilience.cache.flights import UNCACHEABLE_SECONDS, FlightEnd
from resilience.cache.leases import Release
from resilience.cache.messages import CacheResponse, Fresh, Freshness, Miss, Skip, Stale, Storable
from resilience.cache.store import UNFENCED
from routing.errors import (
    BackendLimited,
    BadGateway,
    CallFailed,
    CircuitOpen,
    CredentialFailed,
    GatewayError,
    Overloaded,
)
from routing.exchange import CacheSlot, Exchange
from routing.http import Headers, Response, first
from routing.messages import forwarding
from routing.messages.response_body import OnComplete, Relay
from routing.observability.events import Observers
from routing.router.gateway_cookies import GatewayCookies
from routing.steps.cache import cache_status
from routing.steps.cache.changes import ChangeLog
from routing.steps.cache.client_headers import ClientHeaders
from routing.steps.cache.coalescing import Fetch
from routing.steps.cache.only_if import judged_body
from routing.steps.cache.own_invalidation import OwnInvalidations
from routing.steps.cache.responses import render, with_cookies
from routing.steps.cache.revalidation import Revalidation
from routing.steps.cache.storable import (
    OF_THIS_RESPONSE_ALONE,
    is_storable_part,
    passes_unverified,
    storable,
    supersedes,
)
from routing.steps.cache.write_invalidation import tags_of_write
from routing.upstream.call import BackendCall

SHARED_FAILURES: Final = (CallFailed, CircuitOpen, CredentialFailed, Overloaded, BackendLimited)
"""Errors of a fetch that the requests waiting for it would get too."""
_COOKIE: Final = b"set-cookie"


class CacheStore:
    """`fetch` takes an exchange through steps 6 to 8. `clock` is Unix seconds, `timer` monotonic ones."""

    def __init__(
        self,
        cache: Cache,
        fetch: Fetch,
        observers: Observers,
        *,
        cookies: GatewayCookies,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._cache = cache
        self._fetch = fetch
        self._client_headers = ClientHeaders(cookies)
        self._revalidation = Revalidation(cache)
        self.own = OwnInvalidations(self._revalidation, timer=timer)
        self._changes = ChangeLog(observers) if observers.observes_refetches else None
        self._clock = clock
        self._timer = timer

    def store(self, exchange: Exchange) -> Awaitable[Response]:
        """Step 8: the response for the client. It is stored before its last byte is sent."""
        call, slot = exchange.call.call, exchange.cache_slot
        assert call is not None  # noqa: S101 - step 7 has made it
        if slot is None or not isinstance(slot.result, Stale):
            return self._pass_on(exchange, call)
        return self._after_stale(exchange, call, slot)

    async def pass_fallback(self, exchange: Exchange, other: Exchange) -> Response:
        """The response of another service to this exchange's request. It is never stored; a successful write there
        invalidates what this service has stored too.
        """
        call, slot = other.call.call, exchange.cache_slot
        assert call is not None  # noqa: S101 - the other service has responded
        try:
            invalidate = self._plan_invalidation(exchange, call.response.status, self._client_headers.of(other, call))
            if invalidate is not None:
                await invalidate()
        except BaseException:
            await call.discard()
            raise
        if slot is not None:
            exchange.cache = cache_status.not_stored(exchange.cache, "fallback")
            _land(slot, FlightEnd.FAILED, error=BadGateway("the fallback has responded"))
        return await self._pass_on(other, call)

    async def may_serve_stale(self, exchange: Exchange) -> bool:
        """Whether `store` would return the stored response in place of a failure."""
        slot = exchange.cache_slot
        return slot is not None and await self._stale_if_error(slot) is not None

    def stale(self, exchange: Exchange, error: GatewayError) -> Awaitable[Response | None] | None:
        """The caller's own stale response, where the backend could not be called or has failed. None if there is
        none. Requests that wait for this one's fetch are released.
        """
        slot, failed = exchange.cache_slot, isinstance(error, SHARED_FAILURES)
        if slot is None:
            return None
        _land(slot, FlightEnd.FAILED if failed else FlightEnd.ABANDONED, error=error if failed else None)
        return self._stale(exchange, slot, error) if failed and isinstance(slot.result, Stale) else None

    def release(self, exchange: Exchange) -> None:
        """The fetch was abandoned: requests that wait for its response stop waiting. No effect once the response is
        stored.
        """
        if exchange.cache_slot is not None:
            _land(exchange.cache_slot, FlightEnd.ABANDONED)

    async def _stale(self, exchange: Exchange, slot: CacheSlot, error: GatewayError) -> Response | None:
        stored = await self._stale_if_error(slot)
        if stored is None:
            return None
        exchange.cache = cache_status.stale_for_error(error.code)
        return render(slot.request, stored)

    async def _stale_if_error(self, slot: CacheSlot) -> Fresh | Stale | None:
        """The stored response, if it may be served instead of an error and has not been invalidated since."""
        stored = slot.result
        if not isinstance(stored, Stale) or not stored.usable:
            return None
        now = await self._cache.relookup(slot.target.service, slot.target.key, slot.request, self._clock())
        if isinstance(now, Miss):
            return stored if now.seq == UNFENCED else None
        return now if isinstance(now, Fresh) or now.usable else None

    async def _after_stale(self, exchange: Exchange, call: BackendCall, slot: CacheSlot) -> Response:
        """The backend's response where a stale one is stored: a failure, a 304, or a new response."""
        status = call.response.status
        try:
            stored = await self._stale_if_error(slot) if exchange.call.is_replaceable else None
            if stored is not None:
                await call.discard()
                exchange.cache = cache_status.stale_for_status(cache_status.forward_reason(slot), status)
                _land(slot, FlightEnd.FAILED, error=BadGateway(f"status {status}"))
                return render(slot.request, stored)
            response = self._cache_response(exchange, call, self._client_headers.of(exchange, call))
            if status == 304 and slot.validates:
                await call.discard()
                confirmed = await self._revalidation.confirm(exchange, slot, response)
                if confirmed is None:
                    return await self._fetch(exchange)
                self._finish_flight(slot, confirmed.entry)
                if self._changes and isinstance(slot.result, Stale):
                    self._changes.confirmed(exchange, slot, slot.result.entry, confirmed.entry)
                return with_cookies(render(slot.request, confirmed), response)
            await self._revalidation.compare_head(exchange, slot, response)
        except BaseException:
            self.release(exchange)
            raise
        return await self._pass_on(exchange, call)

    async def _pass_on(self, exchange: Exchange, call: BackendCall) -> Response:
        """A small body has arrived with its header fields and is sent whole; any other is relayed."""
        response, headers, slot = call.response, self._client_headers.of(exchange, call), exchange.cache_slot
        judged = None
        if slot is not None and (condition := slot.target.policy.only_if) is not None:
            judged = await judged_body(condition, exchange, call)
        recorder, complete = self._plan(exchange, call, headers, judged)
        body = response.body.complete_body()
        if body is None:
            relay = self._relay(exchange, call, recorder, complete)
            return Response(response.status, forwarding.without_buffering(headers), relay)
        try:
            if recorder:
                recorder.add(body)
            if complete:
                await complete()
        finally:
            call.finish("")
            self.release(exchange)
        is_framed = response.length is not None or exchange.request.method == "HEAD"
        return Response(response.status, headers, body, is_framed)

    def _relay(
        self, exchange: Exchange, call: BackendCall, recorder: BodyRecorder | None, complete: OnComplete | None
    ) -> Relay:
        response = call.response
        if recorder and exchange.cache_slot and exchange.cache_slot.flight:
            exchange.cache_slot.flight.body_started()
        idle = exchange.match.policy.timeout.idle
        relay = Relay(response, response.length, recorder.add if recorder else None, complete, idle)

        def ended(_passed: int, aborted: str) -> None:
            if isinstance(relay.fault, CallFailed):
                exchange.call.reason = relay.fault.reason
            call.finish(aborted)
            self.release(exchange)

        relay.on_end(ended)
        return relay

    def _plan(
        self, exchange: Exchange, call: BackendCall, headers: Headers, body: bytes | None
    ) -> tuple[BodyRecorder | None, OnComplete | None]:
        """What records the body, and what to do once it is whole: decided before its first byte is sent."""
        slot = exchange.cache_slot
        if slot is None:
            return None, self._plan_invalidation(exchange, call.response.status, headers)
        response = self._cache_response(exchange, call, headers)
        result = slot.result
        is_part = response.status == parts.PARTIAL and isinstance(result, Miss) and is_storable_part(slot, response)
        judged = parts.as_whole(response) if is_part else response
        verdict = storable(exchange, slot, judged, call.response.length or 0, body)
        if exchange.step_log is not None:
            rule = partial(rationale.storage_rule, verdict, response, slot.target.policy)
            exchange.mark("store", rule, self._timer())
        if isinstance(verdict, Skip) or isinstance(result, Fresh) or result.seq == UNFENCED:
            reason = verdict.reason if isinstance(verdict, Skip) else "the store is unavailable"
            exchange.cache = cache_status.not_stored(exchange.cache, reason)
            is_settled = isinstance(verdict, Skip) and verdict not in OF_THIS_RESPONSE_ALONE and response.status < 500
            _land(slot, FlightEnd.UNCACHEABLE, remember=is_settled and exchange.call.outcome is None)
            return None, self._plan_supersession(exchange, slot, response, verdict)
        ttl = verdict.fresh_until - exchange.received_at if verdict.fresh_until else 0
        exchange.cache = cache_status.stored(exchange.cache, ttl, verdict.ignored)
        recorder = BodyRecorder(on_overflow=lambda: _land(slot, FlightEnd.UNCACHEABLE, remember=True))

        async def complete() -> None:
            body, release = recorder.body(), None if is_part else self._planned_release(slot, verdict.freshness)
            skipped = await self._cache.store(
                slot.target, slot.request, response, body, result=result, storable=verdict, release=release
            )
            if skipped:
                _land(slot, FlightEnd.ABANDONED)
            elif release is not None and slot.flight is not None:
                slot.flight.released()
            if not skipped and self._changes and body is not None and not is_part:
                self._changes.stored(exchange, slot, verdict, body, response.received_at)
            self._finish_flight(slot, verdict.freshness)

        return recorder, complete

    def _plan_supersession(
        self, exchange: Exchange, slot: CacheSlot, response: CacheResponse, verdict: Skip | Storable
    ) -> OnComplete | None:
        """What ends the use of the stored response, in whose place the backend has sent one that is not stored."""
        if not (isinstance(verdict, Skip) and isinstance(slot.result, Stale)):
            return None
        unverified, outcome = passes_unverified(exchange), exchange.call.outcome
        if not supersedes(slot, response, verdict, unverified=unverified, outcome=outcome):
            return None
        return partial(self._cache.supersede, slot.target, slot.request, slot.result)

    def _plan_invalidation(self, exchange: Exchange, status: int, headers: Headers) -> OnComplete | None:
        """What a successful write invalidates, before its response is complete: the writer's next read sees it."""
        tags = tags_of_write(exchange, status, headers)
        return (lambda: self._revalidation.invalidate(exchange.service, tags)) if tags else None

    def _cache_response(self, exchange: Exchange, call: BackendCall, headers: Headers) -> CacheResponse:
        slot = exchange.cache_slot
        ignore = slot.target.policy.ignore if slot is not None else ()
        had_cookie = first(headers, _COOKIE) is None and first(call.response.headers, _COOKIE) is not None
        dropped = frozenset({_COOKIE}) if had_cookie else frozenset[bytes]()
        seconds = exchange.call.seconds or 0.0
        return CacheResponse(call.response.status, tuple(headers), self._clock(), seconds, ignore, dropped)

    def _planned_release(self, slot: CacheSlot, stored: Freshness | Entry) -> Release | None:
        """How the lease of the fetch ends when the response is stored."""
        if slot.flight is None or slot.flight.end.done():
            return None
        end = FlightEnd.STORED if self._is_usable(stored) else FlightEnd.UNCACHEABLE
        return slot.flight.release_for(end, UNCACHEABLE_SECONDS)

    def _finish_flight(self, slot: CacheSlot, stored: Freshness | Entry) -> None:
        """The response is stored. Waiting requests cannot use it if it has to be revalidated for each request."""
        if self._is_usable(stored):
            _land(slot, FlightEnd.STORED)
        else:
            _land(slot, FlightEnd.UNCACHEABLE, remember=True)

    def _is_usable(self, stored: Freshness | Entry) -> bool:
        """Whether the stored response may be sent at once, fresh or while it is refreshed: with `max-age=0,
        stale-while-revalidate=60` for a minute.
        """
        return max(stored.fresh_until, stored.refresh_until) > self._clock()


def _land(slot: CacheSlot, end: FlightEnd, *, remember: bool = False, error: Exception | None = None) -> None:
    if slot.flight:
        slot.flight.land(end, remember=remember, error=error)

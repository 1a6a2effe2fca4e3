"""Step 5: what the cache has for a request."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from resilience.cache import parts, rationale, serving
from resilience.cache.driver import Cache, StoreTarget
from resilience.cache.hit_counter import HitCounter
from resilience.cache.messages import RANGE_FIELDS, CacheRequest, Forward, Fresh, LookupResult, Miss, Stale
from resilience.cache.policy import CachePolicy
from routing.errors import NotCached
from routing.exchange import CacheSlot, Exchange
from routing.http import Response
from routing.messages import forwarding
from routing.messages.selecting_fields import SELECTING_FIELDS
from routing.router.memoised_headers import HitHeaders
from routing.steps.cache import cache_status
from routing.steps.cache.bypass import EVENT_STREAM, PLAIN_FIELDS, bypass_detail, has_plain_fields
from routing.steps.cache.cache_key import CacheKeys, replayable
from routing.steps.cache.coalescing import Coalescing
from routing.steps.cache.responses import hit_headers, render
from routing.steps.cache.revalidation import Revalidation

_PLAIN_GET: Final = CacheRequest("GET", ())
_OFF: Final = cache_status.forward(Forward.BYPASS, "off")
_METHOD: Final = cache_status.forward(Forward.METHOD)


class CacheLookup:
    """Serves stored responses, and joins the fetches of other requests. `timer` is monotonic seconds."""

    def __init__(
        self,
        cache: Cache,
        coalescing: Coalescing,
        *,
        keys: CacheKeys,
        hit_counter: HitCounter,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._cache = cache
        self._keys = keys
        self._hit_counter = hit_counter
        self._coalescing = coalescing
        self._revalidation = Revalidation(cache)
        self._timer = timer

    def look_up(self, exchange: Exchange) -> Response | Awaitable[Response | None] | None:
        """Step 5 for a route with a cache, and a method whose responses are stored. Waits for the store, unless this
        process has a fresh response in memory and the request has no conditions or directives.

        Raises NotCached, or the error of another request's fetch that this one waited for.
        """
        request, slot, now = exchange.request, exchange.caller_slot, exchange.received_at
        match = exchange.match
        policy = match.policy.cache
        assert policy is not None  # noqa: S101 - else the step is one of the two below
        fields = request.fields
        is_plain = fields.keys() <= PLAIN_FIELDS or has_plain_fields(fields)
        is_plain = is_plain and EVENT_STREAM not in fields.get(b"accept", b"").lower()
        if not is_plain:
            return self._look_up_special(exchange, policy)
        key = slot.cache_key
        if not key or slot.scheme != request.scheme:
            key = self._key(exchange, policy)
        entry = self._cache.peek_fresh(match.service.name, key, now)
        if entry is None:
            return self._look_up(exchange, policy, key)
        count = self._hit_counter.counts.get(key)  # a call for each hit would double its cost
        if count is not None:
            count.hits += 1
        else:
            self._count_hit(exchange, key)
        age, ttl = int(now - entry.generated_at) if now > entry.generated_at else 0, int(entry.fresh_until - now)
        last = slot.hit_headers
        if last is None or last.entry is not entry or last.age != age or last.ttl != ttl:
            last = slot.hit_headers = HitHeaders(entry, age, ttl, hit_headers(entry, age, ttl))
        exchange.cache = cache_status.MEMORY_HIT
        if exchange.step_log is not None:
            self._mark(exchange, Fresh(entry, age), key, _PLAIN_GET)
        return Response(entry.status, last.headers.copy(), entry.body, True)

    def _look_up_special(self, exchange: Exchange, policy: CachePolicy) -> Awaitable[Response | None] | None:
        """The same for a request with fields that affect more than the variant."""
        request, slot = exchange.request, exchange.caller_slot
        if detail := bypass_detail(request, policy):
            self.bypass(exchange, detail)
            return None
        is_known = slot.cache_key and slot.scheme == request.scheme and SELECTING_FIELDS.isdisjoint(request.fields)
        return self._look_up(exchange, policy, slot.cache_key if is_known else self._key(exchange, policy))

    def _key(self, exchange: Exchange, policy: CachePolicy) -> str:
        """The request's key, memoised where all requests with its resolution have the same."""
        slot = exchange.caller_slot
        key = self._keys.key(exchange.match, exchange.caller, exchange.prefix, exchange.request)
        if not SELECTING_FIELDS.isdisjoint(exchange.request.fields):
            return key
        if self._keys.may_memoise(policy, exchange.match.service, exchange.caller):
            slot.cache_key, slot.scheme = key, exchange.request.scheme
        return key

    def bypass(self, exchange: Exchange, detail: str) -> None:
        """Neither read nor fill the cache, nor wait for another request's fetch. Raises NotCached."""
        exchange.cache = cache_status.forward(Forward.BYPASS, detail)
        if exchange.step_log is not None:
            exchange.mark("cache check", f"bypass {detail}", self._timer())
        request = CacheRequest(exchange.request.method, exchange.request.headers)
        if serving.only_if_cached(request):
            raise NotCached("the request is only for what is stored", service=exchange.service)

    def bypass_off(self, exchange: Exchange) -> None:
        """Step 5 for a route without a cache."""
        exchange.cache = _OFF

    def bypass_method(self, exchange: Exchange) -> None:
        """Step 5 for a method whose responses are not stored."""
        exchange.cache = _METHOD

    async def look_up_content(self, exchange: Exchange) -> Response | None:
        """Step 5 for a request whose content is part of its key, once that has been read. Raises like `look_up`."""
        policy, content = exchange.match.policy.cache, exchange.content
        assert policy is not None  # noqa: S101 - as in `look_up`
        assert content is not None  # noqa: S101 - it has been read
        key = self._keys.key(exchange.match, exchange.caller, exchange.prefix, exchange.request, content.key)
        return await self._look_up(exchange, policy, key)

    async def _look_up(self, exchange: Exchange, policy: CachePolicy, key: str) -> Response | None:
        service = exchange.service
        request = presented(exchange)
        result: LookupResult | None = self._cache.try_lookup(service, key, request, exchange.received_at)
        if result is None:
            result = await self._coalescing.look_up(service, key, request, exchange.received_at)
        elif isinstance(result, Fresh) and result.refresh and not self._coalescing.is_refreshing(service, key, result):
            # Another worker may have refreshed it since it was copied to this one's memory.
            result = await self._cache.lookup(service, key, request, exchange.received_at)
        if exchange.step_log is not None:
            self._mark(exchange, result, key, request)
        if isinstance(result, Fresh):
            return self._hit(exchange, policy, key, request, result)
        if isinstance(result, Miss) and request.cache_fields and parts.may_use_part(request):
            # Beside a whole response that is stale, a part is an older one (RFC 9111 section 4).
            part = await self._cache.lookup_part(service, key, request, exchange.received_at)
            if part is not None:
                return self._hit(exchange, policy, key, request, part)
        slot = exchange.cache_slot = CacheSlot(self._target(exchange, policy, key), request, result)
        if serving.only_if_cached(request):
            exchange.cache = cache_status.ONLY_IF_CACHED
            raise NotCached("the request is only for what is stored", service=service)
        return await self._join(exchange, slot)

    def _hit(self, exchange: Exchange, policy: CachePolicy, key: str, request: CacheRequest, result: Fresh) -> Response:
        exchange.cache = cache_status.hit(result, exchange.received_at)
        self._count_hit(exchange, key)
        if result.refresh:
            self._coalescing.refresh(exchange, CacheSlot(self._target(exchange, policy, key), request, result))
        return render(request, result)

    async def _join(self, exchange: Exchange, slot: CacheSlot) -> Response | None:
        """The response of another request's fetch, if one is in flight that this request may use."""
        reason = cache_status.forward_reason(slot)
        result = await self._coalescing.join(exchange, slot)
        if result is not None:
            exchange.cache = cache_status.collapsed(reason)
            return render(slot.request, result)
        exchange.cache = cache_status.forward(reason)
        if isinstance(slot.result, Stale):
            self._revalidation.prepare(exchange, slot)
        return None

    def _count_hit(self, exchange: Exchange, key: str) -> None:
        if not self._hit_counter.record_hit(key):
            self._hit_counter.start_counting(exchange.service, key, replayable(exchange))

    def _target(self, exchange: Exchange, policy: CachePolicy, key: str) -> StoreTarget:
        """Where the response would be stored, memoised where the key is."""
        slot = exchange.caller_slot
        target = slot.store_target
        if target is None or target.key != key:
            target = self._keys.store_target(exchange, policy, key)
            if key == slot.cache_key:
                slot.store_target = target
        return target

    def _mark(self, exchange: Exchange, result: LookupResult, key: str, request: CacheRequest) -> None:
        exchange.mark("cache check", partial(_verdict, result, key, request), self._timer())


def _verdict(result: LookupResult, key: str, request: CacheRequest) -> str:
    return f"{type(result).__name__.lower()} {key} {rationale.lookup_rule(result, request)}"


def presented(exchange: Exchange) -> CacheRequest:
    """The request as the cache sees it. A POST that reads is a GET whose responses cannot be validated; ranges have no
    meaning for it (RFC 9110 section 14.2).
    """
    method, headers = exchange.request.method, forwarding.end_to_end(exchange.request)
    if method == "POST":
        headers = [pair for pair in headers if pair[0] not in RANGE_FIELDS]
        return CacheRequest("GET", headers, exchange.caller is not None, can_validate=False)
    return CacheRequest(method, headers, exchange.caller is not None)

"""Steps 5 and 8: a request's place in the cache, and what the cache says of it and of its answer."""

import logging
import time
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Final

import msgspec

from resilience.cache.driver import Cache, Recorder
from resilience.cache.key import key, scope_id
from resilience.cache.policy import CachePolicy, Scope, filled
from resilience.cache.rules import Answered, Asked, Forward, Fresh, Miss, Skip, Stale, may_store
from resilience.cache.store import UNFENCED
from resilience.outage import StoreUnavailable
from routing import forwarding
from routing.calling import Called
from routing.errors import BadGateway, CircuitOpen, GatewayError, UpstreamTimeout
from routing.exchange import Exchange, Place
from routing.http import SAFE, Headers, Response, joined
from routing.relay import Relay

log = logging.getLogger(__name__)

ANONYMOUS: Final = "anonymous"
"""Whose answers those are that were asked for without a credential."""


class Caching:
    """The pipeline's side of `resilience.cache`: keys, scopes, and the words of X-Cache and Cache-Status."""

    def __init__(self, cache: Cache, *, own_cookies: frozenset[bytes], clock: Callable[[], float] = time.time) -> None:
        self._cache = cache
        self._own_cookies = own_cookies
        self._clock = clock

    async def lookup(self, exchange: Exchange) -> Response | None:
        """Step 5: the stored answer, if it is fresh and this caller's to have."""
        policy, request = exchange.routed.policy.cache, exchange.request
        if policy is None:
            exchange.cache, exchange.cache_status = "BYPASS", "gateway; fwd=bypass; detail=off"
            return None
        if request.method not in ("GET", "HEAD"):
            exchange.cache, exchange.cache_status = "BYPASS", "gateway; fwd=method"
            return None
        service = exchange.service
        entry_key = self._key(exchange, policy)
        asked = Asked(request.method, request.headers, exchange.caller is not None)
        found = self._cache.peek(service, entry_key, asked, exchange.at) or await self._cache.lookup(
            service, entry_key, asked, exchange.at
        )
        exchange.place = Place(policy, entry_key, asked, found)
        if isinstance(found, Fresh):
            left = int(found.entry.fresh_until - exchange.at)
            exchange.cache, exchange.cache_status = "HIT", f"gateway; hit; ttl={left}"
            return _from_store(found)
        exchange.cache, exchange.cache_status = "MISS", f"gateway; fwd={_why(found)}"
        return None

    def stored(self, exchange: Exchange, called: Called) -> Response:
        """Step 8: the backend's answer on its way to the client, and into the cache where the rules allow it."""
        assert exchange.target is not None  # noqa: S101 - a call that was answered had a target
        answer = called.answer
        headers = forwarding.to_client(answer.headers, exchange.target, exchange.prefix, self._own_cookies)
        length = joined(answer.headers, b"content-length")
        complete, recorder = self._completion(exchange, answer.status, headers)
        relay = Relay(
            answer,
            int(length) if length and length.isdigit() else None,
            recorder.add if recorder else None,
            complete,
        )
        relay.when_ended(lambda _passed, aborted: called.ended(aborted))
        return Response(answer.status, headers, relay)

    def instead(self, exchange: Exchange, error: GatewayError) -> Response:
        """What this caller may be given when the backend cannot be asked or has failed: its own stale answer, or,
        while the circuit is open, the service's fallback. Raises `error` where there is neither.
        """
        place = exchange.place
        failed = isinstance(error, CircuitOpen | BadGateway | UpstreamTimeout)
        if failed and place is not None and isinstance(place.found, Stale):
            exchange.cache, exchange.cache_status = "STALE", f"gateway; hit; detail={error.code}"
            return _from_store(place.found)
        fallback = exchange.routed.policy.fallback
        if isinstance(error, CircuitOpen) and fallback is not None:
            exchange.code = error.code
            body = msgspec.json.encode(fallback.body)
            return Response(fallback.status, [(b"content-type", b"application/json")], body)
        raise error

    def _completion(
        self, exchange: Exchange, status: int, headers: Headers
    ) -> tuple[Callable[[], Awaitable[None]] | None, Recorder | None]:
        """What to do once the body is whole, and what collects it: decided before the first byte goes on."""
        place, request = exchange.place, exchange.request
        if place is None:
            tags = exchange.routed.policy.invalidates
            if request.method in SAFE or status >= 400 or not tags:
                return None, None
            return lambda: self._invalidate(exchange, tags), None
        answered = Answered(status, tuple(headers), self._clock(), exchange.backend or 0.0)
        verdict = may_store(place.asked, answered, place.policy, place.policy.scope)
        seq = UNFENCED if isinstance(place.found, Fresh) else place.found.seq
        if isinstance(verdict, Skip) or seq == UNFENCED:
            return None, None
        exchange.cache_status += "; stored"
        recorder = Recorder()

        async def complete() -> None:
            await self._cache.store(
                exchange.service,
                place.key,
                place.asked,
                answered,
                policy=place.policy,
                body=recorder.body(),
                seq=seq,
                tags=filled(place.policy.tags, exchange.routed.params),
            )

        return complete, recorder

    async def _invalidate(self, exchange: Exchange, tags: tuple[str, ...]) -> None:
        """What a successful write takes back, before its answer is whole: the writer's next read sees its change."""
        try:
            await self._cache.invalidate(exchange.service, filled(tags, exchange.routed.params))
        except StoreUnavailable:
            log.warning("tags of %s could not be taken back: the store is away", exchange.service)

    def _key(self, exchange: Exchange, policy: CachePolicy) -> str:
        """The prefix is part of it, since references in the stored answer are written for it."""
        caller, request, match = exchange.caller, exchange.request, exchange.routed
        whose = scope_id(policy.scope, caller.id if caller else ANONYMOUS, caller.tenant if caller else None)
        said = b"" if policy.scope is Scope.SHARED else self._said(exchange)
        return key(exchange.service, whose, exchange.prefix + match.path, request.query, said)

    def _said(self, exchange: Exchange) -> bytes:
        """A digest of what the backend is given in the caller's name beside the caller's id: it may answer by it."""
        digest, forwards = None, exchange.routed.policy.forward_authorization
        for name, value in exchange.request.headers:
            if name == b"cookie" or (forwards and name == b"authorization"):
                kept = forwarding.without_cookies(value, self._own_cookies)
                if kept:
                    digest = digest or blake2b(digest_size=20)
                    digest.update(b"%s:%d:%s" % (name, len(kept), kept))
        return digest.digest() if digest else b""


def _from_store(found: Fresh | Stale) -> Response:
    entry = found.entry
    headers: Headers = [*entry.headers, (b"age", b"%d" % found.age)]
    if joined(headers, b"content-length") is None and entry.status != 204:
        headers.append((b"content-length", b"%d" % len(entry.body)))
    return Response(entry.status, headers, entry.body)


def _why(found: Stale | Miss) -> str:
    """Why the request goes on (RFC 9211 section 2.2)."""
    return Forward.STALE if isinstance(found, Stale) else found.reason

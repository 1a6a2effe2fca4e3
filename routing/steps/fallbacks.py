"""A service's fallback: the same request to another service, once, and the response that is configured."""

import time
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Final

import msgspec

from routing.errors import (
    AddressNotAllowed,
    BackendLimited,
    BadGateway,
    CircuitOpen,
    Forbidden,
    GatewayError,
    RequestTimeout,
)
from routing.exchange import Exchange
from routing.http import Request, Response
from routing.messages.outcome import OutcomeClass
from routing.networks import permits
from routing.router.fallback import fallback_match
from routing.router.live import LiveConfiguration
from routing.router.table import Match
from routing.steps.cache.store import SHARED_FAILURES, CacheStore
from routing.steps.credential import CredentialSteps
from routing.steps.gatekeeper import Gatekeeper
from routing.steps.remaining_time import seconds_left, within
from routing.upstream.call import BackendCall

STEP: Final = "fallback"


class Fallbacks:
    """What responds if a service cannot. A request that went to a fallback service goes no further. `timer` is
    monotonic seconds.
    """

    def __init__(
        self,
        live: LiveConfiguration,
        gatekeeper: Gatekeeper,
        store: CacheStore,
        credentials: CredentialSteps,
        *,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._live = live
        self._gatekeeper = gatekeeper
        self._store = store
        self._credentials = credentials
        self._timer = timer

    def try_response(self, exchange: Exchange, error: Exception) -> Response | Awaitable[Response | None] | None:
        """The configured response. Where another service is to be called first, an awaitable that raises the error
        again, so that it is handled where a step may wait.
        """
        if not isinstance(error, SHARED_FAILURES):
            return None
        return _raised(error) if names_fallback(exchange) else configured_response(exchange, error)

    async def response(self, exchange: Exchange, error: GatewayError) -> Response | None:
        """The fallback service's response, or else the configured one, in place of an error."""
        if not isinstance(error, SHARED_FAILURES):
            return None
        response = None
        if names_fallback(exchange):
            response = await self._other_response(exchange, error.code, "")
        return response or configured_response(exchange, error)

    def replace(self, exchange: Exchange) -> Awaitable[Response | None] | None:
        """A step between 7 and 8: the fallback service's response in place of the backend's, if that is a failure and
        no stale response may be served instead.
        """
        call = exchange.call.call
        if call is None or not exchange.call.is_replaceable or not names_fallback(exchange):
            return None
        # A target that did not wait for a slow client's body has not failed.
        return None if exchange.call.error == RequestTimeout.code else self._replace(exchange, call)

    async def _replace(self, exchange: Exchange, call: BackendCall) -> Response | None:
        try:
            if await self._store.may_serve_stale(exchange):
                return None
            limited = exchange.call.outcome is OutcomeClass.LIMITED
            code = BackendLimited.code if limited else BadGateway.code
            response = await self._other_response(exchange, code, f"status {call.response.status}")
        except BaseException:
            await call.discard()
            self._store.release(exchange)
            raise
        if response is not None:
            await call.discard()
        return response

    async def _other_response(self, exchange: Exchange, code: str, reason: str) -> Response | None:
        """The fallback service's response; None if it cannot be called or fails. `code` and `reason` are why it is
        called. Raises what the client's body raises.
        """
        match = self.find(exchange)
        other = None if match is None else await self.reroute(exchange, match)
        if other is None:
            return None
        call = await self._call(other)
        if call is None:
            return None
        exchange.answered_by(other, code, reason)
        response = await self._store.pass_fallback(exchange, other)
        response.headers.append((b"x-gateway-fallback", other.service.encode()))
        return response

    async def _call(self, other: Exchange) -> BackendCall | None:
        try:
            await self._credentials.call(other)
        except (*SHARED_FAILURES, Forbidden) as error:  # Forbidden: this caller has no credential for it
            self.mark(other, f"{other.service}: {error.code}")
            return None
        call = other.call.call
        if call is None or not other.call.is_replaceable:
            self.mark(other, other.service)
            return call
        self.mark(other, f"{other.service}: {call.response.status}")
        await call.discard()
        return None

    def find(self, exchange: Exchange) -> Match | None:
        """The request's match at the fallback service, if there is one and the request may be sent there."""
        match = fallback_match(self._live.table, exchange.match, exchange.request.method, exchange.caller)
        if not isinstance(match, Match):
            self.mark(exchange, match.code if match is not None else "no such service")
            return None
        if not permits(match.policy.ip, exchange.request.client):
            self.mark(exchange, AddressNotAllowed.code)
            return None
        if not may_be_sent(exchange):
            self.mark(exchange, "the request may not be sent again")
            return None
        return match

    async def reroute(self, exchange: Exchange, match: Match) -> Exchange | None:
        """The request to the fallback service, counted towards its rate limit. None if no time is left, or over it."""
        left = seconds_left(exchange, self._timer())
        if left <= 0:
            self.mark(exchange, "no time is left")
            return None
        other = exchange.rerouted(_same_request(exchange), within(match, left))
        if not await self._gatekeeper.charge(other):
            self.mark(exchange, "rate_limited")
            return None
        return other

    def mark(self, exchange: Exchange, verdict: str) -> None:
        """Log why the fallback service is not called, or how it has responded."""
        if exchange.step_log is not None:
            exchange.mark(STEP, verdict, self._timer())


def configured_response(exchange: Exchange, error: Exception) -> Response | None:
    """The response configured for the service while its circuit is open."""
    configured = exchange.match.policy.fallback if isinstance(error, CircuitOpen) else None
    if configured is None or not configured.has_response:
        return None
    exchange.failed(CircuitOpen.code)
    if not configured.has_content:
        return Response(configured.status, [], b"")
    headers = [(b"content-type", b"application/json")]
    return Response(configured.status, headers, msgspec.json.encode(configured.body))


def may_be_sent(exchange: Exchange) -> bool:
    """Whether the request may be sent to another service: as for a retry, any may that was not sent at all.

    An Idempotency-Key does not help: the other service does not know what this one has done.
    """
    call, upload = exchange.call, exchange.call.upload
    if not call.sent:
        return upload is None or upload.untouched or upload.replayable
    return exchange.is_repeatable and (upload is None or upload.replayable)


def names_fallback(exchange: Exchange) -> bool:
    """Whether another service may respond in place of this one."""
    fallback = exchange.match.policy.fallback
    return fallback is not None and fallback.service is not None and exchange.has_client


def _same_request(exchange: Exchange) -> Request:
    """The request with its body from the start."""
    request, upload = copy(exchange.request), exchange.call.upload
    if upload is not None:
        request.body = upload.chunks()
    return request


async def _raised(error: Exception) -> None:
    raise error

"""Steps 6 and 7: leave from the circuit, a place in the bulkhead, a target, and the call itself."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import quote

from resilience.breaker.driver import Breaker, Breakers
from resilience.breaker.machine import Outcome, Permit, Refusal, State, judge
from routing import forwarding
from routing.backend.client import Answer, Backend, Call
from routing.bulkhead import Bulkhead
from routing.errors import BadGateway, BodyTooLarge, CircuitOpen, UpstreamTimeout
from routing.exchange import Exchange, new_trace
from routing.http import IDEMPOTENT, Body, Header, Headers, first
from routing.policy import Target
from routing.retrybudget import RetryBudget

FAILURES: Final = frozenset({500, 502, 503, 504})
"""Answers that count against a circuit (contract section 6)."""
PAUSE_SECONDS: Final = 0.05
"""A repeated call waits up to this long, at random, so that many do not arrive together."""


class Calling:
    """Calls to every service, each behind its own circuit and bulkhead."""

    def __init__(
        self,
        backend: Backend,
        breakers: Breakers,
        *,
        own_cookies: frozenset[bytes],
        max_body_bytes: int,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._backend = backend
        self._breakers = breakers
        self._own_cookies = own_cookies
        self._max_body_bytes = max_body_bytes
        self._timer = timer
        self._bulkheads: dict[str, Bulkhead] = {}
        self._budgets: defaultdict[str, RetryBudget] = defaultdict(RetryBudget)

    async def admit(self, exchange: Exchange) -> "Leave":
        """Step 6: leave to call. Raises CircuitOpen."""
        service = exchange.routed.service
        breaker = self._breakers.of(service.name, service.policy.breaker)
        verdict = breaker.admit_now() or await breaker.admit()
        if isinstance(verdict, Refusal):
            exchange.circuit = verdict.state
            raise CircuitOpen(
                "calls to this service are suspended", service=service.name, retry_after=verdict.retry_after
            )
        state = breaker.state()
        exchange.circuit = "" if state is State.CLOSED else state
        return Leave(breaker, verdict)

    async def call(self, exchange: Exchange, leave: "Leave") -> "Called":
        """Step 7: the backend's answer, its headers in and its body to come.

        Raises BadGateway, UpstreamTimeout, Overloaded, or what the client's body raises. How it went is on record
        before the client is told: the next request finds the circuit as this one left it.
        """
        if exchange.request.on_wait:
            exchange.request.on_wait()
        bulkhead = self._bulkhead(exchange)
        try:
            await bulkhead.enter()
        except BaseException:
            leave.ends(Outcome.CANCELLED)
            raise
        try:
            return await self._called(exchange, leave, bulkhead)
        except BaseException:
            bulkhead.leave()
            raise

    async def _called(self, exchange: Exchange, leave: "Leave", bulkhead: Bulkhead) -> "Called":
        started = self._timer()
        try:
            answer = await self._send(exchange)
        except (BadGateway, UpstreamTimeout) as error:
            error.service = exchange.service
            await leave.ended(Outcome.FAILURE)
            raise
        except BaseException:
            leave.ends(Outcome.CANCELLED)
            raise
        exchange.backend = self._timer() - started
        try:
            await leave.ended(Outcome.FAILURE if answer.status in FAILURES else leave.judged(exchange.backend))
        except BaseException:
            await answer.aclose()
            raise
        return Called(answer, leave, bulkhead)

    def _bulkhead(self, exchange: Exchange) -> Bulkhead:
        service = exchange.routed.service
        bulkhead = self._bulkheads.get(service.name)
        if bulkhead is None:
            bulkhead = self._bulkheads[service.name] = Bulkhead(service.name, service.policy.max_concurrency)
        bulkhead.limit = service.policy.max_concurrency
        return bulkhead

    async def _send(self, exchange: Exchange) -> Answer:
        """The call, repeated on another target when a connection failed and repeating does no harm."""
        match, request = exchange.routed, exchange.request
        call = self._prepare(exchange)
        repeatable = request.method in IDEMPOTENT and request.body is None
        attempts = match.policy.retries.attempts if repeatable else 1
        budget = self._budgets[match.service.name]
        budget.earn(match.policy.retries.budget)
        tried: list[Target] = []
        while True:
            exchange.target = target = choose(match.service.targets, tried)
            try:
                return await self._backend.send(target, call, match.policy.timeout)
            except BadGateway:
                tried.append(target)
                if len(tried) >= attempts or not budget.spend():
                    raise
                await asyncio.sleep(random.random() * PAUSE_SECONDS)  # noqa: S311 - spread, not secrecy

    def _prepare(self, exchange: Exchange) -> Call:
        match, request = exchange.routed, exchange.request
        length = first(request.headers, b"content-length")
        return Call(
            method=request.method,
            path=match.path + b"?" + request.query if request.query else match.path,
            headers=self.fields(exchange),
            body=_bounded(request.body, self._max_body_bytes, exchange.service) if request.body else None,
            length=int(length) if length else None,
        )

    def fields(self, exchange: Exchange) -> Headers:
        """What the backend is told of this request: the client's end-to-end fields, and ours."""
        policy = exchange.routed.policy
        return forwarding.to_backend(
            exchange.request.headers,
            [*self._ours(exchange), *policy.headers],
            self._own_cookies,
            keep_credential=policy.forward_authorization and not _bears_key(exchange),
            trace=new_trace(),
        )

    def _ours(self, exchange: Exchange) -> list[Header]:
        request = exchange.request
        ours = [
            (b"x-request-id", exchange.id.encode()),
            (b"x-forwarded-for", request.client.encode()),
            (b"x-forwarded-proto", request.scheme.encode()),
            (b"x-forwarded-host", first(request.headers, b"host") or b""),
            (b"via", b"1.1 gateway"),
        ]
        if exchange.caller:
            ours.append((b"x-gateway-caller", quote(exchange.caller.id, safe=":@+").encode()))
        return ours


class Leave:
    """A circuit's permit for one call, and where to report how it ended."""

    __slots__ = ("_breaker", "_permit")

    def __init__(self, breaker: Breaker, permit: Permit) -> None:
        self._breaker = breaker
        self._permit = permit

    def judged(self, duration: float) -> Outcome:
        """A success, unless the service's policy calls `duration` seconds too slow."""
        return judge(self._breaker.policy, duration)

    def ends(self, outcome: Outcome) -> asyncio.Task[None] | None:
        return self._breaker.report(self._permit, outcome)

    async def ended(self, outcome: Outcome) -> None:
        """The same, once all who must know have been told. Nobody must, of a success while CLOSED."""
        telling = self.ends(outcome)
        if telling is not None:
            await asyncio.shield(telling)


class Called:
    """A backend's answer, and what must be told when its body has ended."""

    __slots__ = ("_bulkhead", "_leave", "answer")

    def __init__(self, answer: Answer, leave: Leave, bulkhead: Bulkhead) -> None:
        self.answer = answer
        self._leave = leave
        self._bulkhead = bulkhead

    def ended(self, aborted: str) -> None:
        """The body is over. One that the backend broke off counts against its circuit."""
        self._bulkhead.leave()
        if aborted in (BadGateway.code, UpstreamTimeout.code):
            self._leave.ends(Outcome.FAILURE)


def choose(targets: tuple[Target, ...], tried: list[Target]) -> Target:
    """A target at random by weight, one not yet tried where there is one. Raises BadGateway when all rest."""
    able = [target for target in targets if target.weight]
    fresh = [target for target in able if target not in tried] or able
    if not fresh:
        raise BadGateway("the service has no target")
    if len(fresh) == 1:
        return fresh[0]
    return random.choices(fresh, [target.weight for target in fresh])[0]  # noqa: S311 - spread, not secrecy


def _bears_key(exchange: Exchange) -> bool:
    """An API key opens this gateway, and is no backend's business, whatever its service asks to see."""
    return exchange.credential is not None and exchange.credential.is_key


async def _bounded(body: Body, limit: int, service: str) -> AsyncIterator[bytes]:
    """The body's pieces, as long as they are within the limit. Raises BodyTooLarge."""
    size = 0
    async for piece in body:
        size += len(piece)
        if size > limit:
            raise BodyTooLarge(f"the body is over {limit} bytes", service=service)
        yield piece

"""Steps 6 and 7: leave from the circuit, a place in the bulkhead, and the call itself."""

import asyncio
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from resilience.breaker.driver import Breaker, Breakers
from resilience.breaker.machine import Outcome, Permit, Refusal, State, judge
from routing import forwarding
from routing.attempts import FAILURES, TIMEOUT, Attempts, Taken, repeatable
from routing.backend.client import Answer, Backend, Call
from routing.backend.wire import write
from routing.balancing.driver import Targets, Tell
from routing.bulkhead import Bulkhead
from routing.errors import BadGateway, CircuitOpen, Overloaded, UpstreamTimeout
from routing.events import Happened, Kind
from routing.exchange import Exchange
from routing.forwarding import continues_trace
from routing.http import Header, Headers
from routing.leave import Leave
from routing.tracecontext import new_traceparent
from routing.upload import Upload
from routing.ways import Told

TRACE: Final = b"traceparent"


class Calling:
    """Calls to every service, each behind its own circuit and bulkhead."""

    def __init__(
        self,
        backend: Backend,
        breakers: Breakers,
        *,
        own_cookies: frozenset[bytes],
        max_body_bytes: int,
        targets: Targets | None = None,
        tell: Tell = lambda _event: None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._attempts = Attempts(backend, targets or Targets(tell=tell), tell, timer)
        self._breakers = breakers
        self._tell = tell
        self._own_cookies = own_cookies
        self._max_body_bytes = max_body_bytes
        self._timer = timer
        self._bulkheads: dict[str, Bulkhead] = {}

    def admit_now(self, exchange: Exchange) -> Leave | None:
        """Step 6: leave to call, or None where the cluster must be asked for a probe's permit. Raises CircuitOpen."""
        service = exchange.routed.service
        breaker = self._breakers.of(service.name, service.policy.breaker)
        verdict = breaker.admit_now()
        return None if verdict is None else self._admitted(exchange, breaker, verdict)

    async def admit(self, exchange: Exchange) -> Leave:
        """The same, once the cluster has been asked."""
        service = exchange.routed.service
        breaker = self._breakers.of(service.name, service.policy.breaker)
        return self._admitted(exchange, breaker, await breaker.admit())

    def _admitted(self, exchange: Exchange, breaker: Breaker, verdict: Permit | Refusal) -> Leave:
        if isinstance(verdict, Refusal):
            exchange.circuit = verdict.state
            self._refused(breaker.name, CircuitOpen.code)
            raise CircuitOpen(
                "calls to this service are suspended", service=breaker.name, retry_after=verdict.retry_after
            )
        state = breaker.state()
        if exchange.steps is not None:
            exchange.mark("circuit breaker", state, self._timer())
        exchange.circuit = "" if state is State.CLOSED else state
        return Leave(breaker, verdict)

    async def call(self, exchange: Exchange, leave: Leave) -> "Called":
        """Step 7: the backend's answer, its headers in and its body to come.

        Raises BadGateway, UpstreamTimeout, Overloaded, or what the client's body raises. How it went is on record
        before the client is told: the next request finds the circuit as this one left it.
        """
        if exchange.request.on_wait:
            exchange.request.on_wait()
        bulkhead = self._bulkhead(exchange)
        if not bulkhead.enter_now():
            await self._queue(exchange, leave, bulkhead)
        try:
            answer, taken = await self._answer(exchange, leave)
        except BaseException:
            bulkhead.leave()
            raise
        return Called(answer, leave, bulkhead, taken)

    async def _queue(self, exchange: Exchange, leave: Leave, bulkhead: Bulkhead) -> None:
        try:
            await bulkhead.enter()
        except BaseException as error:
            leave.ends(Outcome.CANCELLED)
            if isinstance(error, Overloaded):
                self._refused(exchange.service, error.code)
            raise

    async def _answer(self, exchange: Exchange, leave: Leave) -> tuple[Answer, Taken]:
        started = self._timer()
        try:
            answer, taken = await self._attempts.send(exchange, leave, *self._prepare(exchange))
        except (BadGateway, UpstreamTimeout) as error:
            error.service = exchange.service
            await leave.ended(Outcome.FAILURE)
            raise
        except BaseException:
            leave.ends(Outcome.CANCELLED)
            raise
        exchange.backend = self._timer() - started
        breaker = exchange.routed.policy.breaker
        telling = leave.ends(Outcome.FAILURE if answer.status in FAILURES else judge(breaker, exchange.backend))
        if telling is not None:
            try:
                await asyncio.shield(telling)
            except BaseException:
                taken.left()
                await answer.aclose()
                raise
        return answer, taken

    def _refused(self, service: str, code: str) -> None:
        self._tell(Happened(kind=Kind.REFUSED, service=service, detail=code))

    def _bulkhead(self, exchange: Exchange) -> Bulkhead:
        service = exchange.routed.service
        bulkhead = self._bulkheads.get(service.name)
        if bulkhead is None:
            bulkhead = self._bulkheads[service.name] = Bulkhead(service.name, service.policy.max_concurrency)
        bulkhead.limit = service.policy.max_concurrency
        return bulkhead

    def _prepare(self, exchange: Exchange) -> tuple[Call, Upload | None]:
        """What is sent, and the body that each attempt takes up anew. The last field is for each attempt to fill in."""
        match, request = exchange.routed, exchange.request
        length = request.fields.get(b"content-length")
        told, headers = self._fields(exchange)
        headers.append((TIMEOUT, b""))
        path = match.path + b"?" + request.query if request.query else match.path
        call = Call(request.method, path, headers, None, int(length) if length else None, ready=told.written)
        if request.body is None:
            return call, None
        keep = repeatable(request)
        return call, Upload(request.body, limit=self._max_body_bytes, service=exchange.service, keep=keep)

    def fields(self, exchange: Exchange) -> Headers:
        """What the backend is told of this request: the client's end-to-end fields, and ours."""
        told, headers = self._fields(exchange)
        return [*told.headers, *headers]

    def _fields(self, exchange: Exchange) -> tuple[Told, Headers]:
        """The same in two parts: what is alike each time, and what is not."""
        trace = exchange.steps.trace if exchange.steps is not None else None
        told = self._told(exchange, traced=trace is not None)
        headers = [(b"x-request-id", exchange.id.encode())]
        if trace is not None:
            headers.append((TRACE, trace.traceparent))
        elif not told.continues_trace:
            headers.append((TRACE, new_traceparent()))
        return told, headers

    def _told(self, exchange: Exchange, *, traced: bool) -> Told:
        """What of it is the same each time: most clients send the same fields with every request."""
        request, terms = exchange.request, exchange.seat.terms
        given = request.headers if exchange.asks is None else exchange.asks
        told = terms.told
        if told is None or told.given != given or (told.client, told.scheme) != (request.client, request.scheme):
            policy = exchange.routed.policy
            headers = forwarding.to_backend(
                given,
                [*_ours(exchange), *policy.headers],
                self._own_cookies,
                keep_credential=policy.forward_authorization and not _bears_key(exchange),
                traced=traced,
            )
            told = Told(given, request.client, request.scheme, headers, write(headers), continues_trace(given))
            terms.remember(told)
        return told


class Called:
    """A backend's answer, and what must be told when its body has ended."""

    __slots__ = ("_bulkhead", "_leave", "_taken", "answer")

    def __init__(self, answer: Answer, leave: Leave, bulkhead: Bulkhead, taken: Taken) -> None:
        self.answer = answer
        self._leave = leave
        self._bulkhead = bulkhead
        self._taken = taken

    def ended(self, aborted: str) -> None:
        """The body is over. One that the backend broke off counts against its circuit."""
        self._bulkhead.leave()
        broken_off = aborted in (BadGateway.code, UpstreamTimeout.code)
        self._taken.left(broken_off=broken_off)
        if broken_off:
            self._leave.ends(Outcome.FAILURE)


def _ours(exchange: Exchange) -> list[Header]:
    """What the gateway says of a request in its own name, and alike of all that are alike."""
    request = exchange.request
    ours = [
        (b"x-forwarded-for", request.client.encode()),
        (b"x-forwarded-proto", request.scheme.encode()),
        (b"x-forwarded-host", request.fields.get(b"host", b"")),
        (b"via", b"1.1 gateway"),
    ]
    if exchange.caller:
        ours.append((b"x-gateway-caller", quote(exchange.caller.id, safe=":@+").encode()))
    return ours


def _bears_key(exchange: Exchange) -> bool:
    """An API key opens this gateway, and is no backend's business, whatever its service asks to see."""
    return exchange.credential is not None and exchange.credential.is_key

"""Steps 6 and 7: leave from the circuit, a place in the bulkhead, and the call itself."""

import asyncio
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from resilience.breaker.driver import Breakers
from resilience.breaker.machine import Outcome, Permit, Refusal, State, judge
from routing.backend.client import Backend, BackendResponse, Call
from routing.backend.encoding import write, written
from routing.balancing.balancer import Balancers, EventSink
from routing.balancing.rules import TargetState
from routing.errors import BadGateway, CircuitOpen, Overloaded, UpstreamTimeout
from routing.exchange import Exchange
from routing.http import Header, Headers
from routing.messages import forwarding
from routing.messages.forwarding import continues_trace
from routing.messages.request_body import Upload
from routing.messages.trace_context import new_traceparent
from routing.observability.events import BackendEvent, BackendEventKind
from routing.router.policy import Target
from routing.router.resolution import ForwardedHeaders
from routing.steps.retries import FAILURES, Attempts, repeatable
from routing.upstream.permit import CallPermit
from routing.upstream.registry import Upstream, Upstreams

TRACE: Final = b"traceparent"
_BROKEN_OFF: Final = frozenset({BadGateway.code, UpstreamTimeout.code})
"""How a body ends that its backend did not end."""


class Calling:
    """Calls to every service, each behind its own circuit and bulkhead."""

    def __init__(
        self,
        backend: Backend,
        breakers: Breakers,
        *,
        own_cookies: frozenset[bytes],
        max_body_bytes: int,
        targets: Balancers | None = None,
        tell: EventSink = lambda _event: None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._attempts = Attempts(backend, tell, timer)
        self._upstreams = Upstreams(breakers, targets or Balancers(tell=tell))
        self._tell = tell
        self._own_cookies = own_cookies
        self._max_body_bytes = max_body_bytes
        self._timer = timer

    def try_admit(self, exchange: Exchange) -> CallPermit | None:
        """Step 6: leave to call, or None where the cluster must be asked for a probe's permit. Raises CircuitOpen."""
        upstream = self._upstreams.of(exchange.match.service)
        verdict = upstream.breaker.try_admit()
        return None if verdict is None else self._admitted(exchange, upstream, verdict)

    async def admit(self, exchange: Exchange) -> CallPermit:
        """The same, once the cluster has been asked."""
        upstream = self._upstreams.of(exchange.match.service)
        return self._admitted(exchange, upstream, await upstream.breaker.admit())

    def _admitted(self, exchange: Exchange, upstream: Upstream, verdict: Permit | Refusal) -> CallPermit:
        if isinstance(verdict, Refusal):
            exchange.circuit = verdict.state
            name = upstream.service.name
            self._refused(name, CircuitOpen.code)
            raise CircuitOpen("calls to this service are suspended", service=name, retry_after=verdict.retry_after)
        state = upstream.breaker.state()
        if exchange.step_log is not None:
            exchange.mark("circuit breaker", state, self._timer())
        exchange.circuit = "" if state is State.CLOSED else state
        return CallPermit(upstream, verdict)

    async def call(self, exchange: Exchange, leave: CallPermit) -> "BackendCall":
        """Step 7: the backend's answer, its headers in and its body to come.

        Raises BadGateway, UpstreamTimeout, Overloaded, or what the client's body raises. How it went is on record
        before the client is told: the next request finds the circuit as this one left it.
        """
        if exchange.request.watch_disconnect:
            exchange.request.watch_disconnect()
        bulkhead = leave.upstream.bulkhead
        if not bulkhead.try_enter():
            await self._queue(exchange, leave)
        started = self._timer()
        try:
            answer, standing = await self._attempts.send(exchange, leave, *self._prepare(exchange))
        except BaseException as error:
            bulkhead.leave()
            if not isinstance(error, BadGateway | UpstreamTimeout):
                leave.report(Outcome.CANCELLED)
                raise
            error.service = exchange.service
            await leave.ended(Outcome.FAILURE)
            raise
        exchange.backend_seconds = took = self._timer() - started
        called = BackendCall(answer, leave, standing)
        failed = answer.status in FAILURES
        telling = leave.report(Outcome.FAILURE if failed else judge(exchange.match.policy.breaker, took))
        if telling is not None:
            await _told_of(called, telling)
        return called

    async def _queue(self, exchange: Exchange, leave: CallPermit) -> None:
        try:
            await leave.upstream.bulkhead.enter()
        except BaseException as error:
            leave.report(Outcome.CANCELLED)
            if isinstance(error, Overloaded):
                self._refused(exchange.service, error.code)
            raise

    def _refused(self, service: str, code: str) -> None:
        self._tell(BackendEvent(kind=BackendEventKind.REFUSED, service=service, detail=code))

    def _prepare(self, exchange: Exchange) -> tuple[Call, Upload | None]:
        """What is sent, and the body that each attempt takes up anew."""
        match, request = exchange.match, exchange.request
        length = request.fields.get(b"content-length")
        told, headers = self._fields(exchange)
        path = match.path + b"?" + request.query if request.query else match.path
        ready = told.written + written(headers)
        call = Call(request.method, path, [], None, int(length) if length else None, None, ready)
        if request.body is None:
            return call, None
        keep = repeatable(request)
        return call, Upload(request.body, limit=self._max_body_bytes, service=exchange.service, keep=keep)

    def fields(self, exchange: Exchange) -> Headers:
        """What the backend is told of this request: the client's end-to-end fields, and ours."""
        told, headers = self._fields(exchange)
        return [*told.headers, *headers]

    def _fields(self, exchange: Exchange) -> tuple[ForwardedHeaders, Headers]:
        """The same in two parts: what is alike each time, and what is not."""
        trace = exchange.step_log.trace if exchange.step_log is not None else None
        told = self._told(exchange, traced=trace is not None)
        headers = [(b"x-request-id", exchange.id.encode())]
        if trace is not None:
            headers.append((TRACE, trace.traceparent))
        elif not told.continues_trace:
            headers.append((TRACE, new_traceparent()))
        return told, headers

    def _told(self, exchange: Exchange, *, traced: bool) -> ForwardedHeaders:
        """What of it is the same each time: most clients send the same fields with every request."""
        request, terms = exchange.request, exchange.caller_slot.terms
        given = request.headers if exchange.conditional_headers is None else exchange.conditional_headers
        told = terms.told
        if told is None or told.given != given or (told.client, told.scheme) != (request.client, request.scheme):
            policy = exchange.match.policy
            headers = forwarding.to_backend(
                given,
                [*_ours(exchange), *policy.headers],
                self._own_cookies,
                keep_credential=policy.forward_authorization and not _bears_key(exchange),
                traced=traced,
            )
            told = ForwardedHeaders(
                given, request.client, request.scheme, headers, write(headers), continues_trace(given)
            )
            terms.remember(told)
        return told


class BackendCall:
    """A backend's answer, and what must be told when its body has ended."""

    __slots__ = ("_leave", "_standing", "answer")

    def __init__(self, answer: BackendResponse, leave: CallPermit, standing: TargetState) -> None:
        self.answer = answer
        self._leave = leave
        self._standing = standing

    @property
    def target(self) -> Target:
        """Who gave the answer."""
        return self._standing.target

    def ended(self, aborted: str) -> None:
        """The body is over. One that the backend broke off counts against its target and its circuit."""
        upstream = self._leave.upstream
        upstream.bulkhead.leave()
        upstream.balancer.release(self._standing)
        if aborted in _BROKEN_OFF:
            upstream.balancer.failed(self._standing, "its answer broke off", cut=True)
            self._leave.report(Outcome.FAILURE)


async def _told_of(called: BackendCall, telling: asyncio.Task[None]) -> None:
    """Wait until it is on record how the call went; whoever is cancelled meanwhile has no use for its answer."""
    try:
        await asyncio.shield(telling)
    except BaseException:
        called.ended("")
        await called.answer.aclose()
        raise


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

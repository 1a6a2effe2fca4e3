"""Steps 6 and 7: a permit from the circuit, a slot in the bulkhead, and the call itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from resilience.breaker.driver import Breakers
from resilience.breaker.machine import Outcome, Permit, Refusal, State, judge
from resilience.statuses import FAILURE_STATUSES
from routing.backend.client import Backend, BackendResponse, Call
from routing.balancing.balancer import Balancers
from routing.errors import CallFailed, CircuitOpen, GatewayError, Overloaded, RequestTimeout
from routing.exchange import CallRecord, Circuit, Exchange
from routing.http import Headers, InterimSink
from routing.messages import forwarding
from routing.messages.request_body import Upload
from routing.observability.events import BackendEvent, BackendEventKind, EventSink
from routing.steps.forwarded_headers import ForwardedHeaderFields
from routing.steps.retries import Attempts, is_clients_fault, repeatable
from routing.upstream.backend_call import BackendCall
from routing.upstream.permit import CallPermit
from routing.upstream.registry import Upstream, Upstreams


class Calls:
    """Calls to every service, each behind its own circuit and bulkhead."""

    def __init__(
        self,
        backend: Backend,
        breakers: Breakers,
        *,
        own_cookies: frozenset[bytes],
        max_body_bytes: int,
        balancers: Balancers | None = None,
        emit: EventSink = lambda _event: None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._attempts = Attempts(backend, emit, timer)
        self._upstreams = Upstreams(breakers, balancers or Balancers(emit=emit))
        self._header_fields = ForwardedHeaderFields(own_cookies)
        self._own_cookies = own_cookies
        self._emit = emit
        self._max_body_bytes = max_body_bytes
        self._timer = timer

    def admit(self, exchange: Exchange) -> Awaitable[None] | None:
        """Step 6: a permit for the call. Waits only where the cluster has to grant a half-open probe.

        Raises CircuitOpen.
        """
        upstream = self._upstreams.of(exchange.match.service)
        verdict = upstream.breaker.try_admit()
        if verdict is None:
            return self._probe(exchange, upstream)
        self._admitted(exchange, upstream, verdict)
        return None

    def call(self, exchange: Exchange) -> Awaitable[None]:
        """Step 7: the backend's response, its header fields received and its body still to come.

        Raises BadGateway, UpstreamTimeout, RequestTimeout, Overloaded, or what the client's body raises. The outcome is
        recorded before the client gets the response: its next request finds the circuit as this one left it.
        """
        exchange.call = CallRecord()
        return self._call(exchange)

    def fields(self, exchange: Exchange) -> Headers:
        """The header fields sent to the backend for this request: the client's end-to-end fields, and the gateway's."""
        return self._header_fields.all(exchange)

    async def _probe(self, exchange: Exchange, upstream: Upstream) -> None:
        self._admitted(exchange, upstream, await upstream.breaker.admit())

    def _admitted(self, exchange: Exchange, upstream: Upstream, verdict: Permit | Refusal) -> None:
        if isinstance(verdict, Refusal):
            exchange.circuit = Circuit(None, verdict.state, CircuitOpen.code)
            name = upstream.service.name
            self._refused(name, CircuitOpen.code)
            raise CircuitOpen("calls to this service are suspended", service=name, retry_after=verdict.retry_after)
        state = upstream.breaker.state()
        if exchange.step_log is not None:
            exchange.mark("circuit breaker", state, self._timer())
        exchange.circuit = Circuit(CallPermit(upstream, verdict), "" if state is State.CLOSED else state)

    async def _call(self, exchange: Exchange) -> None:
        if exchange.request.watch_disconnect:  # which adapters set once they have an awaitable
            exchange.request.watch_disconnect()
        permit = exchange.circuit.permit
        assert permit is not None  # noqa: S101 - step 6 has granted it
        try:
            await self._send(exchange, permit)
        except GatewayError as error:
            exchange.call.error = error.code
            if isinstance(error, CallFailed):
                exchange.call.reason = error.reason
            raise

    async def _send(self, exchange: Exchange, permit: CallPermit) -> None:
        bulkhead = permit.upstream.bulkhead
        if not bulkhead.try_enter():
            await self._queue(exchange, permit)
        started = self._timer()
        request, upload = self._prepare(exchange)
        try:
            response, target_state = await self._attempts.send(exchange, permit, request, upload)
        except BaseException as error:
            bulkhead.leave()
            if not isinstance(error, GatewayError):
                permit.report(Outcome.CANCELLED)
                raise
            error.service = exchange.service
            failed = isinstance(error, CallFailed)
            await permit.report_and_wait(Outcome.FAILURE if failed else Outcome.CANCELLED)
            raise
        seconds = self._timer() - started
        if upload is not None:
            seconds -= upload.waited
        exchange.call.seconds = seconds
        call = exchange.call.call = BackendCall(response, permit, target_state)
        reporting = permit.report(_outcome(exchange, response, upload, seconds))
        if reporting is not None:
            await _reported(call, reporting)

    async def _queue(self, exchange: Exchange, permit: CallPermit) -> None:
        try:
            await permit.upstream.bulkhead.enter()
        except BaseException as error:
            permit.report(Outcome.CANCELLED)
            if isinstance(error, Overloaded):
                self._refused(exchange.service, error.code)
            raise

    def _refused(self, service: str, code: str) -> None:
        self._emit(BackendEvent(kind=BackendEventKind.REFUSED, service=service, detail=code))

    def _prepare(self, exchange: Exchange) -> tuple[Call, Upload | None]:
        """The request to send, and the body that each attempt sends from its beginning."""
        match, request = exchange.match, exchange.request
        length = request.fields.get(b"content-length")
        path = match.path + b"?" + request.query if request.query else match.path
        encoded = self._header_fields.encoded(exchange)
        call = Call(request.method, path, [], None, int(length) if length else None, None, encoded)
        if match.policy.preserve_host:
            call.host = request.fields.get(b"host")
        if request.send_interim is not None:
            call.on_interim = partial(self._pass_interim, exchange, request.send_interim)
        if request.body is None:
            return call, None
        if request.set_body_timeout is not None:
            request.set_body_timeout(match.policy.timeout.idle)
        keep = repeatable(request)
        return call, Upload(
            request.body, limit=self._max_body_bytes, service=exchange.service, buffer=keep, timer=self._timer
        )

    def _pass_interim(self, exchange: Exchange, send: InterimSink, status: int, headers: Headers) -> None:
        target = exchange.call.target
        if target is not None:
            send(status, forwarding.interim_to_client(headers, target.url, exchange.public_address, self._own_cookies))


def _outcome(exchange: Exchange, response: BackendResponse, upload: Upload | None, seconds: float) -> Outcome:
    """What a response says about the service. `seconds` is the time until its head, without its client's share."""
    if response.status in FAILURE_STATUSES and is_clients_fault(response, upload):
        exchange.call.error = RequestTimeout.code
        return Outcome.CANCELLED
    return judge(exchange.match.policy.breaker, response.status, seconds)


async def _reported(call: BackendCall, reporting: "asyncio.Task[None]") -> None:
    """Wait until the cluster knows the outcome; on cancellation nobody needs the response any more."""
    try:
        await asyncio.shield(reporting)
    except BaseException:
        await call.discard()
        raise

"""Steps 6 and 7: a permit from the circuit, a slot in the bulkhead, and the call itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from resilience.breaker.driver import Breakers
from resilience.breaker.machine import Outcome, Permit, Refusal, State, judge
from resilience.statuses import FAILURE_STATUSES
from routing.backend.client import Backend, BackendResponse, Call, Sender
from routing.balancing.balancer import Balancers
from routing.errors import BadGateway, CallFailed, CircuitOpen, GatewayError, Overloaded, RequestTimeout
from routing.exchange import CallRecord, Circuit, Exchange
from routing.http import Headers, InterimSink
from routing.messages import forwarding
from routing.messages.request_body import Upload
from routing.observability.events import BackendEvent, BackendEventKind, EventSink
from routing.steps.forwarded_headers import ForwardedHeaderFields
from routing.steps.retries import Attempts, is_clients_fault, repeatable
from routing.upstream.bulkhead import Bulkhead
from routing.upstream.call import BackendCall, CallPermit
from routing.upstream.registry import Upstream, Upstreams

SWITCHING_PROTOCOLS: Final = 101


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
        self._backend = backend
        self._attempts = Attempts(emit, timer)
        self._upstreams = Upstreams(breakers, balancers or Balancers(emit=emit))
        self._header_fields = ForwardedHeaderFields(own_cookies)
        self._own_cookies = own_cookies
        self._emit = emit
        self._max_body_bytes = max_body_bytes
        self._timer = timer

    @property
    def in_flight(self) -> int:
        """Calls that have a slot of a bulkhead, to all services."""
        return self._upstreams.calls_in_flight

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

    @asynccontextmanager
    async def websocket(self, exchange: Exchange, handshake: Sender) -> AsyncIterator[None]:
        """Steps 6 and 7 of a WebSocket: the call is its handshake, which is a GET, and `handshake` sends it.

        The WebSocket is open for as long as the context is.

        Raises what `admit` and `call` raise, and BadGateway for a handshake that the backend refuses. Open WebSockets
        have a bulkhead of their own, since they would fill that of calls, and do not count as load of their target: the
        balancer compares calls, and a WebSocket may be quiet.
        """
        admission = self.admit(exchange)  # 6 circuit breaker
        if admission is not None:
            await admission
        exchange.call = CallRecord()
        upstream = _permit(exchange).upstream
        call = await self._send(exchange, handshake, upstream.websockets, self._prepare_handshake)
        try:
            call.release_target()
            if call.response.status != SWITCHING_PROTOCOLS:
                error = BadGateway(f"handshake refused with {call.response.status}", service=exchange.service)
                exchange.call.error, exchange.call.reason = error.code, error.reason
                raise error
            yield
        finally:
            upstream.websockets.leave()

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
        await self._send(exchange, self._backend, _permit(exchange).upstream.bulkhead, self._prepare)

    async def _send(
        self,
        exchange: Exchange,
        sender: Sender,
        bulkhead: Bulkhead,
        prepare: Callable[[Exchange], tuple[Call, Upload | None]],
    ) -> BackendCall:
        """Send the request, and report the outcome. The returned call has a slot in `bulkhead`."""
        permit = _permit(exchange)
        if not bulkhead.try_enter():
            await self._queue(exchange, permit, bulkhead)
        started = self._timer()
        try:
            request, upload = prepare(exchange)
            attempts = self._attempts.send(sender, exchange, permit, request, upload)
            response, target_state = await (attempts if upload is None else bulkhead.with_upload(upload, attempts))
        except BaseException as error:
            bulkhead.leave()
            await _failed(exchange, permit, error)
            raise
        seconds = self._timer() - started
        if upload is not None:
            seconds -= upload.waited
        exchange.call.seconds = seconds
        call = exchange.call.call = BackendCall(response, permit, target_state, bulkhead)
        reporting = permit.report(_outcome(exchange, response, upload, seconds))
        if reporting is not None:
            await _reported(call, reporting)
        return call

    async def _queue(self, exchange: Exchange, permit: CallPermit, bulkhead: Bulkhead) -> None:
        try:
            await bulkhead.enter()
        except BaseException as error:
            permit.report(Outcome.CANCELLED)
            if isinstance(error, Overloaded):
                exchange.call.error = error.code
                self._refused(exchange.service, error.code)
            raise

    def _refused(self, service: str, code: str) -> None:
        self._emit(BackendEvent(kind=BackendEventKind.REFUSED, service=service, detail=code))

    def _prepare(self, exchange: Exchange) -> tuple[Call, Upload | None]:
        """The request to send, and the body that each attempt sends from its beginning."""
        match, request = exchange.match, exchange.request
        length = request.fields.get(b"content-length")
        call = _call(exchange, [], self._header_fields.encoded(exchange))
        call.length = int(length) if length else None
        if request.send_interim is not None:
            call.on_interim = partial(self._pass_interim, exchange, request.send_interim)
        if request.body is None:
            return call, None
        if request.set_body_timeout is not None:
            request.set_body_timeout(match.policy.timeout.idle)
        keep = repeatable(request)
        upload = exchange.call.upload = Upload(
            request.body, limit=self._max_body_bytes, service=exchange.service, buffer=keep, timer=self._timer
        )
        return call, upload

    def _prepare_handshake(self, exchange: Exchange) -> tuple[Call, None]:
        return _call(exchange, self._header_fields.all(exchange)), None

    def _pass_interim(self, exchange: Exchange, send: InterimSink, status: int, headers: Headers) -> None:
        target = exchange.call.target
        if target is not None:
            send(status, forwarding.interim_to_client(headers, target.url, exchange.public_address, self._own_cookies))


def _permit(exchange: Exchange) -> CallPermit:
    permit = exchange.circuit.permit
    assert permit is not None  # noqa: S101 - step 6 has granted it
    return permit


def _call(exchange: Exchange, headers: Headers, encoded: bytes = b"") -> Call:
    """The request without its body."""
    match, request = exchange.match, exchange.request
    path = match.path + b"?" + request.query if request.query else match.path
    host = request.fields.get(b"host") if match.policy.preserve_host else None
    return Call(request.method, path, headers, None, None, host, encoded)


async def _failed(exchange: Exchange, permit: CallPermit, error: BaseException) -> None:
    """Report a call without a response, and record why there is none."""
    if not isinstance(error, GatewayError):
        permit.report(Outcome.CANCELLED)
        return
    error.service = exchange.service
    exchange.call.error = error.code
    outcome = Outcome.CANCELLED
    if isinstance(error, CallFailed):
        exchange.call.reason, outcome = error.reason, Outcome.FAILURE
    await permit.report_and_wait(outcome)


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

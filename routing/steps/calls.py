"""Steps 6 and 7: a permit from the circuit, a slot in the bulkhead, and the call itself."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from resilience.breaker.driver import Breakers
from resilience.breaker.machine import Outcome, Permit, Refusal, State
from resilience.holdoff.driver import Probe
from routing.authentication.identity_signer import IdentitySigner
from routing.backend.client import Call, Sender
from routing.balancing.balancer import Balancers
from routing.errors import (
    BackendLimited,
    BadGateway,
    CircuitOpen,
    Overloaded,
)
from routing.exchange import CallRecord, Circuit, Exchange
from routing.http import Headers, InterimSink
from routing.messages import forwarding
from routing.messages.credentials import binds_connection
from routing.messages.outcome import OutcomeClass
from routing.messages.request_body import Upload
from routing.observability.events import BackendEvent, BackendEventKind, EventSink
from routing.router.gateway_cookies import GatewayCookies
from routing.steps.backend_limits import BackendLimits, local_limits
from routing.steps.forwarded_headers import ForwardedHeaderFields
from routing.steps.model import named_model
from routing.steps.reporting import circuit_outcome, report_failure, wait_until_reported
from routing.steps.retries import Attempts
from routing.upstream.bulkhead import Bulkhead
from routing.upstream.call import BackendCall, CallPermit
from routing.upstream.registry import Upstream, Upstreams

SWITCHING_PROTOCOLS: Final = 101

Preparation = Callable[[Exchange], tuple[Call, Upload | None]]
"""Makes the request to send, and the body that each attempt sends from its beginning."""


class Calls:
    """Calls to every service, each behind its own circuit and bulkhead."""

    def __init__(
        self,
        backend: Sender,
        breakers: Breakers,
        *,
        cookies: GatewayCookies,
        max_body_bytes: int,
        balancers: Balancers | None = None,
        limits: BackendLimits | None = None,
        signer: IdentitySigner | None = None,
        passes_interim: bool = True,
        emit: EventSink = lambda _event: None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._backend = backend
        self._limits = limits or local_limits(breakers.clock, cookies, emit)
        self._attempts = Attempts(self._limits, emit, timer)
        self._upstreams = Upstreams(breakers, balancers or Balancers(emit=emit), self._limits.hold_offs)
        self._header_fields = ForwardedHeaderFields(cookies, signer)
        self._cookies = cookies
        self._passes_interim = passes_interim
        self._emit = emit
        self._max_body_bytes = max_body_bytes
        self._timer = timer

    @property
    def in_flight(self) -> int:
        """Calls that have a slot of a bulkhead, to all services."""
        return self._upstreams.calls_in_flight

    def admit(self, exchange: Exchange) -> Awaitable[None] | None:
        """Step 6: a permit for the call. Waits only where the cluster has to grant a half-open probe, or that after a
        hold-off.

        Raises CircuitOpen or BackendLimited, and where the model is read, what the client's body raises.
        """
        upstream = self._upstreams.of(exchange.match.service)
        if upstream.has_models and not exchange.model and exchange.match.policy.has_models:
            return self._admit_by_model(exchange)
        if upstream.hold_offs and self._limits.check(exchange, upstream.hold_offs):
            return self._probe_limit(exchange, upstream)
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
        send = self._send_probe if exchange.circuit.probes else self._send
        return send(exchange, self._backend, _permit(exchange).upstream.bulkhead, self._prepare)

    @asynccontextmanager
    async def websocket(self, exchange: Exchange, handshake: Sender) -> AsyncIterator[Headers]:
        """Steps 6 and 7 of a WebSocket: the call is its handshake, which is a GET, and `handshake` sends it.

        The WebSocket is open for as long as the context is, whose value is the fields of the backend's response for
        the client.

        Raises what `admit` and `call` raise, and BadGateway for a handshake that the backend refuses. Open WebSockets
        have a bulkhead of their own, since they would fill that of calls, and do not count as load of their target: the
        balancer compares calls, and a WebSocket may be quiet.
        """
        admission = self.admit(exchange)  # 6 circuit breaker
        if admission is not None:
            await admission
        exchange.call = CallRecord()
        upstream = _permit(exchange).upstream
        send = self._send_probe if exchange.circuit.probes else self._send
        await send(exchange, handshake, upstream.websockets, self._prepare_handshake)
        call = _sent(exchange)
        try:
            call.release_target()
            if call.response.status != SWITCHING_PROTOCOLS:
                error = BadGateway(f"handshake refused with {call.response.status}", service=exchange.service)
                exchange.call.error, exchange.call.reason = error.code, error.reason
                raise error
            public = exchange.public_address
            own = self._cookies.at(public.prefix, public.host)
            yield forwarding.handshake_to_client(call.response.headers, call.target.url, public, own)
        finally:
            upstream.websockets.leave()

    async def _admit_by_model(self, exchange: Exchange) -> None:
        """The same where limits of the backend are each model's own, so that the request's has to be known."""
        exchange.model = await named_model(exchange)
        admission = self.admit(exchange)
        if admission is not None:
            await admission

    async def _probe(self, exchange: Exchange, upstream: Upstream) -> None:
        self._admitted(exchange, upstream, await upstream.breaker.admit())

    async def _probe_limit(self, exchange: Exchange, upstream: Upstream) -> None:
        """The same for a call that may be the first one after a hold-off."""
        probes = await self._limits.probe(exchange)
        try:
            verdict = upstream.breaker.try_admit() or await upstream.breaker.admit()
            self._admitted(exchange, upstream, verdict, tuple(probes))
        except BaseException:
            _give_back(probes)
            raise

    def _admitted(
        self, exchange: Exchange, upstream: Upstream, verdict: Permit | Refusal, probes: tuple[Probe, ...] = ()
    ) -> None:
        if isinstance(verdict, Refusal):
            exchange.circuit = Circuit(None, verdict.state, CircuitOpen.code)
            name = upstream.service.name
            self._refused(name, CircuitOpen.code)
            raise CircuitOpen("calls to this service are suspended", service=name, retry_after=verdict.retry_after)
        state = upstream.breaker.state()
        if exchange.step_log is not None:
            exchange.mark("circuit breaker", state, self._timer())
        exchange.circuit = Circuit(CallPermit(upstream, verdict), "" if state is State.CLOSED else state, "", probes)

    async def _send_probe(self, exchange: Exchange, sender: Sender, bulkhead: Bulkhead, prepare: Preparation) -> None:
        """`_send` for the first call after a hold-off: unless it is limited or fails, calls may be made again."""
        probes = exchange.circuit.probes
        try:
            await self._send(exchange, sender, bulkhead, prepare)
        except BaseException:
            _give_back(probes)
            raise
        if exchange.call.outcome is OutcomeClass.LIMITED:
            _give_back(probes)
            return
        try:
            for probe in probes:
                await probe.accepted()
        except BaseException:
            await _sent(exchange).discard()
            raise

    async def _send(
        self,
        exchange: Exchange,
        sender: Sender,
        bulkhead: Bulkhead,
        prepare: Preparation,
    ) -> None:
        """Send the request, and report the outcome. The call in `exchange` has a slot in `bulkhead`."""
        if exchange.request.watch_disconnect:  # which adapters set once they have an awaitable
            exchange.request.watch_disconnect()
        permit = _permit(exchange)
        if exchange.match.policy.outbound is not None or not bulkhead.try_enter():
            await self._queue(exchange, permit, bulkhead)
        started = self._timer()
        try:
            request, upload = prepare(exchange)
            attempts = self._attempts.send(sender, exchange, permit, request, upload)
            response, target_state = await (attempts if upload is None else bulkhead.with_upload(upload, attempts))
        except BaseException as error:
            bulkhead.leave()
            await report_failure(exchange, permit, error)
            raise
        seconds = self._timer() - started
        if upload is not None:
            seconds -= upload.waited
        exchange.call.seconds = seconds
        call = exchange.call.call = BackendCall(response, permit, target_state, bulkhead)
        reporting = permit.report(circuit_outcome(exchange, response, upload, seconds))
        if reporting is not None:
            await wait_until_reported(call, reporting)
        if exchange.call.outcome is not None:
            await self._classed(exchange, call, exchange.call.outcome)

    async def _classed(self, exchange: Exchange, call: BackendCall, outcome: OutcomeClass) -> None:
        """What follows from a response's class, before its client gets it."""
        if outcome is OutcomeClass.OURS:
            detail = f"status {call.response.status}"
            self._emit(BackendEvent(kind=BackendEventKind.CREDENTIAL_REJECTED, service=exchange.service, detail=detail))
        if outcome is OutcomeClass.LIMITED:
            try:
                await self._limits.limited(exchange, call.response)
            except BaseException:
                await call.discard()
                raise

    async def _queue(self, exchange: Exchange, permit: CallPermit, bulkhead: Bulkhead) -> None:
        """Wait for the call's turn under an outbound limit, and then for a slot."""
        uncount = None
        try:
            uncount = await self._limits.enter(exchange)
            await bulkhead.enter()
        except BaseException as error:
            permit.report(Outcome.CANCELLED)
            if uncount is not None:
                uncount()
            if isinstance(error, Overloaded | BackendLimited):
                exchange.call.error = error.code
            if isinstance(error, Overloaded):
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
        if request.send_interim is not None and self._passes_interim:
            call.on_interim = partial(self._pass_interim, exchange, request.send_interim)
        if request.body is None:
            return call, None
        if request.set_body_timeout is not None:
            request.set_body_timeout(match.policy.timeout.idle)
        upload = exchange.call.upload = Upload(
            request.body, limit=self._max_body_bytes, service=exchange.service, timer=self._timer
        )
        return call, upload

    def _prepare_handshake(self, exchange: Exchange) -> tuple[Call, None]:
        return _call(exchange, self._header_fields.all(exchange)), None

    def _pass_interim(self, exchange: Exchange, send: InterimSink, status: int, headers: Headers) -> None:
        target, public = exchange.call.target, exchange.public_address
        if target is not None:
            own = self._cookies.at(public.prefix, public.host)
            send(status, forwarding.interim_to_client(headers, target.url, public, own))


def _permit(exchange: Exchange) -> CallPermit:
    permit = exchange.circuit.permit
    assert permit is not None  # noqa: S101 - step 6 has granted it
    return permit


def _sent(exchange: Exchange) -> BackendCall:
    call = exchange.call.call
    assert call is not None  # noqa: S101 - `_send` has made it
    return call


def _call(exchange: Exchange, headers: Headers, encoded: bytes = b"") -> Call:
    """The request without its body."""
    match, request = exchange.match, exchange.request
    path = match.path + b"?" + request.query if request.query else match.path
    host = request.fields.get(b"host") if match.policy.preserve_host else None
    is_bound = match.policy.forward_authorization and binds_connection(request)
    return Call(request.method, path, headers, None, None, host, encoded, binds_connection=is_bound)


def _give_back(probes: Iterable[Probe]) -> None:
    for probe in probes:
        probe.failed()

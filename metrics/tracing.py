"""Spans for OpenTelemetry, sent in the background: the only place that knows its SDK, an optional extra."""

import asyncio
import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from metrics import spans
from metrics.spans import Attribute, Step
from routing.exchange import Exchange
from routing.messages.trace_context import Trace, new_span_id

CLOSE_SECONDS: Final = 2.0
"""How long the last spans may take to be sent."""
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SCOPE: Final = InstrumentationScope("intelligence-gateway")


class SpanSender:
    """A `routing.tracing.Tracer`. A collector that is away costs the oldest of what waits for it, and no request."""

    def __init__(self, exporter: SpanExporter, resource: Mapping[str, str]) -> None:
        self._exporter = exporter
        self._resource = Resource.create(dict(resource))
        self._queue = BatchSpanProcessor(exporter)

    def ended(self, exchange: Exchange, status: int, aborted: str, duration: float) -> None:
        """Have the request's spans made once its answer has gone, and sent by another thread."""
        asyncio.get_running_loop().call_soon(self._put, exchange, status, aborted, duration)

    def close(self) -> None:
        """Send what waits, for CLOSE_SECONDS at most. Blocking."""
        ending = threading.Thread(target=self._queue.shutdown, daemon=True)
        ending.start()
        ending.join(CLOSE_SECONDS)
        if ending.is_alive():
            self._exporter.shutdown()  # ends what it waits for

    def _put(self, exchange: Exchange, status: int, aborted: str, duration: float) -> None:
        for span in self._spans(exchange, status, aborted, duration):
            self._queue.on_end(span)

    def _spans(self, exchange: Exchange, status: int, aborted: str, duration: float) -> list[ReadableSpan]:
        trace = exchange.step_log.trace if exchange.step_log is not None else None
        if trace is None:
            return []
        made = _Spans(trace, exchange.received_at, self._resource)
        route = spans.route(exchange)
        about = spans.attributes(exchange, status, aborted)
        failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        whole = made.span(
            f"{about['http.request.method']} {route}".strip(),
            (0.0, duration),
            identifier=trace.span,
            parent=trace.parent,
            kind=SpanKind.SERVER,
            attributes=about,
            error=str(about.get("error.type", "")) if failed else "",
        )
        return [whole, *(made.step(step, exchange) for step in spans.steps(exchange, duration))]


class _Spans:
    """Makes the spans of one trace. `at` is Unix seconds, what spans are given is seconds since."""

    def __init__(self, trace: Trace, at: float, resource: Resource) -> None:
        self._trace = trace
        self._at = at
        self._resource = resource
        self._state = TraceState.from_header([trace.state]) if trace.state else TraceState()

    def step(self, step: Step, exchange: Exchange) -> ReadableSpan:
        is_call = step.name == spans.BACKEND_CALL
        about: dict[str, Attribute] = {"gateway.verdict": step.verdict} if step.verdict else {}
        if is_call:
            about = spans.call_attributes(exchange, step.events)
        if step.error:
            about["error.type"] = step.error
        return self.span(
            step.name,
            (step.start, step.end),
            identifier=self._trace.call if is_call else new_span_id(),
            parent=self._trace.span,
            kind=SpanKind.CLIENT if is_call else SpanKind.INTERNAL,
            attributes=about,
            error=step.error,
            events=[Event(said, timestamp=self._nanoseconds(at)) for said, at in step.events],
        )

    def span(
        self,
        name: str,
        when: tuple[float, float],
        *,
        identifier: int,
        parent: int,
        kind: SpanKind,
        attributes: Mapping[str, Attribute],
        error: str = "",
        events: list[Event] | None = None,
    ) -> ReadableSpan:
        start, end = when
        return ReadableSpan(
            name=name,
            context=self._context(identifier),
            parent=self._context(parent, is_remote=kind is SpanKind.SERVER) if parent else None,
            resource=self._resource,
            attributes=attributes,
            events=events or [],
            kind=kind,
            status=Status(StatusCode.ERROR, error) if error else Status(),
            start_time=self._nanoseconds(start),
            end_time=self._nanoseconds(end),
            instrumentation_scope=_SCOPE,
        )

    def _context(self, identifier: int, *, is_remote: bool = False) -> SpanContext:
        return SpanContext(self._trace.id, identifier, is_remote, _SAMPLED, self._state)

    def _nanoseconds(self, at: float) -> int:
        return int((self._at + at) * 1e9)


def over_http(endpoint: str, resource: Mapping[str, str]) -> SpanSender:
    """Sends to a collector's OTLP address, as the SDK's own variables have it (headers, timeout, batches)."""
    return SpanSender(OTLPSpanExporter(endpoint=endpoint), resource)

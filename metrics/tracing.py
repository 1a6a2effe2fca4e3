"""Export of spans to OpenTelemetry in the background. The only module that imports its SDK, an optional extra."""

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
from metrics.spans import Attribute, StepSpan
from routing.exchange import Exchange
from routing.messages.identifiers import Trace, new_span_id

CLOSE_SECONDS: Final = 2.0
"""How long to wait for the last spans to be sent."""
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SCOPE: Final = InstrumentationScope("intelligence-gateway")


class SpanSender:
    """A `routing.tracing.Tracer`. While the collector is unavailable the oldest queued spans are dropped."""

    def __init__(self, exporter: SpanExporter, resource: Mapping[str, str]) -> None:
        self._exporter = exporter
        self._resource = Resource.create(dict(resource))
        self._queue = BatchSpanProcessor(exporter)

    def ended(self, exchange: Exchange, status: int, aborted: str, duration: float) -> None:
        """Create the request's spans after its response has been sent, and queue them for another thread."""
        asyncio.get_running_loop().call_soon(self._put, exchange, status, aborted, duration)

    def close(self) -> None:
        """Send the queued spans, waiting CLOSE_SECONDS at most. Blocks."""
        shutdown = threading.Thread(target=self._queue.shutdown, daemon=True)
        shutdown.start()
        shutdown.join(CLOSE_SECONDS)
        if shutdown.is_alive():
            self._exporter.shutdown()  # aborts the export in progress

    def _put(self, exchange: Exchange, status: int, aborted: str, duration: float) -> None:
        for span in self._spans(exchange, status, aborted, duration):
            self._queue.on_end(span)

    def _spans(self, exchange: Exchange, status: int, aborted: str, duration: float) -> list[ReadableSpan]:
        trace = exchange.step_log.trace if exchange.step_log is not None else None
        if trace is None:
            return []
        builder = _SpanBuilder(trace, exchange.received_at, self._resource)
        route = spans.route(exchange)
        attributes = spans.attributes(exchange, status, aborted)
        failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        request_span = builder.span(
            f"{attributes['http.request.method']} {route}".strip(),
            (0.0, duration),
            identifier=trace.span,
            parent=trace.parent,
            kind=SpanKind.SERVER,
            attributes=attributes,
            error=str(attributes.get("error.type", "")) if failed else "",
        )
        return [request_span, *(builder.step_span(step, exchange) for step in spans.step_spans(exchange, duration))]


class _SpanBuilder:
    """Builds the spans of one trace, which starts at `at` (Unix seconds); its methods take seconds since then."""

    def __init__(self, trace: Trace, at: float, resource: Resource) -> None:
        self._trace = trace
        self._at = at
        self._resource = resource
        self._state = TraceState.from_header([trace.state]) if trace.state else TraceState()

    def step_span(self, step: StepSpan, exchange: Exchange) -> ReadableSpan:
        is_call = step.name == spans.BACKEND_CALL
        attributes: dict[str, Attribute] = {"gateway.verdict": step.verdict} if step.verdict else {}
        if is_call:
            attributes = spans.call_attributes(exchange, step.events)
        if step.error:
            attributes["error.type"] = step.error
        return self.span(
            step.name,
            (step.start, step.end),
            identifier=self._trace.call if is_call else new_span_id(),
            parent=self._trace.span,
            kind=SpanKind.CLIENT if is_call else SpanKind.INTERNAL,
            attributes=attributes,
            error=step.error,
            events=[Event(name, timestamp=self._nanoseconds(at)) for name, at in step.events],
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
    """A sender to an OTLP endpoint. The SDK's environment variables set headers, timeout and batch size."""
    return SpanSender(OTLPSpanExporter(endpoint=endpoint), resource)

"""Export of spans to OpenTelemetry in the background. The only module that imports its SDK, an optional extra."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from metrics import spans
from metrics.request_log.steps import BACKEND_CALL
from metrics.spans import Attribute, StepSpan
from resilience.throttled_log import ThrottledLog
from routing.exchange import Exchange
from routing.messages.identifiers import Trace, new_span_id

log = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 2.0
"""How long to wait for the last spans to be sent."""
MAX_WAITING: Final = 2_048
"""Spans that wait, by default: those of about 200 requests."""
SPANS_PER_REQUEST: Final = len(spans.STEPS) + 2
_CREDENTIAL_PROVIDERS: Final = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)
"""Variables that name what makes the SDK's session."""
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SCOPE: Final = InstrumentationScope("intelligence-gateway")


class SpanSender:
    """A `routing.tracing.Tracer`. While `max_waiting` spans are not exported, those of further requests are not made:
    a collector that is unavailable, or slower than requests come, costs neither memory nor time.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        resource: Mapping[str, str],
        *,
        max_waiting: int = MAX_WAITING,
        collector: str = "",
        outcome: Callable[[], str] = str,
    ) -> None:
        """`collector` is its name in the log, and `outcome` says what became of the last attempt."""
        self._exporter = ReportingExporter(exporter, collector, outcome)
        self._resource = Resource.create(dict(resource))
        self._max_waiting = max_waiting
        self._made = 0
        self._queue = BatchSpanProcessor(self._exporter, max_queue_size=max_waiting + SPANS_PER_REQUEST)

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
        if self._made - self._exporter.taken >= self._max_waiting:
            self._exporter.requests_left_out += 1
            return
        for span in self._spans(exchange, status, aborted, duration):
            self._made += 1
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


class ReportingExporter(SpanExporter):
    """Logs that spans cannot be exported, once a minute, and that they can be again. Called by one thread at a time.

    `taken` counts spans that have been exported or are lost, `requests_left_out` requests whose spans were not made.
    """

    def __init__(self, exporter: SpanExporter, collector: str, outcome: Callable[[], str]) -> None:
        self.taken = self.requests_left_out = 0
        self._exporter = exporter
        self._collector = collector
        self._outcome = outcome
        self._log = ThrottledLog(log)
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - of the SDK; its kind is logged
            result = SpanExportResult.FAILURE
            self._fail(len(spans), type(error).__name__)
        else:
            if result is SpanExportResult.SUCCESS:
                self._succeed()
            else:
                self._fail(len(spans), self._outcome() or "no reason is known")
        self.taken += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def _fail(self, spans: int, reason: str) -> None:
        self._lost += spans
        detail = f"{reason}; lost so far: {self._lost} spans, and those of {self.requests_left_out} more requests"
        self._log.warning(f"traces cannot be sent to {self._collector}", detail)

    def _succeed(self) -> None:
        if self._lost:
            text = "traces are sent to %s again; lost were %d spans, and those of %d more requests"
            log.info(text, self._collector, self._lost, self.requests_left_out)
            self._lost = self.requests_left_out = 0


class OutcomeSession(requests.Session):
    """Remembers what became of the last request, without the address: that may have a credential in its query."""

    outcome = ""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        try:
            response = super().send(request, **options)
        except requests.RequestException as error:
            self.outcome = type(error).__name__
            raise
        self.outcome = f"status {response.status_code}"
        return response


class _SpanBuilder:
    """Builds the spans of one trace, which starts at `at` (Unix seconds); its methods take seconds since then."""

    def __init__(self, trace: Trace, at: float, resource: Resource) -> None:
        self._trace = trace
        self._at = at
        self._resource = resource
        self._state = TraceState.from_header([trace.state]) if trace.state else TraceState()

    def step_span(self, step: StepSpan, exchange: Exchange) -> ReadableSpan:
        is_call = step.name == BACKEND_CALL
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


def over_http(endpoint: str, resource: Mapping[str, str], max_waiting: int) -> SpanSender:
    """A sender to an OTLP endpoint. The SDK's environment variables set headers, timeout and batch size."""
    session = OutcomeSession()
    has_provider = any(name in os.environ for name in _CREDENTIAL_PROVIDERS)
    exporter = OTLPSpanExporter(endpoint=endpoint, session=None if has_provider else session)
    collector = urlsplit(endpoint).netloc.rpartition("@")[2]
    return SpanSender(exporter, resource, max_waiting=max_waiting, collector=collector, outcome=lambda: session.outcome)

"""Traces of a gateway with a scripted backend: one span per step, in the client's trace."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from metrics import spans
from metrics.spans import StepSpan
from metrics.tracing import SPANS_PER_REQUEST, ReportingExporter, SpanSender
from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy, Scope
from routing.exchange import Exchange
from routing.messages.identifiers import Sampling
from routing.router.policy import Retries, RoutePolicy
from routing.router.table import RoutePattern
from routing.tracing import TracedGateway
from tests.gateway.conftest import QUICK, World, make_world
from tests.metrics.harness import ok
from tests.origin import Peer, Received

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=1")]
UNSAMPLED = [("traceparent", f"00-{TRACE}-{PARENT}-00")]
NINE = [
    "request id",
    "rate limit",
    "authentication",
    "service router",
    "cache check",
    "circuit breaker",
    "backend call",
    "store",
    "return",
]
FAILED = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
CACHED = RoutePolicy(timeout=QUICK, cache=CachePolicy(ttl=60, scope=Scope.SHARED))
BARE = RoutePolicy(timeout=QUICK, cache=None, retries=Retries(attempts=1), breaker=BreakerPolicy(failure_threshold=1))


class TracedWorld:
    """A world whose gateway is traced, and its exported spans."""

    def __init__(self, world: World, sender: SpanSender, exporter: InMemorySpanExporter) -> None:
        self.world = world
        self._sender = sender
        self._exporter = exporter

    async def spans(self) -> list[ReadableSpan]:
        await asyncio.sleep(0)  # spans are created after the response has been sent
        self._sender.close()
        return sorted(self._exporter.get_finished_spans(), key=lambda span: (span.start_time or 0, span.end_time or 0))

    async def request_span(self) -> ReadableSpan:
        [found] = [span for span in await self.spans() if span.kind is SpanKind.SERVER]
        return found

    async def steps(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in await self.spans() if span.kind is not SpanKind.SERVER}


@pytest.fixture
async def traced(request: pytest.FixtureRequest) -> AsyncIterator[TracedWorld]:
    exporter = InMemorySpanExporter()
    sender = SpanSender(exporter, {"service.name": "here"})
    sampling = getattr(request, "param", Sampling())
    world = make_world("asgi", kind=partial(TracedGateway, tracer=sender, sampling=sampling))
    yield TracedWorld(world, sender, exporter)
    await world.close()


def header(request: Received, name: bytes) -> bytes | None:
    return next((value for field, value in request.fields if field.lower() == name), None)


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_each_of_the_nine_steps_is_a_child_span_of_the_request(traced: TracedWorld) -> None:
    await traced.world.serve(ok(), policy=CACHED, routes=(RoutePattern("/contacts/{id}", (), CACHED),))
    await traced.world.request("GET", "/api/v1/crm/contacts/7?token=hush", SAMPLED)
    request_span, steps = await traced.request_span(), await traced.steps()
    assert list(steps) == NINE
    assert request_span.context
    assert request_span.parent
    assert f"{request_span.context.trace_id:032x}" == TRACE
    assert f"{request_span.parent.span_id:016x}" == PARENT
    assert request_span.context.trace_state.to_header() == "vendor=1"
    assert {span.parent.span_id for span in steps.values() if span.parent} == {request_span.context.span_id}
    assert len({span.context.span_id for span in steps.values() if span.context}) == 9
    assert (request_span.name, attributes_of(request_span)["http.route"]) == (
        "GET /api/v1/crm/contacts/{id}",
        "/api/v1/crm/contacts/{id}",
    )
    assert request_span.resource.attributes["service.name"] == "here"


async def test_the_steps_are_contiguous_and_span_the_request(traced: TracedWorld) -> None:
    await traced.world.serve(ok(), policy=CACHED)
    await traced.world.request("GET", "/api/v1/crm/x")
    request_span, steps = (await traced.request_span()), list((await traced.steps()).values())
    assert [after.start_time for after in steps[1:]] == [before.end_time for before in steps[:-1]]
    assert (steps[0].start_time, steps[-1].end_time) == (request_span.start_time, request_span.end_time)
    call = next(step for step in steps if step.name == "backend call")
    assert (call.end_time or 0) > (call.start_time or 0)


async def test_the_backend_receives_the_calls_span_as_parent(traced: TracedWorld) -> None:
    origin = await traced.world.serve(ok(), policy=BARE)
    await traced.world.request("GET", "/api/v1/crm/x", SAMPLED)
    call = (await traced.steps())["backend call"]
    assert call.context
    assert call.kind is SpanKind.CLIENT
    assert header(origin.requests[0], b"traceparent") == b"00-%s-%016x-01" % (TRACE.encode(), call.context.span_id)
    assert header(origin.requests[0], b"tracestate") == b"vendor=1"
    assert attributes_of(call) == {"http.request.method": "GET", "http.response.status_code": 200}


CONTEXT = f"{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("sent", [f"cc-{CONTEXT}", f"cc-{CONTEXT}-what-the-future-brings", f"01-{CONTEXT}-"])
async def test_a_trace_of_a_later_version_is_continued(traced: TracedWorld, sent: str) -> None:
    origin = await traced.world.serve(ok(), policy=BARE)
    await traced.world.request("GET", "/api/v1/crm/x", [("traceparent", sent)])
    version, trace, parent, flags = (header(origin.requests[0], b"traceparent") or b"").split(b"-")
    assert (version, trace, flags) == (b"00", TRACE.encode(), b"01")
    assert parent != PARENT.encode()


@pytest.mark.parametrize(
    "sent",
    [
        "00-junk",
        f"ff-{CONTEXT}",
        f"00-{CONTEXT}-",
        f"00-{CONTEXT}.",
        f"cc-{CONTEXT}.more",
        f"00-{CONTEXT}, 00-{CONTEXT}",
    ],
)
async def test_a_trace_starts_at_the_gateway_without_a_valid_traceparent(traced: TracedWorld, sent: str) -> None:
    origin = await traced.world.serve(ok(), policy=BARE)
    await traced.world.request("GET", "/api/v1/crm/x", [("traceparent", sent), ("tracestate", "vendor=1")])
    request_span = await traced.request_span()
    assert request_span.context
    assert request_span.parent is None
    traceparent = header(origin.requests[0], b"traceparent") or b""
    assert traceparent.split(b"-")[1] == b"%032x" % request_span.context.trace_id
    assert header(origin.requests[0], b"tracestate") is None


async def test_an_unsampled_trace_is_passed_on_unsampled(traced: TracedWorld) -> None:
    origin = await traced.world.serve(ok(), policy=BARE)
    await traced.world.request("GET", "/api/v1/crm/x", UNSAMPLED)
    assert (await traced.spans()) == []
    traceparent = header(origin.requests[0], b"traceparent") or b""
    assert (traceparent.split(b"-")[1], traceparent.split(b"-")[3]) == (TRACE.encode(), b"00")


@pytest.mark.parametrize("traced", [Sampling(ratio=0.0)], indirect=True)
async def test_new_traces_are_sampled_and_sampled_traces_are_continued(traced: TracedWorld) -> None:
    origin = await traced.world.serve(ok(), policy=BARE)
    await traced.world.request("GET", "/api/v1/crm/x")
    await traced.world.request("GET", "/api/v1/crm/y", SAMPLED)
    assert attributes_of(await traced.request_span())["url.path"] == "/api/v1/crm/y"
    assert [(header(one, b"traceparent") or b"")[-2:] for one in origin.requests] == [b"00", b"01"]


async def test_spans_contain_no_query_credential_or_address(traced: TracedWorld) -> None:
    origin = await traced.world.serve(FAILED, policy=CACHED)
    called = await traced.world.request("GET", "/api/v1/crm/x?token=hush", [*SAMPLED, ("Cookie", "sid=hush")])
    assert called.status == 503
    await traced.world.request("GET", "/api/v1/crm/x?token=hush", [("Authorization", "Bearer hush")], key="")
    attributes = "".join(span.to_json() for span in (await traced.spans()))
    for secret in ("hush", traced.world.key, traced.world.key.split("_", 2)[2], f":{origin.port}", "127.0.0.1"):
        assert secret not in attributes
    assert "server.address" not in attributes


async def test_a_hit_ends_in_the_cache_check(traced: TracedWorld) -> None:
    await traced.world.serve(ok(), policy=CACHED)
    await traced.world.request("GET", "/api/v1/crm/x", UNSAMPLED)
    await traced.world.request("GET", "/api/v1/crm/x", SAMPLED)
    assert list(await traced.steps()) == [*NINE[:5], "return"]
    assert attributes_of(await traced.request_span())["gateway.cache"] == "HIT"
    assert attributes_of(await traced.request_span())["http.response.status_code"] == 200


@pytest.mark.parametrize(
    ("path", "key", "ends_in", "code"),
    [
        ("/api/v1/crm/x", "", "authentication", "unauthenticated"),
        ("/api/v1/nope/x", None, "service router", "unknown_service"),
    ],
)
async def test_an_error_ends_the_trace_in_the_step_that_raised_it(
    traced: TracedWorld, path: str, key: str | None, ends_in: str, code: str
) -> None:
    await traced.world.serve(ok(), policy=CACHED)
    await traced.world.request("GET", path, SAMPLED, **({} if key is None else {"key": key}))
    steps = await traced.steps()
    assert list(steps)[-2:] == [ends_in, "return"]
    assert attributes_of(steps[ends_in])["error.type"] == code
    assert steps[ends_in].status.status_code is StatusCode.ERROR
    assert (await traced.request_span()).status.status_code is StatusCode.UNSET  # not a server error


async def test_an_open_circuit_ends_the_trace_in_the_circuit_breaker(traced: TracedWorld) -> None:
    await traced.world.serve(FAILED, policy=BARE)
    await traced.world.request("GET", "/api/v1/crm/x", UNSAMPLED)
    await traced.world.request("GET", "/api/v1/crm/x", SAMPLED)
    assert list(await traced.steps())[-2:] == ["circuit breaker", "return"]
    assert attributes_of((await traced.steps())["circuit breaker"])["error.type"] == "circuit_open"
    assert (await traced.request_span()).status.status_code is StatusCode.ERROR
    assert attributes_of(await traced.request_span())["error.type"] == "circuit_open"


async def test_each_attempt_is_an_event_of_the_backend_call(traced: TracedWorld) -> None:
    async def cut(peer: Peer) -> None:
        peer.reset()

    await traced.world.serve(cut, ok(), policy=RoutePolicy(timeout=QUICK, cache=None, retries=Retries(attempts=2)))
    response = await traced.world.request("GET", "/api/v1/crm/x", SAMPLED)
    assert response.status == 200
    call = (await traced.steps())["backend call"]
    assert [event.name.split(" with ")[0] for event in call.events] == [
        "attempt 1: bad_gateway (connection reset before the response)",
        "attempt 2: 200",
    ]
    assert attributes_of(call)["http.request.resend_count"] == 1


async def test_an_unknown_method_is_an_attribute_of_its_own(traced: TracedWorld) -> None:
    await traced.world.serve(ok(), policy=BARE)
    await traced.world.request("BREW", "/api/v1/crm/x", SAMPLED)
    attributes = attributes_of(await traced.request_span())
    assert (attributes["http.request.method"], attributes["http.request.method_original"]) == ("_OTHER", "BREW")


async def test_the_debug_header_is_sent_on_request_only(traced: TracedWorld) -> None:
    await traced.world.serve(ok(), policy=BARE)
    assert (await traced.world.request("GET", "/api/v1/crm/x")).get("x-gateway-debug") is None
    shown = await traced.world.request("GET", "/api/v1/crm/x", [("X-Gateway-Debug", "1")])
    assert "circuit-breaker;dur=" in (shown.get("x-gateway-debug") or "")


class Collector(SpanExporter):
    """Answers as it is told to, and not before `answers` is set."""

    def __init__(self, *results: SpanExportResult) -> None:
        self.results = list(results)
        self.answers = threading.Event()
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.answers.wait(30)
        if not self.results:
            raise ConnectionError("unreachable: https://key:secret@collector/")
        self.spans += spans
        return self.results.pop(0)


async def test_a_collector_that_never_answers_costs_neither_memory_nor_the_time_to_make_spans(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collector, made = Collector(), 0
    step_spans = spans.step_spans

    def counted(exchange: Exchange, duration: float) -> list[StepSpan]:
        nonlocal made
        made += 1
        return step_spans(exchange, duration)

    monkeypatch.setattr(spans, "step_spans", counted)
    sender = SpanSender(collector, {}, max_waiting=600, collector="collector:4318")
    world = make_world("asgi", kind=partial(TracedGateway, tracer=sender, sampling=Sampling()))
    await world.serve(*[ok()] * 500, policy=CACHED)
    for _ in range(500):
        assert (await world.request("GET", "/api/v1/crm/x")).status == 200
        await asyncio.sleep(0)  # spans are created after the response has been sent
    assert 600 // SPANS_PER_REQUEST <= made <= 600 // 6  # a hit has six spans or more
    collector.answers.set()
    sender.close()
    await world.close()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("traces cannot be sent to collector:4318: ConnectionError; lost so far: ")
    assert line.endswith(f"and those of {500 - made} more requests")


def test_a_failure_is_logged_once_a_minute_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "metrics.tracing")
    failure, success = SpanExportResult.FAILURE, SpanExportResult.SUCCESS
    collector = Collector(failure, failure, failure, success, success)
    collector.answers.set()
    exporter = ReportingExporter(collector, "collector:4318", lambda: "status 503")
    found = [exporter.export([ReadableSpan("a"), ReadableSpan("b")]) for _ in range(6)]
    assert found == [failure, failure, failure, success, success, failure]
    assert exporter.taken == 12
    assert [record.getMessage() for record in caplog.records] == [
        "traces cannot be sent to collector:4318: status 503; lost so far: 2 spans, and those of 0 more requests",
        "traces are sent to collector:4318 again; lost were 6 spans, and those of 0 more requests",
    ]

"""Traces as a collector gets them from a gateway's process, and what becomes of one whose collector is away."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.processes import eventually
from tests.system.backend import Backend
from tests.system.conftest import Seed, gateway
from tests.system.server import free_port

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP, in protobuf."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.taken: list[tuple[str, Any]] = []

    @property
    def spans(self) -> list[Any]:
        found = [each for _, sent in self.taken for resource in sent.resource_spans for each in resource.scope_spans]
        return [span for scope in found for span in scope.spans]


class _Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.taken.append((self.path, sent))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_collector_gets_every_step_of_a_request_and_the_rest_at_the_end(
    seed: Seed, backend: Backend, collector: Collector
) -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with gateway(seed, backend, **told, OTEL_SERVICE_NAME="edge") as server:
        traceparent = f"00-{TRACE}-{PARENT}-01"
        assert server.get("/api/v1/plain/traced", seed.ours, headers={"traceparent": traceparent}).status_code == 200
        assert eventually(lambda: len(collector.spans) >= 10)
        [whole] = [span for span in collector.spans if span.parent_span_id.hex() == PARENT]
        steps = [span for span in collector.spans if span.parent_span_id == whole.span_id]
        assert {span.trace_id.hex() for span in (whole, *steps)} == {TRACE}
        assert len(steps) == 9
        path, sent = collector.taken[0]
        assert path == "/v1/traces"
        assert "edge" in str(sent.resource_spans[0].resource)
        server.get("/api/v1/plain/last", seed.ours, headers={"X-Request-ID": "the-last"})
        server.terminate()
        assert server.end() == 0
    assert "the-last" in str(collector.spans[-10:])
    assert seed.ours not in str(collector.taken)


def test_a_collector_that_is_away_harms_no_request_and_holds_up_no_end(seed: Seed, backend: Backend) -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with gateway(seed, backend, **told, OTEL_BSP_MAX_QUEUE_SIZE="20", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10") as server:
        assert {server.get("/api/v1/plain/x", seed.ours).status_code for _ in range(100)} == {200}
        assert server.log.count("Queue full") <= 5  # told, but not for each span
        server.terminate()
        assert server.end() == 0

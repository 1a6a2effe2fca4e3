"""Traces received by a collector, and a gateway whose collector is unavailable."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.logschema import lines
from tests.ports import free_port
from tests.processes import eventually
from tests.system.backend import Backend
from tests.system.conftest import Seed, gateway

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """Accepts OTLP over HTTP with protobuf."""

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
        """Log nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_collector_receives_every_step_of_a_request_and_the_rest_at_shutdown(
    seed: Seed, backend: Backend, collector: Collector
) -> None:
    otel = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    with gateway(seed, backend, **otel, OTEL_SERVICE_NAME="edge") as server:
        traceparent = f"00-{TRACE}-{PARENT}-01"
        assert server.get("/api/v1/plain/traced", seed.ours, headers={"traceparent": traceparent}).status_code == 200
        assert eventually(lambda: len(collector.spans) >= 10)
        [root] = [span for span in collector.spans if span.parent_span_id.hex() == PARENT]
        steps = [span for span in collector.spans if span.parent_span_id == root.span_id]
        assert {span.trace_id.hex() for span in (root, *steps)} == {TRACE}
        assert len(steps) == 9
        path, sent = collector.taken[0]
        assert path == "/v1/traces"
        assert "edge" in str(sent.resource_spans[0].resource)
        server.get("/api/v1/plain/last", seed.ours, headers={"X-Request-ID": "the-last"})
        server.terminate()
        assert server.wait() == 0
    assert "the-last" in str(collector.spans[-10:])
    assert seed.ours not in str(collector.taken)


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a collector that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("kind", ["closed", "silent"])
def test_an_unavailable_collector_affects_no_request_is_logged_once_and_delays_no_shutdown(
    seed: Seed, backend: Backend, silent: int, kind: str
) -> None:
    port = silent if kind == "silent" else free_port()
    otel = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}/?key=hunter2",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=hunter2",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
    }
    with gateway(seed, backend, **otel) as server:
        assert {server.get("/api/v1/plain/x", seed.ours).status_code for _ in range(100)} == {200}
        assert eventually(lambda: "traces cannot be sent" in server.log)
        assert {server.get("/api/v1/plain/x", seed.ours).status_code for _ in range(100)} == {200}
        server.terminate()
        assert server.wait() == 0
        messages = [line["message"] for line in lines(server.log) if line["logger"] != "access"]
        assert len([message for message in messages if "traces" in message]) == 1
        assert not [message for message in messages if "export" in message]
        assert "hunter2" not in server.log

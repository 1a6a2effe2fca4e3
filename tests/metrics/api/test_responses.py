"""The keys and errors of the metrics API."""

from typing import Any

import pytest
from django.test import Client

from metrics.models import Operation
from tests.metrics.api.endpoints import send
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db

STATS = {"hits", "misses", "hitRate"}
CIRCUIT = {"state", "failures", "successes", "totalRequests"}


@pytest.mark.parametrize(
    ("method", "path", "keys"),
    [
        ("get", "/metrics", {"timestamp", "cache", "circuitBreakers", "services", "objectives", "targets"}),
        ("get", "/metrics/cache", {"connected", "stats", "entries", "bytes", "byService"}),
        ("post", "/metrics/cache/reset", {"message"}),
        ("delete", "/metrics/cache", {"keysDeleted"}),
        ("delete", "/metrics/cache/crm", {"service", "keysDeleted"}),
        ("get", "/metrics/circuit-breakers", {"stats", "openCount"}),
        ("post", "/metrics/circuit-breakers/reset", {"message", "reset"}),
        ("post", "/metrics/circuit-breakers/crm/reset", {"service", "state"}),
        ("post", "/metrics/circuit-breakers/crm/open", {"service", "state"}),
        ("post", "/metrics/circuit-breakers/crm/disable", {"service", "state"}),
        ("post", "/metrics/cache/warm", {"warmed", "failed"}),
        ("get", "/metrics/history", {"service", "step", "points"}),
    ],
)
def test_responses_have_exactly_the_documented_keys(
    harness: Harness, api_client: Client, method: str, path: str, keys: set[str]
) -> None:
    harness.serve(ok())
    for slash in ("", "/"):
        response = send(api_client, method, path + slash)
        assert set(response.json()) == keys
        assert response.status_code == (202 if path.endswith("warm") else 200)
        assert response["Cache-Control"] == "private, no-store"


def test_the_overview_has_exactly_the_documented_inner_keys(harness: Harness, api_client: Client) -> None:
    harness.serve(ok())
    overview = api_client.get("/metrics").json()
    assert set(overview["cache"]) == {"connected", "stats"}
    assert set(overview["cache"]["stats"]) == STATS
    assert set(overview["circuitBreakers"]) == {"stats", "openCount"}
    assert set(overview["circuitBreakers"]["stats"]["crm"]) == CIRCUIT
    assert overview["timestamp"] == "2023-11-14T22:14:00.000Z"


@pytest.mark.parametrize("path", ["/metrics/cache/nope", "/metrics/circuit-breakers/nope/open"])
def test_an_unknown_service_is_a_problem_document(harness: Harness, api_client: Client, path: str) -> None:
    response = send(api_client, "delete" if "cache" in path else "post", path)
    assert (response.status_code, response.json()["code"]) == (404, "unknown_service")
    assert not Operation.objects.exists()


def test_an_unsupported_method_is_405(harness: Harness, api_client: Client) -> None:
    response = send(api_client, "put", "/metrics/cache")
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert response["Allow"] == "GET, DELETE, HEAD, OPTIONS"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/metrics/circuit-breakers/crm/open", {"ttl": -1}),
        ("/metrics/circuit-breakers/crm/open", {"ttl": "soon"}),
        ("/metrics/circuit-breakers/crm/open", {"reason": "x" * 501}),
        ("/metrics/circuit-breakers/crm/open", [1]),
        ("/metrics/cache/warm", {"paths": "all"}),
        ("/metrics/cache/warm", {"paths": ["/"] * 101}),
        ("/metrics/cache/warm", {"dry_run": "perhaps"}),
        ("/metrics/cache/warm?dry_run=perhaps", {}),
    ],
)
def test_an_invalid_body_is_a_bad_request(harness: Harness, api_client: Client, path: str, body: Any) -> None:
    harness.serve(ok())
    response = send(api_client, "post", path, body)
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("path", "deep"),
    [
        ("/api/explain", b"[" * 30_000),
        ("/api/explain", b'{"path":"/","caller":' + b'{"a":' * 500 + b"1" + b"}" * 501),
        ("/metrics/cache/warm", b"[" * 30_000),
        ("/metrics/circuit-breakers/crm/open", b'{"ttl":' * 20_000),
    ],
)
def test_a_deeply_nested_body_is_a_bad_request(harness: Harness, api_client: Client, path: str, deep: bytes) -> None:
    harness.serve(ok())
    response = api_client.post(path, deep, content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")


def test_a_body_that_is_not_json_is_a_bad_request(harness: Harness, api_client: Client) -> None:
    response = api_client.post("/metrics/cache/warm", b"{", content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")

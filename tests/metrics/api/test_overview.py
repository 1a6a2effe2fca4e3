"""The counts of the overview and of the history."""

import random
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from tests.metrics.events import finished, random_event
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db


def test_the_overview_counts_every_request(harness: Harness, api_client: Client) -> None:
    rng = random.Random(5)
    events = [random_event(rng) for _ in range(2_000)]
    for event in events:
        harness.observer.finished(event)
    services = api_client.get("/metrics").json()["services"]
    assert sum(stats["requests"] for stats in services.values()) == 2_000
    for name, stats in services.items():
        own = [event for event in events if event.service == name]
        assert stats["requests"] == len(own) == sum(stats["statusClasses"].values())
        assert stats["errors"] == sum(event.status >= 500 for event in own)
        assert stats["misses"] == sum(event.cache == "MISS" for event in own)
        assert stats["aborted"] == sum(bool(event.aborted) for event in own)
    assert "" in services


def _unavailable(*_: object) -> None:
    raise OperationalError("the server closed the connection")


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
def test_without_the_database_the_metrics_are_those_last_read_and_those_counted_since(
    harness: Harness, accept: str
) -> None:
    harness.serve(ok())
    headers = {"x-api-key": harness.keys["read"], "accept": accept}
    harness.request("/api/v1/crm/contacts/1")
    before = Client().get("/metrics", headers=headers)
    harness.request("/api/v1/crm/contacts/2")
    with connection.execute_wrapper(_unavailable):
        response = Client().get("/metrics", headers=headers)
    assert response.status_code == 200
    if accept == "application/json":
        assert [each.json()["services"]["crm"]["requests"] for each in (before, response)] == [1, 2]
    else:
        assert b"gateway_requests_total" in response.content


def test_refused_requests_of_a_real_gateway_are_counted(harness: Harness, api_client: Client) -> None:
    harness.serve(ok())
    query = ["/api/v1/crm/contacts/1", "/api/v1/crm/contacts/1", "/api/v1/nope/x", "/api/v1/", "/api/v1/crm/other"]
    for path in query:
        harness.request(path)
    assert Client().get("/api/v1/crm/x").status_code == 401
    services = api_client.get("/metrics").json()["services"]
    assert {name: stats["requests"] for name, stats in services.items()} == {"": 2, "crm": 4}
    assert services["crm"]["statusClasses"] == {"2xx": 3, "4xx": 1}
    assert services["crm"]["saved"]["usd"] == 0.5


def test_a_history_includes_empty_steps(harness: Harness, api_client: Client) -> None:
    harness.serve(ok())
    start = int(harness.clock())
    for minute in (0, 0, 2):
        harness.observer.finished(finished(at=start + 60 * minute, cache="HIT", duration=0.02))
    harness.observer.finished(finished(at=start, service="", status=404))
    query: dict[str, str | int] = {"service": "crm", "from": start, "to": start + 240, "step": 60}
    response = api_client.get("/metrics/history", query)
    points = response.json()["points"]
    assert [point["requests"] for point in points] == [2, 0, 1, 0]
    assert points[0]["time"] == "2023-11-14T22:14:00.000Z"
    assert points[0]["latency"]["p50"] == pytest.approx(20, rel=0.05)
    assert points[1]["latency"] == {"p50": None, "p95": None, "p99": None}
    query = {"from": "2023-11-14T22:00:00Z", "to": start + 240, "step": 3600}
    whole = api_client.get("/metrics/history", query).json()
    assert (whole["step"], [point["requests"] for point in whole["points"]]) == (3600, [4])


@pytest.mark.parametrize(
    "start",
    [
        "2023-11-14T23:00:00+01:00",
        "2023-11-14T23:00:00%2B01:00",
        "2023-11-14T23:00+0100",
        "2023-11-14%2023:00+01",
        "1699999200",
    ],
)
def test_the_plus_of_an_offset_need_not_be_encoded(harness: Harness, api_client: Client, start: str) -> None:
    response = api_client.get(f"/metrics/history?from={start}&to=2023-11-14%2022:30")
    assert response.json()["points"][0]["time"] == "2023-11-14T22:00:00.000Z"
    assert len(response.json()["points"]) == 30


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"from": 100, "to": 50},
        {"step": 1},
        {"from": 0, "step": 60, "to": 10**9},
        {"to": "1e999"},
    ],
)
def test_an_invalid_history_query_is_a_bad_request(harness: Harness, api_client: Client, query: dict[str, Any]) -> None:
    assert api_client.get("/metrics/history", query).json()["code"] == "bad_request"
    assert api_client.get("/metrics/history", {"service": "nope"}).status_code == 404

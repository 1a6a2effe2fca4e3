"""What the history's charts show: of a service and of all, over time, with markers, and as files."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from metrics.charts.ranges import Range
from metrics.charts.series import bucket_bounds, series_of
from metrics.counting.counts import GATEWAY
from metrics.counting.histogram import bucket
from metrics.models import Aggregate, CircuitChange, Operation, TimeResolution
from resilience.durations import WEEK
from routing.models import ConfigurationRevision
from tests.metrics.events import NOW
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db

Read = Callable[..., Any]
FIELDS = {
    "requests|GET|2xx|/x": 6,
    "requests|GET|5xx|": 2,
    f"duration|{bucket(0.02)}": 8,
    "cache|HIT": 3,
    "cache|MISS": 1,
}


@pytest.fixture
def read(harness: Harness, staff_client: Client) -> Read:
    harness.serve(ok())
    return lambda **query: staff_client.get("/dashboard/history.json", query).json()


def add(resolution: TimeResolution, at: float, service: str = "crm", counts: dict[str, int] | None = None) -> None:
    Aggregate.objects.create(resolution=resolution, start=int(at), service=service, counts=counts or FIELDS)


def test_a_step_has_classes_latencies_their_distribution_and_a_hit_rate() -> None:
    series = series_of(Range(600, 720, 60, TimeResolution.MINUTE), {1: FIELDS})
    assert (list(series.times), series.requests) == ([600, 660], [0, 8])
    assert series.classes == {"2xx": [0, 6], "5xx": [0, 2]}
    assert (series.p50[0], series.hit_rate) == (None, [None, 75.0])
    assert series.p95[1] == pytest.approx(0.02, rel=0.05)
    ((step, number, count),) = series.heat
    low, high = bucket_bounds(number)
    assert (step, count) == (1, 8)
    assert low < 0.02 <= high


def test_all_services_are_read_from_their_sums(read: Read) -> None:
    add(TimeResolution.MINUTE, NOW - 60)
    add(TimeResolution.MINUTE, NOW - 60, GATEWAY, {"requests|GET|2xx|": 50})
    assert sum(read(range="1h")["requests"]) == 50
    assert sum(read(range="1h", service="crm")["requests"]) == 8
    with CaptureQueriesContext(connection) as queries:
        read(range="90d")
    (statement,) = [each["sql"] for each in queries if "metrics_aggregate" in each["sql"]]
    assert f"\"service\" = '{GATEWAY}'" in statement


def test_the_latest_requests_are_included(harness: Harness, read: Read) -> None:
    harness.request("/api/v1/crm/contacts/7")
    found = read(service="crm", range="15m")
    assert (found["requests"][-1], found["now"], found["step"]) == (1, harness.clock(), 60)
    assert sum(read(range="90d")["requests"]) == 1


def test_the_week_before_is_compared_in_the_steps_that_are_stored(read: Read) -> None:
    add(TimeResolution.HOUR, (NOW - WEEK) // 3_600 * 3_600)
    found = read(service="crm", range="1h", compare="week")
    assert found["before"]["step"] == 3_600
    assert sum(found["before"]["requests"]) == 8
    assert found["before"]["end"] <= found["end"] - WEEK + 3_600
    assert "before" not in read(service="crm", range="1h")


def test_markers_are_changes_deployments_and_moves_of_circuits_in_the_range(read: Read) -> None:
    moment = datetime.fromtimestamp(NOW - 600, UTC)
    ConfigurationRevision.objects.create(actor="staff:ada", summary="changed crm", document="")
    ConfigurationRevision.objects.update(created_at=moment)
    for service in ("crm", "", "mail"):
        Operation.objects.create(actor="key:ci", action="deployment", service=service, after={"version": "1.4"})
    Operation.objects.create(actor="staff:ada", action="cache.flush")
    Operation.objects.update(at=moment)
    for service, after in (("crm", "OPEN"), ("crm", "CLOSED"), ("mail", "OPEN")):
        CircuitChange.objects.create(at=moment, service=service, before="x", after=after, reason="5 failures")
    of_service = read(service="crm")["markers"]
    assert sorted((each["kind"], each["text"], each["state"]) for each in of_service) == [
        ("circuit", "5 failures", "CLOSED"),
        ("circuit", "5 failures", "OPEN"),
        ("configuration", "changed crm by staff:ada", ""),
        ("deployment", "1.4 by key:ci", ""),
        ("deployment", "1.4 of crm by key:ci", ""),
    ]
    of_all = read()["markers"]
    assert [each["text"] for each in of_all if each["kind"] == "circuit"] == ["mail: 5 failures", "crm: 5 failures"]
    assert read(service="crm", **{"from": NOW - 500, "to": NOW})["markers"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"range": "7y"},
        {"from": "x", "to": "y"},
        {"from": "nan", "to": "inf"},
        {"from": "9", "to": "3"},
        {"from": "-5", "to": "-1"},
        {"from": str(NOW + 60), "to": str(NOW + 120)},
    ],
)
def test_a_range_that_cannot_be_read_is_the_last_hour(read: Read, query: dict[str, str]) -> None:
    found = read(**query)
    assert (found["to"] - found["from"], found["step"]) == (3_600, 60)


def test_a_range_has_a_shortest_and_a_longest_length(read: Read) -> None:
    found = read(**{"from": NOW - 1, "to": NOW + 999})
    assert (found["from"], found["to"]) == (NOW - 299, NOW + 1)
    assert len(read(**{"from": 1, "to": NOW})["requests"]) <= 126


def test_each_chart_is_a_file(harness: Harness, staff_client: Client) -> None:
    harness.serve(ok())
    add(TimeResolution.MINUTE, NOW - 60)

    def rows(chart: str) -> list[list[str]]:
        response = staff_client.get(f"/dashboard/history/{chart}.csv?service=crm&range=15m")
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert f'filename="crm-{chart}.csv"' in response["Content-Disposition"]
        return list(csv.reader(io.StringIO(response.content.decode())))

    time = f"{datetime.fromtimestamp(NOW - 60, UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert rows("requests")[0] == ["time", "seconds", "requests", "2xx", "5xx"]
    assert [time, "60", "8", "6", "2"] in rows("requests")
    assert [time, "75.0"] in rows("hit-rate")
    assert rows("latency")[1][1:] == ["", "", ""]
    assert rows("distribution")[1] == [time, "0.016", "0.02", "8"]
    assert staff_client.get("/dashboard/history/secrets.csv").status_code == 404
    assert staff_client.get("/dashboard/history/latency.csv?service=other").status_code == 404
    assert Client().get("/dashboard/history/latency.csv").status_code == 302

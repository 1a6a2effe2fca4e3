"""What is counted by route: where it is kept, and what staff see of it."""

import pytest
from django.test import Client

from metrics.counting.aggregates import AggregateWriter
from metrics.counting.counts import GATEWAY, CountBatch
from metrics.counting.observer import MetricsObserver
from metrics.models import Aggregate
from metrics.route_figures import PERIODS, RouteFigures, figures_of, read_routes
from routing.router.policy import RoutePolicy
from routing.router.table import RoutePattern, Service
from tests.clock import FakeClock
from tests.metrics.events import NOW, finished
from tests.metrics.harness import Harness, ok

POLICY = RoutePolicy()
SERVICE = Service(
    "crm",
    (),
    routes=(
        RoutePattern("/a/{id}", ("GET",), POLICY),
        RoutePattern("/a/{id}", ("PUT",), POLICY),
        RoutePattern("/b", (), POLICY),
    ),
)


def test_counts_are_those_of_the_route_that_allows_the_method() -> None:
    fields = {
        "requests|GET|2xx|/a/{id}": 3,
        "requests|GET|5xx|/a/{id}": 1,
        "requests|PUT|4xx|/a/{id}": 2,
        "requests|HEAD|2xx|/a/{id}": 1,
        "requests|GET|2xx|": 5,
        "requests|GET|2xx|/old|name": 7,
        "route_duration|50|GET|/a/{id}": 4,
        "route_cache|HIT|GET|/a/{id}": 2,
        "route_cache|MISS|GET|/a/{id}": 1,
        "strange": 1,
    }
    first, second, third, other, old = figures_of(SERVICE, fields)
    assert (first.requests, first.errors, first.hits, first.misses) == (5, 1, 2, 1)
    assert first.p95 == pytest.approx(1.0, rel=0.13)
    assert (second.requests, second.client_errors, second.p95) == (2, 2, None)
    assert third == RouteFigures(path="/b")
    assert (other.path, other.requests, other.is_removed) == ("", 5, False)
    assert (old.path, old.methods, old.requests, old.is_removed) == ("/old|name", ("GET",), 7, True)


@pytest.mark.django_db
def test_figures_by_route_are_read_for_each_period_with_few_rows(harness: Harness, staff_client: Client) -> None:
    harness.serve(ok())
    harness.request("/api/v1/crm/contacts/7")
    harness.request("/api/v1/crm/contacts/7")
    for period in PERIODS:
        found = staff_client.get(f"/dashboard/services/crm/routes.json?period={period}").json()
        (route,) = found["routes"]
        assert (route["path"], route["requests"], route["hits"], route["misses"]) == ("/contacts/{id}", 2, 1, 1)
    assert max(number for _, number in PERIODS.values()) <= 145
    harness.clock.advance(3 * 86_400)
    assert [read_routes("crm", period).routes[0].requests for period in PERIODS] == [0, 0, 0, 2, 2, 2]
    assert staff_client.get("/dashboard/services/crm/routes.json?period=x").status_code == 200
    assert staff_client.get("/dashboard/services/other/routes.json").status_code == 404


@pytest.mark.django_db
def test_what_is_counted_by_route_is_kept_in_rows_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.database.connection.close_old_connections", lambda: None)
    observer = MetricsObserver(FakeClock(NOW))
    observer.finished(finished(route="/x", cache="HIT"))
    AggregateWriter().apply(CountBatch("1", observer.take()[0]))
    rows = {(row.resolution, row.service): row.counts for row in Aggregate.objects.all()}
    by_route = {key for key, counts in rows.items() if any(field.startswith("route_") for field in counts)}
    assert by_route == {("r10min", "crm"), ("rday", "crm")}
    assert {key for key in rows if key[1] == GATEWAY} == {(name, GATEWAY) for name in ("minute", "hour", "day")}
    assert rows["hour", GATEWAY]["requests|GET|2xx|"] == 1

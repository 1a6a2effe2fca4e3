"""Selectors: traffic statistics, circuits, paths and the audit log."""

from collections.abc import Callable

import pytest

from metrics import selectors
from metrics.audit import record_operation
from metrics.charts.points import history
from metrics.counting.aggregates import AggregateWriter
from metrics.read_models import TargetStatus, TrafficStats
from metrics.selectors import ServiceNotConfigured
from resilience.breaker.machine import State
from tests.metrics.events import finished
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db


def test_the_summary_includes_requests_that_matched_no_service(harness: Harness) -> None:
    harness.serve(ok())
    start = harness.clock()
    for service, status in (("crm", 200), ("crm", 502), ("", 404)):
        harness.observer.finished(finished(at=start, service=service, status=status, duration=0.2))
    harness.clock.advance(60)
    seen = selectors.summary()
    assert (seen.total.requests, seen.total.errors, seen.per_second) == (3, 1, 0.05)
    assert seen.total.p95 == pytest.approx(0.2, rel=0.05)
    assert seen.recent == seen.total
    assert seen.connected
    harness.clock.advance(600)
    assert selectors.summary().recent == TrafficStats(status_classes={})
    assert selectors.summary().total == seen.total


def test_a_services_status_has_targets_circuit_and_sparkline(harness: Harness) -> None:
    origin = harness.serve(ok())
    breaker = harness.breakers.of("crm", selectors.get_service("crm").policy.breaker)
    harness.run(breaker.override(State.FORCED_OPEN, None, "x"))
    start = harness.clock()
    for minute in (0, 0, 3):
        harness.observer.finished(finished(at=start + 60 * minute))
    harness.clock.advance(180)
    (seen,) = selectors.service_statuses()
    assert (seen.name, seen.targets, seen.enabled) == (
        "crm",
        (TargetStatus(url=origin.target.url, condition="up"),),
        True,
    )
    assert (seen.circuit.state, seen.circuit.reason) == ("FORCED_OPEN", "x")
    assert seen.sparkline[-4:] == (2, 0, 0, 1)
    assert len(seen.sparkline) == selectors.SPARKLINE_MINUTES
    assert selectors.service_statuses() == [seen]
    assert selectors.summary().open_circuits == ("crm",)


@pytest.mark.parametrize("select", [lambda name: history(name, 0, 60, 60), selectors.get_service])
def test_a_service_that_is_not_configured_raises(harness: Harness, select: Callable[[str], object]) -> None:
    with pytest.raises(ServiceNotConfigured):
        select("nope")


def test_the_cache_saves_calls_time_and_cost(harness: Harness) -> None:
    harness.serve(ok())
    for cache, backend in (("MISS", 0.2), ("MISS", 0.4), ("HIT", None), ("STALE", None), ("REVALIDATED", 0.3)):
        harness.observer.finished(finished(cache=cache, backend=backend))
    total = selectors.service_statuses()[0].total
    assert (total.hits, total.misses, total.hit_rate) == (3, 2, 60.0)
    assert (total.saved_calls, total.saved_usd) == (2, 1.0)
    assert total.saved_seconds == pytest.approx(0.6)


def test_paths_are_sorted_by_hits_or_misses(harness: Harness) -> None:
    harness.serve(ok())
    for path, cache, times in (("/a", "HIT", 3), ("/b", "HIT", 5), ("/b", "MISS", 1), ("/c", "MISS", 2)):
        for _ in range(times):
            harness.observer.finished(finished(path=path, cache=cache))
    assert [(one.path, one.hits) for one in selectors.top_paths("crm")] == [("/b", 5), ("/a", 3)]
    assert [(one.path, one.misses) for one in selectors.top_paths(hits=False)] == [("/c", 2), ("/b", 1)]


def test_circuit_transitions_are_listed_newest_first(harness: Harness) -> None:
    for before, after in (("CLOSED", "OPEN"), ("OPEN", "HALF_OPEN")):
        harness.clock.advance(10)
        harness.observer.circuit_changed("crm", before, after, "why")
    AggregateWriter().record_transitions(harness.observer.take()[1])
    transitions = selectors.circuit_transitions("crm")
    assert [(each.before, each.after) for each in transitions] == [
        ("OPEN", "HALF_OPEN"),
        ("CLOSED", "OPEN"),
    ]
    assert len(selectors.circuit_transitions("crm", since=harness.clock())) == 1
    assert selectors.circuit_transitions("mail") == []


def test_operations_are_newest_first_and_can_be_filtered_by_service(harness: Harness) -> None:
    record_operation("command:ada", "one", "crm")
    record_operation("command:ada", "two")
    assert [one.action for one in selectors.operations()] == ["two", "one"]
    assert [one.action for one in selectors.operations(1)] == ["two"]
    assert [one.action for one in selectors.operations(service="crm")] == ["one"]


def test_an_old_history_has_steps_of_an_hour_or_a_day(harness: Harness) -> None:
    harness.serve(ok())
    start = int(harness.clock())
    harness.observer.finished(finished(at=start))
    harness.clock.advance(3 * 86_400)
    hours = history("crm", start, start + 7_200, 60)
    assert hours[1].start - hours[0].start == 3_600
    assert sum(point.stats.requests for point in hours) == 1
    harness.clock.advance(90 * 86_400)
    days = history("crm", start, start + 2 * 86_400, 60)
    assert days[1].start - days[0].start == 86_400
    assert sum(point.stats.requests for point in days) == 1


def test_the_history_of_all_services_is_that_of_their_sums(harness: Harness) -> None:
    harness.serve(ok())
    start = int(harness.clock())
    for service, status in (("crm", 200), ("mail", 503), ("", 404)):
        harness.observer.finished(finished(at=start, service=service, status=status, cache="HIT", duration=0.01))
    (point,) = [each.stats for each in history(None, start, start + 3_600, 60) if each.stats.requests]
    assert (point.requests, point.errors, point.hits) == (3, 1, 3)
    assert sum(each.stats.requests for each in history("crm", start, start + 3_600, 60)) == 1

"""What requests and events add to the counts."""

from bisect import bisect_left

import pytest

from metrics.counting.counts import merge_counts, split_by_minute
from metrics.counting.histogram import COARSE_BOUNDS, bucket
from metrics.counting.observer import MAX_PATHS_PER_SERVICE, MetricsObserver, call_outcome
from routing.observability.events import BackendEvent, BackendEventKind, RequestFinished
from tests.clock import FakeClock
from tests.metrics.events import NOW, finished


def test_a_request_is_counted_under_its_service_minute_and_labels() -> None:
    observer = MetricsObserver(FakeClock())
    observer.finished(finished(route="/x", cache="MISS", backend=0.25, bytes=7, retries=2, duration=0.5))
    assert split_by_minute(observer.take()[0]) == {
        (int(NOW), "crm"): {
            "requests|GET|2xx|/x": 1,
            f"duration|{bucket(0.5)}": 1,
            "duration_us": 500_000,
            f"backend|{bucket(0.25)}": 1,
            "backend_us": 250_000,
            "bytes": 7,
            "cache|MISS": 1,
            "retries": 2,
            "circuit|success": 1,
            "path|MISS|/api/v1/crm/x": 1,
            f"route_duration|{bisect_left(COARSE_BOUNDS, 0.5)}|GET|/x": 1,
            "route_cache|MISS|GET|/x": 1,
        }
    }


def test_a_request_is_counted_in_the_minute_in_which_it_ended() -> None:
    observer = MetricsObserver(FakeClock())
    observer.finished(finished(at=NOW - 1, duration=2.0))
    assert list(split_by_minute(observer.take()[0])) == [(int(NOW), "crm")]


def test_taken_counts_are_cleared() -> None:
    observer = MetricsObserver(FakeClock())
    observer.finished(finished())
    assert observer.take()[0]
    assert observer.take() == ({}, [])


def test_unknown_methods_are_counted_as_other() -> None:
    observer = MetricsObserver(FakeClock())
    for method in ("BREW", "get", "X" * 999):
        observer.finished(finished(method=method))
    assert merge_counts(split_by_minute(observer.take()[0]).values())["requests|OTHER|2xx|"] == 3


def test_counted_paths_are_limited_and_requests_are_not() -> None:
    observer = MetricsObserver(FakeClock())
    for number in range(MAX_PATHS_PER_SERVICE * 2):
        observer.finished(finished(cache="MISS", path=f"/api/v1/crm/{number}"))
    fields = split_by_minute(observer.take()[0])[int(NOW), "crm"]
    assert sum(field.startswith("path|") for field in fields) == MAX_PATHS_PER_SERVICE
    assert fields["cache|MISS"] == MAX_PATHS_PER_SERVICE * 2


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (finished(cache="HIT"), ""),
        (finished(backend=0.1), "success"),
        (finished(backend=0.1, status=404), "success"),
        (finished(backend=0.1, status=500), "failure"),
        (finished(backend=0.1, status=501), "success"),
        (finished(status=502, call="bad_gateway"), "failure"),
        (finished(status=200, cache="STALE", call="upstream_timeout"), "failure"),
        (finished(status=200, cache="STALE", call="circuit_open"), "refused"),
        (finished(backend=0.1, aborted="upstream_timeout"), "failure"),
        (finished(backend=0.1, aborted="client_gone"), "success"),
        (finished(status=503, call="overloaded"), ""),
        (finished(status=429), ""),
    ],
)
def test_a_calls_outcome_is_success_failure_or_refused(event: RequestFinished, expected: str) -> None:
    assert call_outcome(event) == expected


def test_target_events_are_counted_and_request_events_are_not() -> None:
    observer = MetricsObserver(FakeClock())
    for kind in BackendEventKind:
        observer.backend_event(BackendEvent(kind=kind, service="crm", target="http://t"))
    targets = (BackendEventKind.EJECTED, BackendEventKind.RETURNED, BackendEventKind.DOWN, BackendEventKind.UP)
    credentials = {f"credential|{name}": 1 for name in ("refreshed", "failed", "rejected")}
    expected = {f"target|{kind}": 1 for kind in targets} | credentials
    assert merge_counts(split_by_minute(observer.take()[0]).values()) == expected


def test_hold_offs_are_counted() -> None:
    observer = MetricsObserver(FakeClock())
    for until in (5.0, 9.0, None):
        observer.hold_off_changed("crm", until, "GET /x")
    counts = merge_counts(split_by_minute(observer.take()[0]).values())
    assert counts == {"hold_off|begun": 2, "hold_off|lifted": 1}


def test_a_circuit_transition_is_counted_and_kept_with_its_time() -> None:
    clock = FakeClock()
    observer = MetricsObserver(clock)
    observer.circuit_changed("crm", "CLOSED", "OPEN", "5 failures within 60 s")
    counts, changes = observer.take()
    assert merge_counts(split_by_minute(counts).values()) == {"transition|CLOSED|OPEN": 1}
    assert changes == [(clock.now, "crm", "CLOSED", "OPEN", "5 failures within 60 s")]

"""Causes of failures in words, and how they are counted."""

import pytest

from metrics.counting.aggregates import AggregateWriter, read_counts
from metrics.counting.counts import CountBatch
from metrics.counting.faults import FaultKind, describe, fault_kind, has_failed
from metrics.counting.observer import MAX_FAULTS_PER_SERVICE, MetricsObserver
from metrics.incidents.evidence import Share, evidence
from metrics.models import TimeResolution
from tests.clock import FakeClock
from tests.metrics.events import NOW, finished


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"status": 502, "call": "bad_gateway", "reason": "connection refused", "target": "http://127.0.0.1:9"},
            "connection refused by 127.0.0.1:9",
        ),
        (
            {"status": 504, "call": "upstream_timeout", "reason": "read timeout", "target": "https://crm.test/base"},
            "read timeout at crm.test",
        ),
        ({"status": 502, "route": "/contacts/{id}"}, "502 from /contacts/{id}"),
        ({"status": 404, "path": "/api/v1/crm/contacts/7?no"}, "404 from /contacts"),
        ({"status": 503, "code": "circuit_open", "call": "circuit_open"}, ""),
        ({"status": 200, "call": "circuit_open", "cache": "STALE"}, ""),
        ({"status": 401, "code": "unauthenticated"}, "401 unauthenticated"),
        ({"status": 200, "outcome": "failed", "route": "/x"}, "200 that means a failure from /x"),
        ({"status": 500, "route": "/x\r\n\0y"}, "500 from /xy"),
    ],
)
def test_a_failure_is_described(fields: dict[str, object], text: str) -> None:
    event = finished(**fields)
    assert has_failed(event)
    assert describe(event) == text


def test_kinds_of_failures() -> None:
    assert fault_kind(finished(status=429, code="rate_limited")) is FaultKind.REFUSAL
    assert fault_kind(finished(status=429)) is FaultKind.CLIENT_ERROR
    assert fault_kind(finished(status=200, call="bad_gateway")) is FaultKind.ERROR
    assert not has_failed(finished(status=399))


def test_failed_requests_of_services_are_counted_by_cause_and_caller_and_told() -> None:
    causes: list[str] = []
    observer = MetricsObserver(FakeClock(NOW), lambda event, cause: causes.append(f"{event.service}: {cause}"))
    for caller in ("key:a", "key:a", ""):
        observer.finished(finished(status=502, route="/x", caller=caller))
    observer.finished(finished())
    observer.finished(finished(status=404, service=""))
    counts, _ = observer.take()
    found = {key.split("|", 2)[2]: number for key, number in counts.items() if "|fault|" in key or "|affected|" in key}
    assert found == {"fault|error|502 from /x": 3, "affected|error|key:a": 2, "affected|error|anonymous": 1}
    assert causes == ["crm: 502 from /x"] * 3


def test_what_is_counted_of_one_service_is_bounded() -> None:
    observer = MetricsObserver(FakeClock(NOW))
    for number in range(1_000):
        observer.finished(finished(status=404, path=f"/api/v1/crm/{number}", caller=f"user:{number}"))
    counts, _ = observer.take()
    assert sum("|fault|" in key or "|affected|" in key for key in counts) == MAX_FAULTS_PER_SERVICE


@pytest.mark.django_db
def test_faults_are_kept_by_minute_only() -> None:
    minute = int(NOW // 60) * 60
    batch = CountBatch("b", {f"{minute}|crm|fault|error|x": 2, f"{minute}|crm|requests|GET|5xx|": 2})
    AggregateWriter().apply(batch)
    kept = {
        resolution
        for resolution in TimeResolution
        for fields in read_counts((), resolution, 0, NOW * 2).values()
        if "fault|error|x" in fields
    }
    assert kept == {TimeResolution.MINUTE}


def test_evidence_names_causes_callers_and_answers() -> None:
    fields = {
        "requests|GET|2xx|": 20,
        "requests|GET|5xx|": 80,
        "fault|error|502 from /x": 30,
        "fault|error|read timeout at b": 10,
        "fault|client_error|404 from /y": 99,
        "affected|error|key:a": 60,
        "affected|error|anonymous": 20,
        "cache|STALE": 5,
        "circuit|refused": 40,
        "code|circuit_open": 25,
        "fallback|replica": 3,
    }
    found = evidence(fields, FaultKind.ERROR)
    assert (found.requests, found.failed, found.callers) == (100, 80, 2)
    assert found.causes == (Share("502 from /x", 30, 0.75), Share("read timeout at b", 10, 0.25))
    assert found.top_callers == (Share("key:a", 60, 0.75), Share("anonymous", 20, 0.25))
    assert {answer.name: answer.count for answer in found.answers} == {
        "503 circuit_open": 25,
        "the configured fallback": 7,
        "stale responses from the cache": 5,
        "responses of replica": 3,
        "what the service responds": 60,
    }
    assert sum(answer.share for answer in found.answers) == pytest.approx(1)


def test_answers_are_the_services_own_where_nothing_else_was_sent() -> None:
    assert evidence({"requests|GET|5xx|": 9, "affected|error|key:a": 9}, FaultKind.ERROR).answers == ()

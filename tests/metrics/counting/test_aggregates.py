"""Counts in the database: batches are applied once, at every resolution, and deleted after their retention."""

import pytest
from django.db import OperationalError, connection

from metrics.counting.aggregates import (
    MAX_PATHS_PER_ROW,
    AggregateWriter,
    iterate_counts,
    iterate_texts,
    read_counts,
    set_baseline,
)
from metrics.counting.counts import CountBatch
from metrics.counting.observer import CircuitTransition
from metrics.models import Aggregate, CircuitChange, TimeResolution
from tests.metrics.events import NOW

pytestmark = pytest.mark.django_db

MINUTE = int(NOW)
HOUR = MINUTE // 3_600 * 3_600


def batch(name: str, counts: dict[str, int]) -> CountBatch:
    return CountBatch(name, counts)


@pytest.fixture(autouse=True)
def _keep_the_tests_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.database.connection.close_old_connections", lambda: None)


def test_a_batch_is_added_to_its_minute_hour_day_and_the_total() -> None:
    counts = {f"{MINUTE}|crm|bytes": 2, f"{MINUTE + 60}|crm|bytes": 3, f"{MINUTE}||bytes": 5}
    AggregateWriter().apply(batch("1", counts))
    assert read_counts((), TimeResolution.TOTAL) == {(0, "crm"): {"bytes": 5}, (0, ""): {"bytes": 5}}
    assert read_counts((), TimeResolution.MINUTE, MINUTE, MINUTE + 60) == {
        (MINUTE, "crm"): {"bytes": 2},
        (MINUTE, ""): {"bytes": 5},
    }
    assert read_counts((), TimeResolution.HOUR, HOUR, HOUR + 3_600, "crm") == {(HOUR, "crm"): {"bytes": 5}}


def test_repeated_fetches_are_kept_by_day_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    field, day = "refetch|changed|17|/channels", MINUTE // 86_400 * 86_400
    AggregateWriter().apply(batch("1", {f"{MINUTE}|crm|{field}": 2, f"{MINUTE}|crm|bytes": 1}))
    assert [row.resolution for row in Aggregate.objects.all() if field in row.counts] == [TimeResolution.ROUTES_DAY]
    monkeypatch.setattr("metrics.counting.aggregates.MAX_ROUTE_FIELDS", 20)
    AggregateWriter().apply(batch("2", {f"{MINUTE}|crm|refetch|same|17|/{number}": 1 for number in range(30)}))
    counts = read_counts((), TimeResolution.ROUTES_DAY, day, day + 1)[day, "crm"]
    assert (len(counts), counts[field]) == (20, 2)


def test_totals_are_recalled_while_the_database_is_unavailable() -> None:
    def fail(*_: object) -> None:
        raise OperationalError("the server closed the connection")

    AggregateWriter().apply(batch("1", {f"{MINUTE}|crm|bytes": 2}))
    pending = [batch("1", {f"{MINUTE}|crm|bytes": 2})]
    assert read_counts(pending, TimeResolution.TOTAL) == {(0, "crm"): {"bytes": 2}}
    pending.append(batch("2", {f"{MINUTE}|crm|bytes": 5}))
    with connection.execute_wrapper(fail):
        assert read_counts(pending, TimeResolution.TOTAL) == {(0, "crm"): {"bytes": 2 + 5}}
        with pytest.raises(OperationalError):
            read_counts((), TimeResolution.MINUTE, MINUTE, MINUTE + 60)


def test_a_batch_applied_twice_counts_once() -> None:
    for _ in range(2):
        AggregateWriter().apply(batch("1", {f"{MINUTE}|crm|bytes": 2}))
    assert read_counts((), TimeResolution.TOTAL) == {(0, "crm"): {"bytes": 2}}


def test_reading_adds_pending_batches_that_are_not_applied_yet() -> None:
    first, second = batch("1", {f"{MINUTE}|crm|bytes": 2}), batch("2", {f"{MINUTE}|crm|bytes": 40})
    AggregateWriter().apply(first)
    assert read_counts((first, second), TimeResolution.TOTAL) == {(0, "crm"): {"bytes": 42}}
    assert read_counts((first, second), TimeResolution.MINUTE, MINUTE + 60, MINUTE + 120) == {}
    assert read_counts((second,), TimeResolution.MINUTE, MINUTE, MINUTE + 60, "mail") == {}


SERVICES = ("a", "b", "c")


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The starts of five hours, each with counts of three services, of which two rows are read at a time."""
    monkeypatch.setattr("metrics.counting.aggregates.ROWS_PER_READ", 2)
    starts = [HOUR + 3_600 * number for number in range(5)]
    AggregateWriter().apply(batch("1", {f"{start}|{name}|bytes": 1 for start in starts for name in SERVICES}))
    return starts


def test_many_rows_are_read_in_pieces_of_whole_periods(hours: list[int]) -> None:
    found = list(iterate_counts((), TimeResolution.HOUR, hours[0], hours[-1] + 1))
    assert [(at, name) for at, name, _ in found] == [(at, name) for at in hours for name in SERVICES]
    assert {fields["bytes"] for _, _, fields in found} == {1}
    assert len(list(iterate_counts((), TimeResolution.HOUR, hours[1], hours[3], "b"))) == 2
    texts = [(at, name) for at, name, _ in iterate_texts(TimeResolution.HOUR, hours[0], hours[1] + 1)]
    assert sorted(texts) == [(at, name) for at in hours[:2] for name in SERVICES]


def test_a_batch_that_is_applied_between_two_pieces_is_counted_once(hours: list[int]) -> None:
    late = {f"{start}|{name}|bytes": 10 for start in (hours[0], hours[4], hours[4] + 3_600) for name in ("a", "new")}
    rows = iterate_counts([batch("2", late)], TimeResolution.HOUR, hours[0], hours[4] + 7_200)
    found = [next(rows)]
    AggregateWriter().apply(batch("2", late))
    found += rows
    assert {(at, name): fields["bytes"] for at, name, fields in found if fields["bytes"] > 1} == {
        (at, name): 10 + (name == "a" and at != hours[4] + 3_600)
        for at in (hours[0], hours[4], hours[4] + 3_600)
        for name in ("a", "new")
    }
    assert len(found) == len({(at, name) for at, name, _ in found}) == 15 + 4


def test_a_late_count_is_added_to_its_own_hour() -> None:
    AggregateWriter().apply(batch("1", {f"{MINUTE}|crm|bytes": 1}))
    AggregateWriter().apply(batch("2", {f"{MINUTE - 7_200}|crm|bytes": 1}))
    hours = read_counts((), TimeResolution.HOUR, HOUR - 7_200, HOUR + 3_600)
    assert sorted(start for start, _ in hours) == [HOUR - 7_200, HOUR]


def test_the_most_frequent_paths_are_kept_per_hour() -> None:
    counts = {f"{MINUTE}|crm|path|HIT|/{number}": number + 1 for number in range(MAX_PATHS_PER_ROW + 10)}
    AggregateWriter().apply(batch("1", counts))
    assert read_counts((), TimeResolution.TOTAL) == {}
    hour = read_counts((), TimeResolution.HOUR, HOUR, HOUR + 3_600, with_paths=True)[HOUR, "crm"]
    assert read_counts((), TimeResolution.HOUR, HOUR, HOUR + 3_600) == {(HOUR, "crm"): {}}
    assert len(hour) == MAX_PATHS_PER_ROW
    assert min(hour.values()) == 11


def test_a_baseline_replaces_the_previous_one() -> None:
    set_baseline({"crm": {"cache|HIT": 1}})
    set_baseline({"crm": {"cache|HIT": 2}, "mail": {}})
    assert read_counts((), TimeResolution.RESET) == {(0, "crm"): {"cache|HIT": 2}, (0, "mail"): {}}


def test_transitions_are_recorded_with_truncated_reasons() -> None:
    AggregateWriter().record_transitions([CircuitTransition(NOW, "crm", "CLOSED", "OPEN", "x" * 999)])
    change = CircuitChange.objects.get()
    assert (change.at.timestamp(), change.service, change.after, len(change.reason)) == (NOW, "crm", "OPEN", 500)

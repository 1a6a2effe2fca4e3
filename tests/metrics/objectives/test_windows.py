"""Windows of burn rates: right to the minute where minutes are kept, and in proportion where they are not."""

import pytest

from metrics.models import Aggregate, TimeResolution
from metrics.objectives.budgets import ObjectiveCounts
from metrics.objectives.reading import ObjectiveReader
from metrics.objectives.windows import hours_by_minute, sum_window
from resilience.durations import HOUR, MINUTE
from routing.router.objectives import Objectives
from routing.router.policy import Target
from routing.router.table import Service
from tests.metrics.objectives.test_budgets import add

BASE = 1_700_000_000 // HOUR * HOUR
NOW = BASE + 20 * MINUTE + 30.0
"""Windows of whole hours begin at 21 minutes past the hour."""
SIX_HOURS = 6 * HOUR


def one_a_minute(start: int, end: int) -> dict[int, ObjectiveCounts]:
    return {at: ObjectiveCounts(1, 0) for at in range(start, end, MINUTE)}


@pytest.mark.parametrize("length", [300, 1_800, HOUR, SIX_HOURS, 72 * HOUR])
@pytest.mark.parametrize("offset", [0, 29.9, 30 * MINUTE, 59 * MINUTE + 59])
def test_a_window_has_as_many_minutes_as_it_says(length: int, offset: float) -> None:
    now = BASE + offset
    minutes = one_a_minute(BASE - 80 * HOUR, int(now // MINUTE + 1) * MINUTE)
    hours: dict[int, ObjectiveCounts] = {}
    for at, counts in minutes.items():
        hours.setdefault(at // HOUR * HOUR, ObjectiveCounts()).add(counts)
    needed = {at: found for at, found in minutes.items() if at // HOUR * HOUR in hours_by_minute(now)}
    assert sum_window(needed, hours, length, now).total == length // MINUTE
    without = {at: found for at, found in needed.items() if at >= now - 48 * HOUR}
    assert sum_window(without, hours, length, now).total == length // MINUTE


def test_what_was_just_before_the_window_does_not_count() -> None:
    begin = BASE + 21 * MINUTE - SIX_HOURS
    edge = begin // HOUR * HOUR
    minutes = {begin - MINUTE: ObjectiveCounts(50, 50), begin: ObjectiveCounts(10, 1)}
    found = sum_window(minutes, {edge: ObjectiveCounts(60, 51)}, SIX_HOURS, NOW)
    assert (found.total, found.errors) == (10, 1)
    estimated = sum_window({begin: ObjectiveCounts(10, 1)}, {edge: ObjectiveCounts(60, 51)}, SIX_HOURS, NOW)
    assert (estimated.total, estimated.errors) == (39, 33)  # 39 of its 60 minutes


@pytest.mark.django_db
@pytest.mark.parametrize("others", [0, 6], ids=["one service", "many services"])
def test_the_reader_reads_the_minutes_in_which_six_hours_begin(others: int) -> None:
    names = ("crm", *map(str, range(others)))
    services = [Service(name, (Target("http://a"),), slo=Objectives(availability=0.999)) for name in names]
    reader = ObjectiveReader()
    begin = BASE + 21 * MINUTE - SIX_HOURS
    for start, ok, bad in ((begin - MINUTE, 0, 50), (begin, 90, 10), (BASE + MINUTE, 100, 0)):
        add(TimeResolution.MINUTE, start, ok, bad)
        add(TimeResolution.HOUR, start, ok, bad)
    [status] = reader.read(services, [], NOW)["crm"]
    assert status.burn_rates["6h"] == pytest.approx(10 / 200 / 0.001)
    Aggregate.objects.filter(resolution=TimeResolution.MINUTE, start__lt=BASE).delete()
    [status] = reader.read(services, [], NOW + 30)["crm"]  # the minute `begin` has left the window
    assert status.burn_rates["6h"] == 0
    [status] = reader.read(services, [], NOW - 30)["crm"]  # what is over is not read again
    assert status.burn_rates["6h"] == pytest.approx(10 / 200 / 0.001)

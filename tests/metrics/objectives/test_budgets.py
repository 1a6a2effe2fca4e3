"""Error budgets and burn rates, and how they are read from counts."""

from collections import Counter

import pytest

from metrics.counting.counts import CountBatch
from metrics.counting.histogram import bucket
from metrics.counting.spreading import RESOLUTION_SECONDS
from metrics.models import Aggregate, TimeResolution
from metrics.objectives.budgets import WINDOWS, ObjectiveCounts, count_requests, statuses
from metrics.objectives.reading import ObjectiveReader
from routing.router.objectives import LatencyObjective, Objectives
from routing.router.policy import Target
from routing.router.table import Service

AVAILABILITY = Objectives(availability=0.999)
NOW = 1_700_000_040.0
NOTHING = dict.fromkeys(WINDOWS, ObjectiveCounts())


def windows(**errors: float) -> dict[str, ObjectiveCounts]:
    """Ten thousand requests in each window, with these shares of errors."""
    return {name: ObjectiveCounts(10_000, round(10_000 * errors.get(f"w{name}", 0.0))) for name in WINDOWS}


@pytest.mark.parametrize(
    ("shares", "fast", "slow"),
    [
        ({"w1h": 0.015, "w5m": 0.015}, "1h", None),
        ({"w1h": 0.015, "w5m": 0.001}, None, None),  # it is over already
        ({"w1h": 0.014, "w5m": 0.1}, None, None),
        ({"w6h": 0.0065, "w30m": 0.0065}, "6h", None),
        ({"w3d": 0.0012, "w6h": 0.0012}, None, "3d"),
        ({"w3d": 0.0012, "w6h": 0.0009}, None, None),
    ],
)
def test_burn_rates_need_a_long_and_a_short_window(
    shares: dict[str, float], fast: str | None, slow: str | None
) -> None:
    [status] = statuses(AVAILABILITY, windows(**shares), ObjectiveCounts(), 20)
    assert (status.fast_burn and status.fast_burn.window) == fast
    assert (status.slow_burn and status.slow_burn.window) == slow


def test_the_shares_of_the_budget_stay_the_same_with_another_window() -> None:
    week = Objectives(availability=0.999, window=7 * 86_400)
    [status] = statuses(week, windows(w1h=0.0035, w5m=0.0035), ObjectiveCounts(), 20)
    assert status.fast_burn is not None  # 2 % of seven days are 3.36 hours
    [status] = statuses(AVAILABILITY, windows(w1h=0.0035, w5m=0.0035), ObjectiveCounts(), 20)
    assert status.fast_burn is None


def test_few_requests_show_nothing() -> None:
    few = {name: ObjectiveCounts(3, 3) for name in WINDOWS}
    [status] = statuses(AVAILABILITY, few, ObjectiveCounts(), 20)
    assert status.fast_burn is None
    assert status.slow_burn is None


def test_budgets() -> None:
    both = Objectives(availability=0.999, latency=LatencyObjective(0.3, 0.95))
    available, fast = statuses(both, NOTHING, ObjectiveCounts(100_000, 80, 6_000), 20)
    assert (available.text, available.bad, available.budget_used) == ("99.9% availability", 80, 0.8)
    assert (fast.text, fast.bad, fast.budget_used) == ("95% within 300 ms", 6_000, 1.2)
    [unused] = statuses(AVAILABILITY, NOTHING, ObjectiveCounts(), 20)
    assert (unused.budget_used, unused.total) == (0.0, 0)


def test_requests_are_counted_from_fields() -> None:
    objectives = Objectives(availability=0.999, latency=LatencyObjective(0.3, 0.95))
    fields = {"requests|GET|2xx|/": 5, "requests|GET|5xx|/": 2, "requests|POST|4xx|/": 1}
    fields |= {f"duration|{bucket(0.3)}": 6, f"duration|{bucket(0.301)}": 2}
    found = count_requests(fields, objectives)
    assert (found.total, found.errors, found.slow) == (8, 2, 2)


def add(resolution: TimeResolution, start: float, ok: int, bad: int, service: str = "crm") -> None:
    unit = RESOLUTION_SECONDS[resolution]
    counts = {"requests|GET|2xx|/": ok, "requests|GET|5xx|/": bad}
    row, _ = Aggregate.objects.get_or_create(resolution=resolution, start=int(start // unit) * unit, service=service)
    row.counts = dict(Counter(row.counts) + Counter(counts))
    row.save()


@pytest.mark.django_db
@pytest.mark.parametrize("others", [0, 6], ids=["one service", "many services"])
def test_what_is_over_is_read_once_and_what_is_late_still_counts(others: int) -> None:
    services = [Service(name, (Target("http://a"),), slo=AVAILABILITY) for name in ("crm", *map(str, range(others)))]
    reader = ObjectiveReader()
    add(TimeResolution.DAY, NOW - 20 * 86_400, 990, 10)
    add(TimeResolution.DAY, NOW - 40 * 86_400, 0, 10_000)
    add(TimeResolution.HOUR, NOW - 2 * 86_400, 0, 50)
    add(TimeResolution.MINUTE, NOW - 30, 60, 40)
    pending = [CountBatch("b", {f"{int(NOW // 60) * 60}|crm|requests|GET|5xx|/": 10})]
    [status] = reader.read(services, pending, NOW)["crm"]
    assert (status.total, status.bad) == (1_010, 20)
    assert status.burn_rates["5m"] == pytest.approx(50 / 110 / 0.001, abs=0.01)
    assert status.burn_rates["3d"] == pytest.approx(1_000)
    add(TimeResolution.DAY, NOW - 20 * 86_400, 0, 5_000)  # of a day that is over: never, but it shows what is read
    add(TimeResolution.MINUTE, NOW - 30, 0, 100)
    [again] = reader.read(services, [], NOW + 60)["crm"]
    assert again.bad == 10
    assert again.burn_rates["5m"] == pytest.approx(140 / 200 / 0.001, abs=0.01)
    [later] = reader.read(services, [], NOW + 3_600)["crm"]
    assert later.burn_rates["5m"] == 0
    changed = [Service("crm", (Target("http://a"),), slo=Objectives(availability=0.99))]
    [other] = reader.read(changed, [], NOW)["crm"]
    assert (other.target, other.bad) == (0.99, 5_010)
    assert reader.read([Service("crm", (Target("http://a"),))], [], NOW) == {}

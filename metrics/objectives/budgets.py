"""Error budgets and burn rates from counts. Pure.

A burn rate of 1 uses the budget up in exactly the objective's window. Alerts compare a long window, which shows that it
matters, and a short one, which shows that it lasts: chapter 5 of Google's Site Reliability Workbook (2018). Its
thresholds of 14.4, 6 and 1 are 2 % of a budget of 30 days in an hour, 5 % in six hours and 10 % in three days; with
another window the shares stay the same.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from metrics.counting.counts import Fields, buckets
from metrics.counting.histogram import count_at_most
from metrics.stats import status_classes
from routing.router.objectives import Objectives

WINDOWS: Final = {"5m": 300, "30m": 1_800, "1h": 3_600, "6h": 21_600, "3d": 259_200}
"""The windows of burn rates, in seconds."""
_FAST: Final = (("1h", "5m", 0.02), ("6h", "30m", 0.05))
_SLOW: Final = (("3d", "6h", 0.1),)
"""The long window, the short one, and the share of the budget that is used in the long one."""


class ObjectiveCounts(msgspec.Struct):
    """Requests, those that were answered with an error, and those that took longer than the objective."""

    total: int = 0
    errors: int = 0
    slow: int = 0

    def add(self, other: "ObjectiveCounts") -> None:
        self.total += other.total
        self.errors += other.errors
        self.slow += other.slow

    def share(self, part: float) -> "ObjectiveCounts":
        return ObjectiveCounts(round(self.total * part), round(self.errors * part), round(self.slow * part))


class Burn(NamedTuple):
    rate: float
    window: str


class ObjectiveStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One objective. `target` is a share of requests, `days` its window; `total` and `bad` are of that window.

    `budget_used` is a share, above 1 if more is used than there is. `burn_rates` are by window. `fast_burn` and
    `slow_burn` are what exceeds the threshold, of the long window.
    """

    name: str
    text: str
    target: float
    days: int
    total: int
    bad: int
    budget_used: float
    burn_rates: dict[str, float]
    fast_burn: Burn | None = None
    slow_burn: Burn | None = None


def count_requests(fields: Fields, objectives: Objectives) -> ObjectiveCounts:
    """A latency objective's limit counts as the next bound of the histogram: two digits of it are exact."""
    classes = status_classes(fields)
    found = ObjectiveCounts(sum(classes.values()), classes.get("5xx", 0))
    if objectives.latency is not None:
        durations = buckets(fields, "duration")
        found.slow = sum(durations.values()) - count_at_most(durations, objectives.latency.seconds)
    return found


def statuses(
    objectives: Objectives, windows: Mapping[str, ObjectiveCounts], period: ObjectiveCounts, minimum: int
) -> tuple[ObjectiveStatus, ...]:
    """`windows` are the counts of WINDOWS, `period` those of the objectives' window. A long window with fewer than
    `minimum` requests shows nothing.
    """
    return tuple(_status(name, objectives, windows, period, minimum) for name in objective_names(objectives))


def objective_names(objectives: Objectives) -> Iterator[str]:
    if objectives.availability is not None:
        yield "availability"
    if objectives.latency is not None:
        yield "latency"


def _status(
    name: str,
    objectives: Objectives,
    windows: Mapping[str, ObjectiveCounts],
    period: ObjectiveCounts,
    minimum: int,
) -> ObjectiveStatus:
    days, target = int(objectives.window // 86_400), _target(name, objectives)
    rates = {window: _burn_rate(name, windows[window], target) for window in WINDOWS}
    enough = {window for window in WINDOWS if windows[window].total >= minimum}
    return ObjectiveStatus(
        name=name,
        text=_text(name, objectives),
        target=target,
        days=days,
        total=period.total,
        bad=_bad(name, period),
        budget_used=round(_burn_rate(name, period, target), 4),
        burn_rates={window: round(rate, 2) for window, rate in rates.items()},
        fast_burn=_alarm(_FAST, rates, enough, objectives.window),
        slow_burn=_alarm(_SLOW, rates, enough, objectives.window),
    )


def _alarm(
    pairs: tuple[tuple[str, str, float], ...], rates: Mapping[str, float], enough: set[str], window: float
) -> Burn | None:
    for long, short, share in pairs:
        threshold = share * window / WINDOWS[long]
        if long in enough and min(rates[long], rates[short]) > threshold:
            return Burn(rates[long], long)
    return None


def _burn_rate(name: str, counts: ObjectiveCounts, target: float) -> float:
    return _bad(name, counts) / counts.total / (1 - target) if counts.total else 0.0


def _bad(name: str, counts: ObjectiveCounts) -> int:
    return counts.errors if name == "availability" else counts.slow


def _target(name: str, objectives: Objectives) -> float:
    if name == "availability":
        return objectives.availability or 0.0
    return objectives.latency.share if objectives.latency else 0.0


def _text(name: str, objectives: Objectives) -> str:
    target = f"{_target(name, objectives) * 100:.6g}%"
    if name == "availability" or objectives.latency is None:
        return f"{target} availability"
    seconds = objectives.latency.seconds
    limit = f"{seconds * 1_000:.6g} ms" if seconds < 1 else f"{seconds:.15g} s"
    return f"{target} within {limit}"

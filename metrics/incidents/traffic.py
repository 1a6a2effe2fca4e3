"""Signals in a service's traffic: counts by minute against the service's thresholds. Pure."""

from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Final, NamedTuple

import msgspec

from metrics.counting.counts import Fields
from metrics.counting.faults import REFUSALS
from metrics.counting.histogram import quantiles
from metrics.incidents.incident import AFTER_SECONDS, Signal, SignalKind
from metrics.rounding import percent, significant
from metrics.stats import HIT_RESULTS
from resilience.durations import MINUTE
from routing.router.thresholds import Thresholds

HORIZON_MINUTES: Final = 30
"""How far back a signal is followed, and what its hit rate is compared with."""
RECENT_MINUTES: Final = 2
"""A signal lasts while the last minute is above the threshold too. If that has too few requests, so many minutes are
considered; a signal also lasts if there are no requests in them.
"""
_AFTER: Final = int(AFTER_SECONDS // MINUTE)
_P95: Final = (0.95,)


class Tally(msgspec.Struct):
    """The counts of a minute, or of several."""

    requests: int = 0
    errors: int = 0
    client_errors: int = 0
    refusals: int = 0
    hits: int = 0
    lookups: int = 0
    calls: dict[int, int] = {}
    """Calls to the backend by bucket of their duration."""

    def add(self, other: "Tally") -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.client_errors += other.client_errors
        self.refusals += other.refusals
        self.hits += other.hits
        self.lookups += other.lookups
        for bucket, number in other.calls.items():
            self.calls[bucket] = self.calls.get(bucket, 0) + number


def tally(fields: Fields) -> Tally:
    """Refusals with status 429 count as refusals alone."""
    found, refused_429 = Tally(), 0
    for field, number in fields.items():
        name, _, label = field.partition("|")
        match name:
            case "requests":
                found.requests += number
                status_class = label.split("|", 2)[1]
                found.errors += number if status_class == "5xx" else 0
                found.client_errors += number if status_class == "4xx" else 0
            case "code" if label in REFUSALS:
                found.refusals += number
                refused_429 += number if label != "overloaded" else 0
            case "cache" if label in HIT_RESULTS or label == "MISS":
                found.lookups += number
                found.hits += number if label in HIT_RESULTS else 0
            case "backend" if label.isdecimal():
                found.calls[int(label)] = found.calls.get(int(label), 0) + number
    found.client_errors = max(0, found.client_errors - refused_429)
    return found


class SignalRule(NamedTuple):
    """`value` of a tally, None if it has none; `enough` is how many of what it is a share of there are."""

    kind: SignalKind
    threshold: float
    value: Callable[[Tally], float | None]
    enough: Callable[[Tally], int]
    text: Callable[[float], str]


def signals(minutes: Mapping[int, Tally], thresholds: Thresholds, now: float) -> Iterator[Signal]:
    """What is above a threshold, or was within AFTER_SECONDS. `minutes` are by their start in Unix seconds."""
    series = Series(minutes, thresholds, int(now // MINUTE))
    for rule in _rules(thresholds, series.usual_hit_rate()):
        signal = series.signal(rule, now)
        if signal is not None:
            yield signal


def _rules(thresholds: Thresholds, usual_hit_rate: float | None) -> Iterator[SignalRule]:
    requests: Callable[[Tally], int] = lambda found: found.requests  # noqa: E731 - an attribute
    shares = (
        (SignalKind.ERRORS, thresholds.error_rate, lambda found: found.errors, "of responses are errors"),
        (
            SignalKind.CLIENT_ERRORS,
            thresholds.client_error_rate,
            lambda found: found.client_errors,
            "of responses are 4xx",
        ),
        (
            SignalKind.REFUSALS,
            thresholds.refusal_rate,
            lambda found: found.refusals,
            "of requests are refused by a limit",
        ),
    )
    for kind, threshold, count, text in shares:
        yield SignalRule(kind, threshold, _share_of_requests(count), requests, _percent(text))
    yield SignalRule(
        SignalKind.LATENCY,
        thresholds.latency,
        lambda found: quantiles(found.calls, _P95)[0],
        lambda found: sum(found.calls.values()),
        lambda seconds: f"5% of the backend's responses take more than {significant(seconds, 2)} s",
    )
    if usual_hit_rate:
        usual = usual_hit_rate
        yield SignalRule(
            SignalKind.HIT_RATE,
            thresholds.hit_rate_drop,
            lambda found: 1 - found.hits / found.lookups / usual if found.lookups else None,
            lambda found: found.lookups,
            lambda drop: f"the hit rate fell from {percent(usual)} to {percent(usual * (1 - drop))}",
        )


def _share_of_requests(count: Callable[[Tally], int]) -> Callable[[Tally], float | None]:
    return lambda found: count(found) / found.requests if found.requests else None


def _percent(text: str) -> Callable[[float], str]:
    return lambda share: f"{percent(share)} {text}"


class Series:
    """The minutes of one service. `last` is the current one, counted from the epoch."""

    def __init__(self, minutes: Mapping[int, Tally], thresholds: Thresholds, last: int) -> None:
        self._minutes = minutes
        self._minimum = thresholds.minimum_requests
        self._window = int(thresholds.window // MINUTE)
        self._last = last
        self._sums: dict[tuple[int, int], Tally] = {}

    def usual_hit_rate(self) -> float | None:
        """The hit rate before the window; None if there were too few lookups."""
        usual = self._sum(self._last - self._window, HORIZON_MINUTES - self._window)
        return usual.hits / usual.lookups if usual.lookups >= self._minimum else None

    def signal(self, rule: SignalRule, now: float) -> Signal | None:
        """The signal, if it lasts or ended within the last minutes. It begins with the first minute that breached."""
        if rule.threshold == inf:
            return None
        end = next((at for at in range(self._last, self._last - _AFTER - 1, -1) if self.breaches(rule, at)), None)
        if end is None:
            return None
        start = end
        for at in range(end - 1, self._last - HORIZON_MINUTES, -1):
            if start - at > _AFTER:
                break
            if self.breaches(rule, at):
                start = at
        value = rule.value(self._sum(end, self._window)) or 0.0
        ended = None if end == self._last else min(now, float((end + 1) * MINUTE))
        return Signal(kind=rule.kind, text=rule.text(value), since=float(start * MINUTE), ended=ended)

    def breach(self, rule: SignalRule) -> float | None:
        """The value over the window up to now, if it is above the threshold, and that of the last minutes too."""
        return rule.value(self._sum(self._last, self._window)) if self.breaches(rule, self._last) else None

    def breaches(self, rule: SignalRule, at: int) -> bool:
        """Whether that was so in the minute `at`, counted from the epoch."""
        window = self._sum(at, self._window)
        if rule.enough(window) < self._minimum or not _exceeds(rule, window):
            return False
        recent = self._sum(at, 1)
        if rule.enough(recent) < self._minimum:
            recent = self._sum(at, RECENT_MINUTES)
        return rule.enough(recent) == 0 or _exceeds(rule, recent)

    def _sum(self, end: int, length: int) -> Tally:
        """The last `length` minutes up to `end`, which is included. All rules look at the same ones."""
        known = self._sums.get((end, length))
        if known is not None:
            return known
        total = self._sums[end, length] = Tally()
        for at in range(end - length + 1, end + 1):
            found = self._minutes.get(at * MINUTE)
            if found is not None:
                total.add(found)
        return total


def _exceeds(rule: SignalRule, found: Tally) -> bool:
    value = rule.value(found)
    return value is not None and value > rule.threshold

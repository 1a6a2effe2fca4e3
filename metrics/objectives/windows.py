"""The requests of a window that ends with the current minute, from counts by minute and by hour. Pure."""

from collections.abc import Mapping
from math import inf

from metrics.objectives.budgets import WINDOWS, ObjectiveCounts
from resilience.durations import DAY, HOUR, MINUTE

Counts = Mapping[int, ObjectiveCounts]
"""Counts of periods, by their start in Unix seconds."""


def hours_by_minute(now: float) -> tuple[int, ...]:
    """The starts of the hours whose minutes `sum_window` needs: the last, and those in which longer windows begin."""
    end = _end(now)
    recent = range(_hour(end - HOUR), end, HOUR)
    return tuple(sorted({*recent, *(_hour(end - length) for length in WINDOWS.values() if length > HOUR)}))


def sum_window(minutes: Counts, hours: Counts, length: int, now: float) -> ObjectiveCounts:
    """The sum of `length` seconds: by minute up to an hour, else by hour, with the minutes of the hour it begins in."""
    begin = _end(now) - length
    if length <= HOUR:
        return _sum(minutes, begin)
    first = -(-begin // HOUR) * HOUR
    total = _sum(hours, first)
    total.add(_beginning(minutes, hours, begin, first))
    return total


def sum_days(days: Counts, length: int, now: float) -> ObjectiveCounts:
    """The sum of whole days, the current one included."""
    return _sum(days, int(now // DAY + 1) * DAY - length)


def _beginning(minutes: Counts, hours: Counts, begin: int, first: int) -> ObjectiveCounts:
    """From `begin` to the hour `first`. Of an hour whose minutes are no longer kept, a proportional share."""
    hour = hours.get(first - HOUR)
    if hour is None or begin == first:
        return ObjectiveCounts()
    if _sum(minutes, first - HOUR, first).total >= hour.total:
        return _sum(minutes, begin, first)
    return hour.share((first - begin) / HOUR)


def _sum(counts: Counts, begin: int, end: float = inf) -> ObjectiveCounts:
    total = ObjectiveCounts()
    for at, found in counts.items():
        if begin <= at < end:
            total.add(found)
    return total


def _end(now: float) -> int:
    """The end of the current minute, in Unix seconds."""
    return int(now // MINUTE + 1) * MINUTE


def _hour(at: int) -> int:
    return at // HOUR * HOUR

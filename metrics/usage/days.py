"""Days of a time zone. Pure.

A day begins at local midnight; where clocks skip midnight, at the first instant after it.
"""

from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Day(NamedTuple):
    """`name` is its ISO date. `ends` is Unix time, and the first instant of the next day."""

    name: str
    ends: float


def day_at(now: float, timezone: ZoneInfo) -> Day:
    """The day that contains `now` (Unix time)."""
    date = local_date(now, timezone)
    # Clocks that are set back across midnight repeat the end of a day.
    return Day(date.isoformat(), max(now + 1, starts_at(date + timedelta(days=1), timezone)))


def starts_at(day: date, timezone: ZoneInfo) -> float:
    """The first instant of a day, as Unix time."""
    return datetime.combine(day, time(), timezone).timestamp()


def local_date(now: float, timezone: ZoneInfo) -> date:
    return datetime.fromtimestamp(now, timezone).date()

"""How long the rows of each growing table are kept, and how many of them: RETENTION. Pure."""

import math
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from resilience.durations import DAY, HOUR

LONGEST: Final = 1_000 * 365 * DAY
"""An age is subtracted from dates, which begin with the year 1."""
FOREVER: Final = "off"
_UNITS: Final = {"h": HOUR, "d": DAY, "y": 365 * DAY}
_AGE: Final = re.compile(r"([1-9][0-9]{0,4})([hdy])")
_ROWS: Final = re.compile(r"[1-9][0-9]{0,9}")


class RetentionLimit(msgspec.Struct, frozen=True):
    """Rows that are older than `seconds`, or beyond the latest `rows`, are deleted."""

    seconds: float = math.inf
    rows: int | None = None

    def __str__(self) -> str:
        """The limit as RETENTION writes it."""
        unit = HOUR if self.seconds < 7 * DAY else DAY
        age = "" if math.isinf(self.seconds) else f"{self.seconds / unit:.0f}{'h' if unit == HOUR else 'd'}"
        return "/".join(filter(None, (age, str(self.rows or "")))) or FOREVER


DEFAULTS: Final[Mapping[str, RetentionLimit]] = {
    "minutes": RetentionLimit(48 * HOUR),
    "hours": RetentionLimit(60 * DAY),
    "days": RetentionLimit(731 * DAY),
    "route_minutes": RetentionLimit(26 * HOUR),
    "route_days": RetentionLimit(92 * DAY),
    "circuit_changes": RetentionLimit(60 * DAY, 100_000),
    "alerts": RetentionLimit(90 * DAY),
    "audit_log": RetentionLimit(731 * DAY, 1_000_000),
    "admin_log": RetentionLimit(731 * DAY, 100_000),
    "history": RetentionLimit(rows=500),
    "plan_requests": RetentionLimit(731 * DAY, 10_000),
    "keys": RetentionLimit(731 * DAY),
}
"""The limits, by the table's name in RETENTION."""
BY_AGE_ALONE: Final = frozenset({"minutes", "hours", "days", "route_minutes", "route_days", "keys", "alerts"})


class Retention(msgspec.Struct, frozen=True):
    limits: Mapping[str, RetentionLimit] = msgspec.field(default_factory=lambda: DEFAULTS)

    def __getitem__(self, name: str) -> RetentionLimit:
        return self.limits[name]


def parse(text: str) -> Retention:
    """Parse a text such as `audit_log=2y/500000, history=100, days=off`. Raises ValueError."""
    limits, named = dict(DEFAULTS), set[str]()
    for item in re.split(r"[,\s]+", text.strip(", \t\n")):
        name, _, value = item.partition("=")
        if name not in DEFAULTS:
            raise ValueError(f"{name!r} is not one of {', '.join(DEFAULTS)}")
        if name in named:
            raise ValueError(f"{name}: is set twice")
        named.add(name)
        limits[name] = _limit(name, value)
    return Retention(limits)


def _limit(name: str, text: str) -> RetentionLimit:
    if text == FOREVER:
        return RetentionLimit()
    age, slash, rows = text.rpartition("/") if "/" in text else (text, "", "")
    if not slash and _ROWS.fullmatch(text):
        age, rows = "", text
    found = _AGE.fullmatch(age)
    if (age and not found) or ((rows or slash) and not _ROWS.fullmatch(rows)) or not (age or rows):
        raise ValueError(
            f"{name}: {text!r} is not an age such as 90d, a number of rows, both as 90d/10000, or {FOREVER}"
        )
    if rows and name in BY_AGE_ALONE:
        raise ValueError(f"{name}: is kept by age alone, such as 90d")
    seconds = int(found[1]) * _UNITS[found[2]] if found else math.inf
    if found and seconds > LONGEST:
        raise ValueError(f"{name}: {age} is more than 1000 years: write {FOREVER}")
    return RetentionLimit(seconds, int(rows) if rows else None)

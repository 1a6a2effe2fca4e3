"""Quotas such as 10,000 requests per calendar month in Europe/Berlin."""

from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

MAX_AMOUNT: Final = 1_000_000_000_000


class Per(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class Anchor(StrEnum):
    """Where periods begin: at the calendar's, or at the time of day and the date of the subject's sign-up."""

    CALENDAR = "calendar"
    SIGNUP = "signup"


class QuotaPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """At most `amount` requests in each period. `timezone` is a name of the IANA time zone database."""

    amount: int
    per: Per
    anchor: Anchor = Anchor.CALENDAR
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not 1 <= self.amount <= MAX_AMOUNT:
            raise ValueError(f"amount must be from 1 to {MAX_AMOUNT}")
        zone(self.timezone)


def zone(name: str) -> ZoneInfo:
    """The time zone. Raises ValueError if the installed database does not contain it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"timezone must be a name such as Europe/Berlin or UTC, not {name[:60]!r}") from None

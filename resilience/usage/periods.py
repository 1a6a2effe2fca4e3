"""When a quota's periods begin and end: functions of the quota, the sign-up and an instant. Pure.

Days, weeks, months and years begin at a local time of the quota's zone, and so last an hour more or less where clocks
are changed. A month that has no 31st begins on its last day, the next one on the 31st again. A local time that clocks
skip is as long after the last midnight as on other days (RFC 5545 section 3.3.5); of one that occurs twice, the first
counts. Hours last 3,600 seconds.
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from resilience.usage.policy import Anchor, Per, QuotaPolicy, zone

_EPOCH: Final = datetime(1970, 1, 5)  # noqa: DTZ001 - a Monday, as a local time
_HOUR: Final = 3_600
_DAYS: Final = {Per.DAY: 1, Per.WEEK: 7}
_MONTHS: Final = {Per.MONTH: 1, Per.YEAR: 12}


class Period(NamedTuple):
    """From `starts` until before `ends`, as Unix time in whole seconds."""

    starts: int
    ends: int


def period_at(policy: QuotaPolicy, now: float, signed_up: float = 0.0) -> Period:
    """The period that contains `now`. `signed_up` is where the periods of a quota with that anchor begin."""
    is_calendar = policy.anchor is Anchor.CALENDAR
    if policy.per is Per.HOUR:
        return _hour(policy, now, None if is_calendar else int(signed_up))
    timezone = zone(policy.timezone)
    anchor = _EPOCH if is_calendar else _local(signed_up, timezone)
    if is_calendar and policy.per in _MONTHS:
        anchor = anchor.replace(day=1)
    index = _estimate(policy.per, anchor, _local(now, timezone))
    while _instant(policy.per, anchor, index, timezone) > now:
        index -= 1
    while (ends := _instant(policy.per, anchor, index + 1, timezone)) <= now:
        index += 1
    return Period(_instant(policy.per, anchor, index, timezone), ends)


def _hour(policy: QuotaPolicy, now: float, signed_up: int | None) -> Period:
    if signed_up is None:
        offset = zone(policy.timezone).utcoffset(datetime.fromtimestamp(now, UTC)) or timedelta()
        signed_up = -int(offset.total_seconds())
    starts = signed_up + (int(now // 1) - signed_up) // _HOUR * _HOUR
    return Period(starts, starts + _HOUR)


def _local(instant: float, timezone: ZoneInfo) -> datetime:
    """The local time, without a zone, in whole seconds."""
    return datetime.fromtimestamp(int(instant // 1), timezone).replace(tzinfo=None, fold=0)


def _estimate(per: Per, anchor: datetime, local: datetime) -> int:
    """The number of the period, wrong by at most a few."""
    if per in _DAYS:
        return (local - anchor).days // _DAYS[per]
    months = (local.year - anchor.year) * 12 + local.month - anchor.month
    return months // _MONTHS[per]


@lru_cache(maxsize=65_536)
def _instant(per: Per, anchor: datetime, index: int, timezone: ZoneInfo) -> int:
    """When period `index` begins: counted from the anchor, so that a short month does not shift those after it."""
    if per in _DAYS:
        local = anchor + timedelta(days=index * _DAYS[per])
    else:
        year, month = divmod(anchor.year * 12 + anchor.month - 1 + index * _MONTHS[per], 12)
        local = anchor.replace(year=year, month=month + 1, day=min(anchor.day, monthrange(year, month + 1)[1]))
    return int(local.replace(tzinfo=timezone).timestamp())

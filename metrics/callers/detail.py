"""One caller: what it used of which service and route, on which days, and with which keys."""

from datetime import date, datetime, timedelta
from typing import Final

import msgspec
from django.db.models import Max

from metrics.callers.kinds import CallerName, Kind
from metrics.callers.ranking import By, Ranked, RankedCaller, Sort, last_use, named, ranked
from metrics.usage import selectors
from metrics.usage.selectors import EMPTY, UsageRow, UsageRows
from routing.rights import Names

MAX_SERVICES: Final = 200
MAX_ROUTES: Final = 20
MAX_MEMBERS: Final = 100
"""The most keys of a consumer, or consumers of a team, that are listed."""
MEMBERS: Final = {Kind.CONSUMER: By.KEY, Kind.TEAM: By.CALLER, Kind.KEY: By.CALLER}
"""What is listed as members: the keys of a consumer, the consumers of a team, or those that a key belonged to."""


class CallerDetail(msgspec.Struct, frozen=True, kw_only=True):
    """Days from `start` to `end`, both included. `days` has each of them; its groups are ISO dates. `members` are those
    keys or consumers that were used in the range; of an API key, the consumers to whom it was counted. `last_at` and
    `last_day` are of all days that are kept: both None if nothing was counted.
    """

    caller: CallerName
    start: date
    end: date
    total: UsageRow
    services: list[Ranked]
    routes: list[Ranked]
    days: list[UsageRow]
    members: list[RankedCaller]
    last_at: datetime | None
    last_day: date | None

    @property
    def is_counted(self) -> bool:
        return self.last_day is not None


def caller_detail(caller: CallerName, start: date, end: date, names: Names = None) -> CallerDetail:
    """What the caller used of these services. Raises DatabaseError."""
    of_all = caller.usage() if names is None else caller.usage().filter(service__in=names)
    latest = of_all.aggregate(Max("last_at"), Max("day"))
    day = latest["day__max"]
    last_at, last_day = last_use(latest["last_at__max"], day) if day else (None, None)
    rows = of_all.filter(day__gte=start, day__lte=end)
    by = MEMBERS.get(caller.kind)
    return CallerDetail(
        caller=caller,
        start=start,
        end=end,
        total=next(selectors.usage_rows(selectors.sums(rows, ("currency",)), ()), EMPTY),
        services=ranked(rows, ("service",), Sort.REQUESTS, MAX_SERVICES),
        routes=ranked(rows.exclude(service=""), ("service", "route"), Sort.REQUESTS, MAX_ROUTES),
        days=_days(rows, start, end),
        members=[] if by is None else _members(caller, rows, by),
        last_at=last_at,
        last_day=last_day,
    )


def _members(caller: CallerName, rows: UsageRows, by: By) -> list[RankedCaller]:
    if by is By.KEY:
        return named(ranked(rows.exclude(api_key=""), ("api_key",), Sort.REQUESTS, MAX_MEMBERS), by)
    if caller.kind is Kind.KEY:
        rows = rows.exclude(consumer="")
    return named(ranked(rows, ("consumer", "caller"), Sort.REQUESTS, MAX_MEMBERS), by)


def _days(rows: UsageRows, start: date, end: date) -> list[UsageRow]:
    """Each day, also those without usage."""
    sums = selectors.sums(rows, ("day", "currency"))
    found = {row.group[0]: row for row in selectors.usage_rows(sums.iterator(), ("day",))}
    names = [(start + timedelta(days=number)).isoformat() for number in range((end - start).days + 1)]
    return [found.get(name) or msgspec.structs.replace(EMPTY, group=(name,)) for name in names]

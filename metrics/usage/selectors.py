"""What was used, from the database: for a consumer by day and service, and in reports."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby, islice
from typing import Any, Final

import msgspec
from django.db.models import QuerySet, Sum

from metrics.models import DailyUsage
from metrics.runtime_access import run_on_loop, running
from metrics.usage.days import local_date
from metrics.usage.record import COUNT_FIELDS, decimal_amount, seconds

GROUPS: Final = ("day", "consumer", "caller", "team", "service", "route")
"""What a report can be grouped by."""
FILTERS: Final = ("consumer", "caller", "team", "service", "route")


class DayUsage(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer's use of one service on one day. `errors` are responses with a 4xx or 5xx status."""

    day: date
    service: str
    requests: int
    errors: int
    cached: int
    bytes_in: int
    bytes_out: int
    backend_seconds: float

    @property
    def bytes(self) -> int:
        return self.bytes_in + self.bytes_out


class Money(msgspec.Struct, frozen=True):
    """`amount` is a decimal number."""

    amount: str
    currency: str


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of one group: `group` has a value for each of the report's groups, in their order."""

    group: tuple[str, ...]
    requests: int
    errors: int
    cached: int
    bytes_in: int
    bytes_out: int
    backend_seconds: float
    money: tuple[Money, ...]


EMPTY: Final = UsageRow(
    group=(), requests=0, errors=0, cached=0, bytes_in=0, bytes_out=0, backend_seconds=0.0, money=()
)


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Days from `start` to `end`, both included. `filters` are exact values by field. Without `limit`: all."""

    start: date
    end: date
    group_by: tuple[str, ...]
    filters: dict[str, str] = {}
    offset: int = 0
    limit: int | None = None


def expand_groups(names: Iterable[str]) -> tuple[str, ...] | None:
    """What to group by, each once, or None if there is no such thing. `consumer` includes callers who have none."""
    expanded: list[str] = []
    for name in names:
        if name not in GROUPS:
            return None
        expanded += ("consumer", "caller") if name == "consumer" else (name,)
    return tuple(dict.fromkeys(expanded))


def today() -> date:
    """The present day in the configured time zone."""
    gateway = running()
    return local_date(gateway.flusher.now(), gateway.usage.timezone)


def daily_usage(consumer: str, days: int) -> list[DayUsage]:
    """A consumer's usage of the last `days` days including today, by day and service. Raises DatabaseError."""
    collect()
    since = today() - timedelta(days=days - 1)
    rows = _sums(DailyUsage.objects.filter(consumer=consumer, day__gte=since), ("day", "service"))
    return [
        DayUsage(
            day=row["day"],
            service=row["service"],
            requests=row["requests__sum"],
            errors=row["errors__sum"],
            cached=row["cached__sum"],
            bytes_in=row["bytes_in__sum"],
            bytes_out=row["bytes_out__sum"],
            backend_seconds=seconds(row["backend_us__sum"]),
        )
        for row in rows
    ]


def collect() -> None:
    """Let the database have what all workers have counted until now."""
    run_on_loop(running().usage.collect())


def report(query: ReportQuery) -> list[UsageRow]:
    """Usage by group, ordered by group. Raises DatabaseError."""
    rows = DailyUsage.objects.filter(day__gte=query.start, day__lte=query.end, **query.filters)
    groups = _groups(_sums(rows, (*query.group_by, "currency")), query.group_by)
    stop = None if query.limit is None else query.offset + query.limit
    return list(islice(groups, query.offset, stop))


def total(query: ReportQuery) -> UsageRow:
    """The sums of all groups of a report, as one group without a name. Raises DatabaseError."""
    ungrouped = msgspec.structs.replace(query, group_by=(), offset=0, limit=None)
    return next(iter(report(ungrouped)), EMPTY)


def _sums(rows: "QuerySet[DailyUsage]", fields: Sequence[str]) -> Any:
    return rows.values(*fields).annotate(*(Sum(name) for name in COUNT_FIELDS)).order_by(*fields)


def _groups(rows: Any, group_by: Sequence[str]) -> Iterator[UsageRow]:
    """One row for each group: the database returns one for each of its currencies."""
    for group, parts in groupby(rows.iterator(), lambda row: tuple(str(row[name]) for name in group_by)):
        several = list(parts)
        total = {name: sum(row[f"{name}__sum"] for row in several) for name in COUNT_FIELDS}
        yield UsageRow(
            group=group,
            requests=total["requests"],
            errors=total["errors"],
            cached=total["cached"],
            bytes_in=total["bytes_in"],
            bytes_out=total["bytes_out"],
            backend_seconds=seconds(total["backend_us"]),
            money=tuple(
                Money(decimal_amount(row["amount__sum"]), row["currency"]) for row in several if row["currency"]
            ),
        )

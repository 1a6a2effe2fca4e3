"""What was used, from the database: for a consumer by day and service, and in reports."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby, islice
from typing import Any, Final

import msgspec
from django.db.models import QuerySet, Sum

from metrics.models import DailyUsage
from metrics.runtime_access import run_on_loop, running
from metrics.usage.days import local_date
from metrics.usage.record import COUNT_FIELDS, decimal_amount, seconds
from routing.rights import Names

GROUPS: Final = ("day", "consumer", "caller", "key", "team", "service", "route")
"""What a report can be grouped by."""
UsageRows = QuerySet[DailyUsage]
FILTERS: Final = ("consumer", "caller", "key", "team", "service", "route")


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
    refused: int = 0
    limited: int = 0


EMPTY: Final = UsageRow(
    group=(), requests=0, errors=0, cached=0, bytes_in=0, bytes_out=0, backend_seconds=0.0, money=()
)


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Days from `start` to `end`, both included. `filters` are exact values by field. Without `limit`: all.

    `names`: of these services, and of no requests that matched none.
    """

    start: date
    end: date
    group_by: tuple[str, ...]
    filters: dict[str, str] = {}
    names: Names = None
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


def column(group: str) -> str:
    """The model's field for what a report is grouped or filtered by: its field `key` is the digest of a row."""
    return "api_key" if group == "key" else group


def today() -> date:
    """The present day in the configured time zone."""
    gateway = running()
    return local_date(gateway.flusher.now(), gateway.usage.timezone)


def daily_usage(consumer: str, days: int) -> list[DayUsage]:
    """A consumer's usage of the last `days` days including today, by day and service. Raises DatabaseError."""
    collect()
    since = today() - timedelta(days=days - 1)
    rows = sums(DailyUsage.objects.filter(consumer=consumer, day__gte=since), ("day", "service"))
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
    filters = {column(name): value for name, value in query.filters.items()}
    rows = of_services(query.names).filter(day__gte=query.start, day__lte=query.end, **filters)
    columns = [column(name) for name in query.group_by]
    groups = usage_rows(sums(rows, (*columns, "currency")).iterator(), columns)
    stop = None if query.limit is None else query.offset + query.limit
    return list(islice(groups, query.offset, stop))


def of_services(names: Names) -> UsageRows:
    """What was counted for these services."""
    return DailyUsage.objects.all() if names is None else DailyUsage.objects.filter(service__in=names)


def total(query: ReportQuery) -> UsageRow:
    """The sums of all groups of a report, as one group without a name. Raises DatabaseError."""
    ungrouped = msgspec.structs.replace(query, group_by=(), offset=0, limit=None)
    return next(iter(report(ungrouped)), EMPTY)


def sums(rows: UsageRows, fields: Sequence[str]) -> Any:
    """The counts of rows with equal fields, ordered by these."""
    return rows.values(*fields).annotate(*(Sum(name) for name in COUNT_FIELDS)).order_by(*fields)


def usage_rows(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> Iterator[UsageRow]:
    """One row for each group of rows, which are ordered by group: there is one for each currency of a group."""
    for group, parts in groupby(rows, lambda row: tuple(str(row[name]) for name in columns)):
        several = list(parts)
        total = {name: sum(row[f"{name}__sum"] for row in several) for name in COUNT_FIELDS}
        yield usage_row(group, total, [(row["currency"], row["amount__sum"]) for row in several])


def usage_row(group: tuple[str, ...], total: Mapping[str, int], amounts: Iterable[tuple[str, int]]) -> UsageRow:
    """The sums of a group by field, and its amounts by currency. What has no price has an empty currency."""
    return UsageRow(
        group=group,
        requests=total["requests"],
        errors=total["errors"],
        cached=total["cached"],
        bytes_in=total["bytes_in"],
        bytes_out=total["bytes_out"],
        backend_seconds=seconds(total["backend_us"]),
        refused=total["refused"],
        limited=total["limited"],
        money=tuple(Money(decimal_amount(amount), currency) for currency, amount in amounts if currency),
    )

"""The callers that use most: grouped and ordered by the database, a bounded number at a time."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
from django.db.models import F, Max, Q, Sum

from metrics.callers.kinds import CallerName, Kind
from metrics.usage import selectors
from metrics.usage.record import COUNT_FIELDS
from metrics.usage.selectors import ReportQuery, UsageRow, UsageRows
from routing.models import ApiKey
from routing.rights import Names


class By(StrEnum):
    """What is ranked. CALLER: consumers, and callers without one."""

    CALLER = "caller"
    KEY = "key"
    TEAM = "team"


class Sort(StrEnum):
    """MONEY: in the currency in which most requests are priced."""

    REQUESTS = "requests"
    ERRORS = "errors"
    REFUSED = "refused"
    BYTES = "bytes"
    BACKEND = "backend_seconds"
    MONEY = "money"
    LAST_USED = "last_used"


COLUMNS: Final = {By.CALLER: ("consumer", "caller"), By.KEY: ("api_key",), By.TEAM: ("team",)}
_RANKS: Final = {
    Sort.REQUESTS: Sum("requests"),
    Sort.ERRORS: Sum("errors"),
    Sort.REFUSED: Sum("refused"),
    Sort.BYTES: Sum(F("bytes_in") + F("bytes_out")),
    Sort.BACKEND: Sum("backend_us"),
}


class CallersQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Days from `start` to `end`, both included. An empty `service`: all, or those of `names`."""

    start: date
    end: date
    by: By = By.CALLER
    sort: Sort = Sort.REQUESTS
    service: str = ""
    names: Names = None
    offset: int = 0
    limit: int = 100


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A group of usage. `last_at` is when it was used last in the range; None if only the day is known, `last_day`.
    `consumer` is one to whom it was counted, empty if there was none.
    """

    usage: UsageRow
    consumer: str
    last_at: datetime | None
    last_day: date


class RankedCaller(msgspec.Struct, frozen=True, kw_only=True):
    """`title` and `consumer` are those of an API key, empty where they are unknown or there are none. The consumer of a
    key that was deleted is the one to whom its requests were counted.
    """

    caller: CallerName
    found: Ranked
    title: str = ""
    consumer: str = ""


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """`total` is of all callers, `currency` that of Sort.MONEY, empty without prices; `more`: others follow."""

    callers: list[RankedCaller]
    total: UsageRow
    currency: str
    more: bool


def ranking(query: CallersQuery) -> Ranking:
    """Raises DatabaseError."""
    filters = {"service": query.service} if query.service else {}
    rows = selectors.of_services(query.names).filter(day__gte=query.start, day__lte=query.end, **filters)
    if query.by is not By.CALLER:
        rows = rows.exclude(**{COLUMNS[query.by][0]: ""})
    currency = main_currency(rows)
    found = ranked(rows, COLUMNS[query.by], query.sort, query.limit + 1, offset=query.offset, currency=currency)
    report = ReportQuery(start=query.start, end=query.end, group_by=(), filters=filters, names=query.names)
    return Ranking(
        callers=named(found[: query.limit], query.by),
        total=selectors.total(report),
        currency=currency,
        more=len(found) > query.limit,
    )


def ranked(
    rows: UsageRows, columns: Sequence[str], sort: Sort, limit: int, *, offset: int = 0, currency: str = ""
) -> list[Ranked]:
    """The groups with the most of `sort` first. `currency` is that of Sort.MONEY."""
    rank: Any = _RANKS.get(sort)
    if sort is Sort.MONEY:
        rank = Sum("amount", filter=Q(currency=currency), default=0)
    elif sort is Sort.LAST_USED:
        rank = Max("last_at")
    sums = (Sum(name) for name in COUNT_FIELDS)
    query = rows.values(*columns).annotate(*sums, Max("last_at"), Max("day"), rank=rank, owner=Max("consumer"))
    groups = list(query.order_by("-rank", "-day__max", *columns)[offset : offset + limit])
    amounts = _amounts(rows, columns, groups)
    return [_ranked(columns, group, amounts[_key(columns, group)]) for group in groups]


def main_currency(rows: UsageRows) -> str:
    """The currency in which most requests are priced; empty without prices."""
    priced = rows.exclude(currency="").values("currency").annotate(number=Sum("requests"))
    most = priced.order_by("-number", "currency").first()
    return most["currency"] if most else ""


def named(found: Sequence[Ranked], by: By) -> list[RankedCaller]:
    """The groups of COLUMNS[by] as callers."""
    names = [_caller(by, each.usage.group) for each in found]
    keys = ApiKey.objects.filter(prefix__in={name.key for name in names if name.key})
    known = {
        prefix: (title, consumer) for prefix, title, consumer in keys.values_list("prefix", "name", "consumer__name")
    }
    rows = []
    for name, each in zip(names, found, strict=True):
        title, consumer = known.get(name.key, ("", each.consumer if name.key else ""))
        rows.append(RankedCaller(caller=name, found=each, title=title, consumer=consumer or ""))
    return rows


def last_use(last_at: int | None, day: date) -> tuple[datetime | None, date]:
    """When a caller was used last, from the largest values of its rows."""
    return (datetime.fromtimestamp(last_at, UTC) if last_at else None), day


def _caller(by: By, group: tuple[str, ...]) -> CallerName:
    if by is By.CALLER:
        consumer, caller = group
        return CallerName(Kind.CONSUMER, consumer) if consumer else CallerName(Kind.CALLER, caller)
    return CallerName(Kind.KEY if by is By.KEY else Kind.TEAM, group[0])


def _ranked(columns: Sequence[str], group: dict[str, Any], amounts: list[tuple[str, int]]) -> Ranked:
    total = {name: group[f"{name}__sum"] for name in COUNT_FIELDS}
    last_at, day = last_use(group["last_at__max"], group["day__max"])
    usage = selectors.usage_row(_key(columns, group), total, amounts)
    return Ranked(usage=usage, consumer=group["owner"], last_at=last_at, last_day=day)


def _amounts(
    rows: UsageRows, columns: Sequence[str], groups: Sequence[dict[str, Any]]
) -> dict[tuple[str, ...], list[tuple[str, int]]]:
    """The amounts of these groups, by group and currency."""
    found: defaultdict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    among = {f"{name}__in": {group[name] for group in groups} for name in columns}
    priced = rows.filter(**among).exclude(currency="").values(*columns, "currency").annotate(Sum("amount"))
    for row in priced.order_by("currency"):
        found[_key(columns, row)].append((row["currency"], row["amount__sum"]))
    return found


def _key(columns: Sequence[str], group: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(group[name]) for name in columns)

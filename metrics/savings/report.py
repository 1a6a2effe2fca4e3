"""Calls, seconds and US dollars that caching has saved, by month and service, from the counts of days."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

import msgspec

from metrics import cluster_counts, selectors
from metrics.counting import aggregates
from metrics.counting.counts import GATEWAY, Fields
from metrics.models import TimeResolution
from metrics.stats import SAVED_RESULTS
from resilience.durations import DAY
from routing.rights import Names, within

RECENT_DAYS: Final = 2
"""Days that are read with what is not in the database yet."""
MAX_MONTHS: Final = 24
"""The longest report: counts by day are kept for as long."""
MAX_NAMES: Final = 50_000
_kinds: Final[dict[str, int]] = {}
"""What the field of a name counts: 1 for requests, 2 for calls of the backend, 0 for anything else. About MAX_NAMES at
most.
"""
_SAVED: Final = tuple(f"cache|{result}" for result in SAVED_RESULTS)
_decode: Final = msgspec.json.Decoder(dict[str, int]).decode
_MONTH: Final = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])")


class Month(NamedTuple):
    """A month of UTC."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> "Month":
        """Parse a text such as `2026-01`. Raises ValueError."""
        if _MONTH.fullmatch(text) is None or text.startswith("0000"):
            raise ValueError("must be a month such as 2026-01")
        return cls(int(text[:4]), int(text[5:]))

    @classmethod
    def at(cls, seconds: float) -> "Month":
        moment = datetime.fromtimestamp(seconds, UTC)
        return cls(moment.year, moment.month)

    def earlier(self, months: int) -> "Month":
        """The month `months` earlier, at the earliest the first that a date can have."""
        index = max(12, self.year * 12 + self.number - 1 - months)
        return Month(index // 12, index % 12 + 1)

    @property
    def first_day(self) -> date:
        return date(self.year, self.number, 1)

    @property
    def starts(self) -> int:
        """When the month begins, in Unix seconds."""
        return int(datetime(self.year, self.number, 1, tzinfo=UTC).timestamp())

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


class Savings(msgspec.Struct, frozen=True, kw_only=True):
    """`calls` were answered from the cache. `seconds` is what as many calls of the month took, on average; `usd` is at
    the service's present `cost_per_call`. An empty `service` stands for all.
    """

    month: str
    service: str
    requests: int
    calls: int
    seconds: float
    usd: float


class SavingsReport(msgspec.Struct, frozen=True, kw_only=True):
    """`rows` and `months` have the latest month first. Months without requests are left out. `has_costs`: a service of
    `rows` has a `cost_per_call`.
    """

    first: Month
    last: Month
    rows: list[Savings]
    months: list[Savings]
    total: Savings
    has_costs: bool


class _Sums:
    """The counts of one service in one month."""

    __slots__ = ("backend_us", "calls", "requests", "saved")

    def __init__(self) -> None:
        self.requests = self.saved = self.calls = self.backend_us = 0

    def add(self, fields: Fields) -> None:
        try:
            requests, calls = _requests_and_calls(fields, _kinds)
        except KeyError:
            requests, calls = _requests_and_calls(fields, _learned(fields))
        self.requests += requests
        self.calls += calls
        self.saved += sum([fields.get(name, 0) for name in _SAVED])
        self.backend_us += fields.get("backend_us", 0)


def _requests_and_calls(fields: Fields, kinds: Mapping[str, int]) -> tuple[int, int]:
    """Both sums in one pass: a year has millions of fields. Raises KeyError for a name that is not in `kinds`."""
    requests = calls = 0
    for field, number in fields.items():
        if kind := kinds[field]:
            if kind == 1:
                requests += number
            else:
                calls += number
    return requests, calls


def _learned(fields: Fields) -> Mapping[str, int]:
    """The kinds of these names, which a process remembers: they return every day, and comparing their beginnings takes
    three times as long.
    """
    kinds = {
        field: 1 if field.startswith("requests|") else 2 if field.startswith("backend|") else 0 for field in fields
    }
    if len(_kinds) < MAX_NAMES:
        _kinds.update(kinds)
    return kinds


def report(first: Month, last: Month, names: Names = None) -> SavingsReport:
    """The savings of these services from month `first` to month `last`, both included. Raises DatabaseError."""
    costs = {name: service.policy.cost_per_call for name, service in selectors.configured_services().items()}
    counts = (each for each in _counts(first, last) if within(each[1], names))
    return summarise(counts, costs, first, last)


def summarise(
    counts: Iterable[tuple[int, str, Fields]], costs: Mapping[str, float], first: Month, last: Month
) -> SavingsReport:
    """`counts` are those of days, by Unix seconds and service. Requests that matched no service are left out."""
    found: defaultdict[tuple[Month, str], _Sums] = defaultdict(_Sums)
    month, month_of = first, -1
    for start, service, fields in counts:
        if service not in ("", GATEWAY):
            if start != month_of:
                month, month_of = Month.at(start), start
            found[month, service].add(fields)
    rows = [
        _savings(str(month), service, sums, costs.get(service, 0.0))
        for (month, service), sums in sorted(found.items(), key=lambda item: (_reversed(item[0][0]), item[0][1]))
        if sums.requests
    ]
    by_month: defaultdict[str, list[Savings]] = defaultdict(list)
    for row in rows:
        by_month[row.month].append(row)
    return SavingsReport(
        first=first,
        last=last,
        rows=rows,
        months=[total(several, month=month) for month, several in by_month.items()],
        total=total(rows),
        has_costs=any(costs.get(row.service) for row in rows),
    )


def _counts(first: Month, last: Month) -> Iterator[tuple[int, str, Fields]]:
    """Read row by row: a year of 200 services is 73,000 rows."""
    start, end = first.starts, last.earlier(-1).starts
    recent = int(selectors.now() // DAY - RECENT_DAYS + 1) * DAY
    for at, service, text in aggregates.iterate_texts(TimeResolution.DAY, start, min(end, recent)):
        yield at, service, _decode(text)
    begin = max(start, recent)
    if begin < end:
        pending = cluster_counts.pending_batches()
        yield from aggregates.iterate_counts(pending, TimeResolution.DAY, begin, end)


def _savings(month: str, service: str, sums: _Sums, cost: float) -> Savings:
    mean = sums.backend_us / sums.calls / 1e6 if sums.calls else 0.0
    return Savings(
        month=month,
        service=service,
        requests=sums.requests,
        calls=sums.saved,
        seconds=round(sums.saved * mean, 3),
        usd=round(sums.saved * cost, 6),
    )


def total(rows: Collection[Savings], *, month: str = "", service: str = "") -> Savings:
    return Savings(
        month=month,
        service=service,
        requests=sum(row.requests for row in rows),
        calls=sum(row.calls for row in rows),
        seconds=round(sum(row.seconds for row in rows), 3),
        usd=round(sum(row.usd for row in rows), 6),
    )


def _reversed(month: Month) -> int:
    return -(month.year * 12 + month.number)

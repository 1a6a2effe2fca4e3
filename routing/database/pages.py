"""Which rows of a large table one statement reads."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

from django.db.models import Q, QuerySet

from routing.configuration.faults import ConfigurationError

PAGE: Final = 2_000
BATCH: Final = 500
"""Ids in one statement: SQLite limits its parameters."""
CORRUPT: Final = (ValueError, TypeError, AttributeError, ConfigurationError)
"""What a value that no form and no command would have written raises when its row is read."""


class Span(NamedTuple):
    """Rows whose id is greater than `after`, and at most `last`; None is the end of the table."""

    after: int
    last: int | None

    def where(self, column: str = "pk") -> Q:
        start = Q(**{f"{column}__gt": self.after})
        return start if self.last is None else start & Q(**{f"{column}__lte": self.last})

    def contains(self, row: int) -> bool:
        return row > self.after and (self.last is None or row <= self.last)


class Ids(NamedTuple):
    """A page of rows by their ids."""

    ids: list[int]

    def where(self, column: str = "pk") -> Q:
        return Q(**{f"{column}__in": self.ids})

    def contains(self, row: int) -> bool:
        return row in self.ids


Selection = Span | Ids


def next_page(query: QuerySet[Any], after: int, size: int = PAGE) -> Span:
    """The next `size` rows after this id."""
    found = query.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[size - 1 : size]
    return Span(after, next(iter(found), None))


def pages(query: QuerySet[Any]) -> Iterator[Span]:
    """All rows. The last page has no end."""
    span = next_page(query, 0)
    while span.last is not None:
        yield span
        span = next_page(query, span.last)
    yield span


def batches(ids: Collection[int]) -> Iterator[Ids]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), BATCH):
        yield Ids(ordered[start : start + BATCH])


def readable(query: QuerySet[Any], columns: Sequence[str]) -> Iterator[tuple[int, tuple[Any, ...] | None]]:
    """The id and the values of each row, of which the first is the id: in one statement, or, if a value in any row
    cannot be read, one by one, with None for that row.
    """
    try:
        rows = list(query.values_list(*columns))
    except CORRUPT:
        for pk in list(query.values_list("pk", flat=True)):
            try:
                yield from [(pk, row) for row in query.filter(pk=pk).values_list(*columns)]
            except CORRUPT:
                yield pk, None
    else:
        for row in rows:
            yield row[0], row

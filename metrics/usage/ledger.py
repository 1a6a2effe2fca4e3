"""Usage in the database: each batch is added once, by its id, in one transaction. Blocks; called in a thread."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

from django.db import connection, transaction
from msgspec.structs import astuple

from metrics.models import Batch, DailyUsage
from metrics.usage.record import COUNT_FIELDS, OTHERS, Usage, UsageBatch, UsageKey, add, merge
from routing.database.connection import thread_connection

T = TypeVar("T")

CHUNK: Final = 500
"""Keys of one query."""
MAX_CALLER_ROWS: Final = 200_000
"""Rows of one day for callers without a consumer; further callers are added to OTHERS."""


_TABLE: Final = DailyUsage._meta.db_table
_COLUMNS: Final = ("key", *UsageKey._fields, *COUNT_FIELDS)
_ADD: Final = (
    f"INSERT INTO {_TABLE} ({', '.join(_COLUMNS)}, emitted, is_emitted) "  # noqa: S608 - names of the model
    f"VALUES ({', '.join(['%s'] * len(_COLUMNS))}, '[]', FALSE) ON CONFLICT (key) DO UPDATE SET is_emitted = FALSE, "
    + ", ".join(f"{name} = {_TABLE}.{name} + EXCLUDED.{name}" for name in COUNT_FIELDS)
)


class UsageLedger:
    """Raises DatabaseError."""

    def __init__(self, *, max_caller_rows: int = MAX_CALLER_ROWS) -> None:
        self._max_caller_rows = max_caller_rows

    @thread_connection()
    def save(self, batches: Sequence[UsageBatch]) -> None:
        """Add these batches. Those that were added before, by whichever worker, change nothing.

        The ids are written before the counts: a second transaction with the same id waits here for the first.
        """
        with transaction.atomic():
            new = [batch for batch in sorted(batches, key=_id) if Batch.objects.get_or_create(pk=batch.id)[1]]
            # In the order of digests, so that no two transactions wait for each other.
            rows = sorted((key.digest, key, counts) for key, counts in self._bounded(merge(new)).items())
            with connection.cursor() as cursor:
                cursor.executemany(_ADD, [(digest, *key, *astuple(counts)) for digest, key, counts in rows])

    def _bounded(self, usage: Usage) -> Usage:
        """Callers that would be too many for their day become OTHERS."""
        callers = [key for key in usage if key.caller and key.caller != OTHERS]
        if not callers:
            return usage
        stored: set[str] = set()
        for digests in _chunks((key.digest for key in callers), CHUNK):
            stored.update(DailyUsage.objects.filter(key__in=digests).values_list("key", flat=True))
        new = [key for key in callers if key.digest not in stored]
        full = {day for day in {key.day for key in new} if self._is_full(day)}
        folded: Usage = {}
        others = {key for key in new if key.day in full}
        for key, counts in usage.items():
            add(folded, key._replace(caller=OTHERS) if key in others else key, counts)
        return folded

    def _is_full(self, day: str) -> bool:
        return DailyUsage.objects.filter(day=day).exclude(caller="").count() >= self._max_caller_rows


def _id(batch: UsageBatch) -> str:
    return batch.id


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk

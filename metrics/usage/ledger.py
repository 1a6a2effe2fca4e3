"""Usage in the database: each batch is added once, by its id, in one transaction. Blocks; called in a thread."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

from django.db import connection, transaction
from msgspec.structs import astuple

from metrics.models import Batch, DailyUsage
from metrics.usage.record import COUNT_FIELDS, OTHERS, UsageBatch, UsageKey, merge
from routing.database.connection import thread_connection

T = TypeVar("T")

CHUNK: Final = 500
"""Keys of one query."""
MAX_CALLER_ROWS: Final = 200_000
"""Rows of one day for callers without a consumer; further callers are added to OTHERS."""


_TABLE: Final = DailyUsage._meta.db_table
_COLUMNS: Final = ("key", *UsageKey._fields, *COUNT_FIELDS)
_ADD: Final = (
    f"INSERT INTO {_TABLE} ({', '.join(_COLUMNS)}, last_at, emitted, is_emitted) "  # noqa: S608 - names of the model
    f"VALUES ({', '.join(['%s'] * len(_COLUMNS))}, %s, '[]', FALSE) "
    "ON CONFLICT (key) DO UPDATE SET is_emitted = FALSE, "
    f"last_at = CASE WHEN EXCLUDED.last_at > {_TABLE}.last_at THEN EXCLUDED.last_at ELSE {_TABLE}.last_at END, "
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
            surplus = self._surplus({key for batch in new for key, _ in batch.rows})

            def stored_as(key: UsageKey) -> UsageKey:
                return key._replace(caller=OTHERS, api_key="") if key in surplus else key

            usage = merge(new, stored_as)
            last = {stored_as(key): int(batch.at) for batch in sorted(new, key=_time) for key, _ in batch.rows}
            # In the order of digests, so that no two transactions wait for each other.
            rows = sorted((key.digest, key) for key in usage)
            with connection.cursor() as cursor:
                cursor.executemany(_ADD, [(digest, *key, *astuple(usage[key]), last[key]) for digest, key in rows])

    def _surplus(self, keys: Collection[UsageKey]) -> set[UsageKey]:
        """Those of callers that would be too many for their day: they become OTHERS."""
        callers = [key for key in keys if key.caller and key.caller != OTHERS]
        if not callers:
            return set()
        stored: set[str] = set()
        for digests in _chunks((key.digest for key in callers), CHUNK):
            stored.update(DailyUsage.objects.filter(key__in=digests).values_list("key", flat=True))
        new = [key for key in callers if key.digest not in stored]
        full = {day for day in {key.day for key in new} if self._is_full(day)}
        return {key for key in new if key.day in full}

    def _is_full(self, day: str) -> bool:
        return DailyUsage.objects.filter(day=day).exclude(caller="").count() >= self._max_caller_rows


def _id(batch: UsageBatch) -> str:
    return batch.id


def _time(batch: UsageBatch) -> float:
    return batch.at


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk

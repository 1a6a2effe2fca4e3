"""Deletes expired rows in small batches, each in a transaction of its own, so that nobody waits long for a lock."""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from metrics.models import Batch
from metrics.retention.tables import GrowingTable, Rows
from routing.database.connection import thread_connection

log = logging.getLogger(__name__)

BATCH_ROWS: Final = 500
PAUSE_SECONDS: Final = 0.05
"""Between two batches, for other writers of a SQLite database."""
INTERVAL_SECONDS: Final = 600


@thread_connection()
def claim(now: float) -> bool:
    """Whether this process is the first of the cluster in this interval."""
    _, is_new = Batch.objects.get_or_create(pk=f"retention-{int(now // INTERVAL_SECONDS)}")
    return is_new


@thread_connection()
def delete_expired(
    tables: Iterable[GrowingTable],
    now: datetime,
    *,
    pause: Callable[[float], object] = time.sleep,
    is_stopping: Callable[[], bool] = lambda: False,
) -> dict[str, int]:
    """How many rows were deleted of each table. Ends early, after a batch, once `is_stopping`."""
    deleted: dict[str, int] = {}
    for table in tables:
        found = _delete(table, table.expired(now), pause, is_stopping)
        found += _delete(table, beyond(table), pause, is_stopping)
        if found:
            deleted[table.name] = found
    if deleted:
        log.info("deleted expired rows: %s", ", ".join(f"{number} of {name}" for name, number in deleted.items()))
    return deleted


def beyond(table: GrowingTable) -> Rows:
    """The rows that are too many."""
    if table.limit.rows is None:
        return table.rows.none()
    newest = table.rows.order_by("-pk").values_list("pk", flat=True)
    first = newest[table.limit.rows : table.limit.rows + 1].first()
    return table.rows.none() if first is None else table.rows.filter(pk__lte=first)


def _delete(table: GrowingTable, rows: Rows, pause: Callable[[float], object], is_stopping: Callable[[], bool]) -> int:
    """Read first, so that no lock is held while rows are sought."""
    total, keys = 0, rows.order_by().values_list("pk", flat=True)
    while not is_stopping():
        batch = list(keys[:BATCH_ROWS])
        total += _delete_batch(table, batch) if batch else 0
        if len(batch) < BATCH_ROWS:
            break
        pause(PAUSE_SECONDS)
    return total


def _delete_batch(table: GrowingTable, keys: list[Any]) -> int:
    rows = table.rows.model._base_manager.filter(pk__in=keys)
    if table.is_observed:
        rows.delete()
    else:
        rows._raw_delete(rows.db)
    return len(keys)

"""Counts in the database: each batch is added to its minute, hour, day and the total in one transaction.

Adding to all resolutions at once makes later roll-ups unnecessary, and a late count still lands in its own hour.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
from django.db import DatabaseError, connection, transaction
from django.db.models import TextField
from django.db.models.functions import Cast

from metrics.counting.counts import GATEWAY, CountBatch, Fields, merge_counts
from metrics.counting.observer import CircuitTransition
from metrics.counting.spreading import (
    FAULT_PREFIXES,
    PATH_PREFIX,
    REFETCH_PREFIX,
    RESOLUTIONS,
    ROUTE_PREFIXES,
    SECONDS,
    AggregateKey,
    spread,
    without,
)
from metrics.models import Aggregate, Batch, CircuitChange, TimeResolution
from routing.database.connection import thread_connection

log = logging.getLogger(__name__)

MAX_PATHS_PER_ROW: Final = 200
"""Only the most frequent paths of a row are kept."""
MAX_READS: Final = 10
"""How often a read that overlaps the application of a batch is repeated."""
ROWS_PER_READ: Final = 250
"""Rows of periods that are read at a time: those of a year and all services would take hundreds of megabytes, and the
process would keep them.
"""
TEXTS_PER_READ: Final = 1_000
"""The same for texts, which take a tenth of the memory of what they are decoded into."""
MAX_FAULTS_PER_ROW: Final = 50
"""Only the most frequent faults of a row, and the callers hit most often, are kept."""
MAX_ROUTE_FIELDS: Final = 12_000
"""Per row and prefix: about 1,000 routes with their methods and durations."""

_Rows = list[tuple[int, str, str]]
"""Start, service, and the counts as JSON: read as text, which is decoded in a third of the time."""
_counts: Final = msgspec.json.Decoder(dict[str, int])

_UPDATE: Final = f"UPDATE {Aggregate._meta.db_table} SET counts = %s WHERE id = %s"  # noqa: S608 - no value is part of it
"""Django's own update of many rows takes four times as long as the rest of adding a batch."""

_last_read: Final[dict[TimeResolution, tuple[_Rows, set[str]]]] = {}
"""The latest TOTAL and RESET rows, and which batches they include."""


class AggregateWriter:
    """The Flusher's Database. All calls come from one thread."""

    @thread_connection()
    def apply(self, batch: CountBatch) -> None:
        with transaction.atomic():
            _, is_new = Batch.objects.get_or_create(pk=batch.id)
            if is_new:
                _add(spread(batch.counts, RESOLUTIONS, with_sums=True))

    @thread_connection()
    def record_transitions(self, transitions: list[CircuitTransition]) -> None:
        CircuitChange.objects.bulk_create(
            CircuitChange(
                at=datetime.fromtimestamp(transition.at, UTC),
                service=transition.service,
                before=transition.before,
                after=transition.after,
                reason=transition.reason[:500],
            )
            for transition in transitions
        )

    def disconnect(self) -> None:
        connection.close()


def set_baseline(counts: Mapping[str, Fields]) -> None:
    """Store `counts` by service as the RESET rows, which statistics subtract from the totals; replaces earlier ones."""
    with transaction.atomic():
        Aggregate.objects.filter(resolution=TimeResolution.RESET).delete()
        Aggregate.objects.bulk_create(
            Aggregate(resolution=TimeResolution.RESET, start=0, service=service, counts=dict(fields))
            for service, fields in counts.items()
        )


def read_counts(
    pending: Iterable[CountBatch],
    resolution: TimeResolution,
    start: float = 0,
    end: float = 0,
    service: str | None = None,
    *,
    with_paths: bool = False,
) -> dict[tuple[int, str], Counter[str]]:
    """What `iterate_counts` finds, by start and service: for few rows."""
    found = iterate_counts(pending, resolution, start, end, service, with_paths=with_paths)
    return {(at, owner): fields for at, owner, fields in found}


def iterate_counts(
    pending: Iterable[CountBatch],
    resolution: TimeResolution,
    start: float = 0,
    end: float = 0,
    service: str | None = None,
    *,
    with_paths: bool = False,
) -> Iterator[tuple[int, str, Counter[str]]]:
    """Start, service and counts, from the database and the `pending` batches that are not in it yet; earliest first.

    `service` None is all services one by one, and GATEWAY the sums over all of them. The paths of hours, which are more
    than all their other fields, are left out unless `with_paths`.
    `start` (inclusive) and `end` (exclusive) are Unix seconds, and do not apply to TOTAL and RESET. While the database
    is unavailable, those two are as this process last read them. At most ROWS_PER_READ rows are in memory at a time, or
    those of one period. Every batch is counted once, also one that is applied meanwhile.
    """
    batches = {batch.id: batch for batch in pending} if resolution in RESOLUTIONS else {}
    omitted = () if with_paths or resolution is not TimeResolution.HOUR else (PATH_PREFIX,)
    spreads = {
        identifier: spread(batch.counts, (resolution,), with_sums=service == GATEWAY)
        for identifier, batch in batches.items()
    }
    for piece in _pieces(batches.keys(), resolution, start, end, service, most=ROWS_PER_READ):
        counts = {(at, owner): Counter(without(_counts.decode(text), omitted)) for at, owner, text in piece.rows}
        for identifier in batches.keys() - piece.applied:
            for (_, at, owner), fields in spreads[identifier].items():
                if piece.start <= at < piece.end and service in (None, owner):
                    counts[at, owner] = merge_counts([counts.get((at, owner), {}), without(fields, omitted)])
        yield from ((at, owner, counts[at, owner]) for at, owner in sorted(counts))


def iterate_texts(resolution: TimeResolution, start: float, end: float) -> Iterator[tuple[int, str, str]]:
    """Start, service and counts as JSON, of all services: the rows in the database, for callers that decode a part."""
    for piece in _pieces((), resolution, start, end, None, most=TEXTS_PER_READ):
        yield from piece.rows


class _Piece(NamedTuple):
    """The rows that start between `start` (inclusive) and `end`, and which batches they include."""

    start: float
    end: float
    rows: _Rows
    applied: set[str]


def _pieces(
    batches: Collection[str],
    resolution: TimeResolution,
    start: float,
    end: float,
    service: str | None,
    *,
    most: int,
) -> Iterator[_Piece]:
    """All rows from `start` to `end`, in pieces of at most `most` rows, unless a single period has more. Not by a
    server-side cursor: behind a transaction pooler, it ends with its transaction.
    """
    if resolution not in SECONDS:
        yield _Piece(0, 1, *_read_or_recall(batches, resolution, service))
        return
    while start < end:
        rows, applied = _read_consistently(batches, resolution, service, (start, end), most + 1)
        until = end
        if len(rows) > most:  # the rows of the last period may be incomplete
            first, until = rows[0][0], rows[-1][0]
            rows = [row for row in rows if row[0] < until]
            if first == until:
                until = first + 1
                rows, applied = _read_consistently(batches, resolution, service, (first, until), None)
        yield _Piece(start, until, rows, applied)
        start = until


def _read_or_recall(
    batches: Collection[str], resolution: TimeResolution, service: str | None
) -> tuple[_Rows, set[str]]:
    """The rows of TOTAL or RESET. Raises DatabaseError for those of one service."""
    try:
        read = _read_consistently(batches, resolution, service)
    except DatabaseError:
        if service is not None:
            raise
        log.warning("the database is unavailable; the metrics are those last read, and what was counted since")
        return _last_read.get(resolution, ([], set()))
    if service is None:
        _last_read[resolution] = read
    return read


def _read_consistently(
    batches: Collection[str],
    resolution: TimeResolution,
    service: str | None,
    span: tuple[float, float] | None = None,
    limit: int | None = None,
) -> tuple[_Rows, set[str]]:
    """The rows, and which of `batches` they include. Reads again if one was applied meanwhile.

    Of those that start in `span`, the first `limit`.
    """
    query = Aggregate.objects.filter(resolution=resolution)
    if span is not None:
        query = query.filter(start__gte=span[0], start__lt=span[1]).order_by("start")
    query = query.exclude(service=GATEWAY) if service is None else query.filter(service=service)
    texts = query.annotate(text=Cast("counts", TextField())).values_list("start", "service", "text")[:limit]
    applied = _applied_batches(batches)
    for _ in range(MAX_READS):
        rows, before = list(texts.all()), applied
        applied = _applied_batches(batches)
        if applied == before:
            break
    return rows, applied


def _applied_batches(batches: Collection[str]) -> set[str]:
    if not batches:
        return set()
    return set(Batch.objects.filter(pk__in=list(batches)).values_list("pk", flat=True))


def _add(counts: dict[AggregateKey, Counter[str]]) -> None:
    Aggregate.objects.bulk_create(
        (Aggregate(resolution=resolution, start=start, service=service) for resolution, start, service in counts),
        ignore_conflicts=True,
    )
    rows = (
        Aggregate.objects.select_for_update()
        .filter(
            resolution__in={resolution for resolution, _, _ in counts},
            start__in={start for _, start, _ in counts},
            service__in={service for _, _, service in counts},
        )
        .order_by("pk")
        .annotate(text=Cast("counts", TextField()))
        .values_list("pk", "resolution", "start", "service", "text")
    )
    updated = [
        (_encoded(_limit(merge_counts([_counts.decode(text), counts[resolution, start, service]]))), pk)
        for pk, resolution, start, service, text in rows
        if (resolution, start, service) in counts
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_UPDATE, updated)


def _encoded(counts: dict[str, int]) -> str:
    return msgspec.json.encode(counts).decode()


def _limit(counts: Counter[str]) -> dict[str, int]:
    """Drop all but the most frequent paths, faults, callers and routes."""
    limits = {
        PATH_PREFIX: MAX_PATHS_PER_ROW,
        **dict.fromkeys(FAULT_PREFIXES, MAX_FAULTS_PER_ROW),
        **dict.fromkeys((*ROUTE_PREFIXES, REFETCH_PREFIX), MAX_ROUTE_FIELDS),
    }
    for prefix, limit in limits.items():
        found = [field for field in counts if field.startswith(prefix)]
        if len(found) > limit:
            for field in sorted(found, key=counts.__getitem__, reverse=True)[limit:]:
                del counts[field]
    return dict(counts)

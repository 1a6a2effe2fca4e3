"""Counts in the database: each batch is added to its minute, hour, day and the total in one transaction.

Adding to all resolutions at once makes later roll-ups unnecessary, and a late count still lands in its own hour.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
from django.db import DatabaseError, connection, transaction
from django.db.models import TextField
from django.db.models.functions import Cast

from metrics.counting.counts import GATEWAY, CountBatch, Fields, merge_counts, split_by_minute
from metrics.counting.observer import CircuitTransition
from metrics.models import Aggregate, Batch, CircuitChange, TimeResolution
from routing.database.connection import thread_connection

log = logging.getLogger(__name__)

RESOLUTION_SECONDS: Final = {TimeResolution.MINUTE: 60, TimeResolution.HOUR: 3_600, TimeResolution.DAY: 86_400}
ROUTE_SECONDS: Final = {TimeResolution.ROUTES_TEN_MINUTES: 600, TimeResolution.ROUTES_DAY: 86_400}
_SECONDS: Final = {**RESOLUTION_SECONDS, **ROUTE_SECONDS}
MAX_PATHS_PER_ROW: Final = 200
"""Only the most frequent paths of a row are kept."""
MAX_READS: Final = 10
"""How often a read that overlaps the application of a batch is repeated."""

PATH_PREFIX: Final = "path|"
REFETCH_PREFIX: Final = "refetch|"
FAULT_PREFIXES: Final = ("fault|", "affected|")
MAX_FAULTS_PER_ROW: Final = 50
"""Only the most frequent faults of a row, and the callers hit most often, are kept."""
ROUTE_PREFIXES: Final = ("route_duration|", "route_cache|")
MAX_ROUTE_FIELDS: Final = 12_000
"""Per row and prefix: about 1,000 routes with their methods and durations."""

_OMITTED: Final = {
    TimeResolution.MINUTE: (PATH_PREFIX, REFETCH_PREFIX, *ROUTE_PREFIXES),
    TimeResolution.HOUR: (REFETCH_PREFIX, *FAULT_PREFIXES, *ROUTE_PREFIXES),
    TimeResolution.DAY: (PATH_PREFIX, REFETCH_PREFIX, *FAULT_PREFIXES, *ROUTE_PREFIXES),
    TimeResolution.TOTAL: (PATH_PREFIX, REFETCH_PREFIX, *FAULT_PREFIXES, *ROUTE_PREFIXES),
}
"""Beginnings of the fields that rows of a resolution do not have: paths are kept per hour, faults per minute, repeated
fetches per day by route.
"""
_BY_ROUTE: Final = {
    TimeResolution.ROUTES_TEN_MINUTES: ("requests|", *ROUTE_PREFIXES),
    TimeResolution.ROUTES_DAY: ("requests|", *ROUTE_PREFIXES, REFETCH_PREFIX),
}
SUMMED: Final = frozenset({"requests", "duration", "duration_us", "backend", "backend_us", "cache", "code"})
"""The fields that are also summed over all services."""

_RESOLUTIONS: Final = (*_SECONDS, TimeResolution.TOTAL)
"""All that a batch is added to."""

AggregateKey = tuple[str, int, str]
"""Resolution, start in Unix seconds, service."""

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
                _add(_spread(batch.counts, _RESOLUTIONS, with_sums=True))

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
    """Counts by start and service, from the database and the `pending` batches that are not in it yet.

    `service` None is all services one by one, and GATEWAY the sums over all of them. The paths of hours, which are more
    than all their other fields, are left out unless `with_paths`.
    `start` (inclusive) and `end` (exclusive) are Unix seconds, and do not apply to TOTAL and RESET. While the database
    is unavailable, those two are as this process last read them.
    """
    batches = {batch.id: batch for batch in pending}
    rows, applied = _read_or_recall(batches.keys(), resolution, start, end, service)
    omitted = () if with_paths or resolution is not TimeResolution.HOUR else (PATH_PREFIX,)
    counts = {(at, owner): Counter(_without(_counts.decode(text), omitted)) for at, owner, text in rows}
    for identifier in batches.keys() - applied if resolution in _RESOLUTIONS else ():
        spread = _spread(batches[identifier].counts, (resolution,), with_sums=service == GATEWAY)
        for (_, at, owner), fields in spread.items():
            is_inside = resolution is TimeResolution.TOTAL or start <= at < end
            if is_inside and service in (None, owner):
                counts[at, owner] = merge_counts([counts.get((at, owner), {}), _without(fields, omitted)])
    return counts


def _read_or_recall(
    batches: Collection[str], resolution: TimeResolution, start: float, end: float, service: str | None
) -> tuple[_Rows, set[str]]:
    """Raises DatabaseError for the other resolutions, and for the counts of one service."""
    is_remembered = resolution not in _SECONDS and service is None
    try:
        read = _read_consistently(batches, resolution, start, end, service)
    except DatabaseError:
        if not is_remembered:
            raise
        log.warning("the database is unavailable; the metrics are those last read, and what was counted since")
        return _last_read.get(resolution, ([], set()))
    if is_remembered:
        _last_read[resolution] = read
    return read


def _read_consistently(
    batches: Collection[str], resolution: TimeResolution, start: float, end: float, service: str | None
) -> tuple[_Rows, set[str]]:
    """The rows, and which of `batches` they include. Reads again if one was applied meanwhile."""
    query = Aggregate.objects.filter(resolution=resolution)
    if resolution in _SECONDS:
        query = query.filter(start__gte=start, start__lt=end)
    query = query.exclude(service=GATEWAY) if service is None else query.filter(service=service)
    texts = query.annotate(text=Cast("counts", TextField())).values_list("start", "service", "text")
    applied = _applied_batches(batches)
    for _ in range(MAX_READS):
        rows, before = list(texts), applied
        applied = _applied_batches(batches)
        if applied == before:
            break
    return rows, applied


def _applied_batches(batches: Collection[str]) -> set[str]:
    return set(Batch.objects.filter(pk__in=list(batches)).values_list("pk", flat=True))


def _spread(
    counts: Fields, resolutions: Iterable[TimeResolution], *, with_sums: bool
) -> dict[AggregateKey, Counter[str]]:
    """A batch's counts in the rows of these resolutions; `with_sums` also in those of GATEWAY."""
    minutes = split_by_minute(counts)
    sums = _sums(minutes) if with_sums else {}
    found: defaultdict[AggregateKey, Counter[str]] = defaultdict(Counter)
    for resolution in resolutions:
        seconds = _SECONDS.get(resolution)
        summed = sums.items() if resolution in RESOLUTION_SECONDS else ()
        for (minute, service), fields in (*minutes.items(), *summed):
            start = 0 if seconds is None else minute // seconds * seconds
            found[resolution, start, service].update(_fields_of(resolution, fields))
    return {key: fields for key, fields in found.items() if fields}


def _sums(minutes: Mapping[tuple[int, str], Fields]) -> dict[tuple[int, str], Counter[str]]:
    """The counts of all services together, without the routes that requests are counted by."""
    found: defaultdict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for (minute, _), fields in minutes.items():
        summed = found[minute, GATEWAY]
        for field, number in fields.items():
            name = field.partition("|")[0]
            if name in SUMMED:
                summed[f"{'|'.join(field.split('|', 3)[:3])}|" if name == "requests" else field] += number
    return dict(found)


def _without(fields: Fields, prefixes: tuple[str, ...]) -> Fields:
    return {field: fields[field] for field in fields if not field.startswith(prefixes)} if prefixes else fields


def _fields_of(resolution: TimeResolution, fields: Fields) -> Fields:
    if resolution in _BY_ROUTE:
        return {field: number for field, number in fields.items() if field.startswith(_BY_ROUTE[resolution])}
    omitted = _OMITTED.get(resolution, ())
    return {field: number for field, number in fields.items() if not field.startswith(omitted)}


def _add(spread: dict[AggregateKey, Counter[str]]) -> None:
    Aggregate.objects.bulk_create(
        (Aggregate(resolution=resolution, start=start, service=service) for resolution, start, service in spread),
        ignore_conflicts=True,
    )
    rows = (
        Aggregate.objects.select_for_update()
        .filter(
            resolution__in={resolution for resolution, _, _ in spread},
            start__in={start for _, start, _ in spread},
            service__in={service for _, _, service in spread},
        )
        .order_by("pk")
        .annotate(text=Cast("counts", TextField()))
        .values_list("pk", "resolution", "start", "service", "text")
    )
    updated = [
        (_encoded(_limit(merge_counts([_counts.decode(text), spread[resolution, start, service]]))), pk)
        for pk, resolution, start, service, text in rows
        if (resolution, start, service) in spread
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

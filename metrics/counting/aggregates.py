"""The counts in the database: added in batches, each to its minute, hour, day and to the total, in one transaction.

Adding to all four at once needs no rolling up later, so a count that comes late is in the right place all the same.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import close_old_connections, connection, transaction

from metrics import models
from metrics.counting.counts import CountBatch, Fields, merged, split
from metrics.counting.observer import CircuitTransition
from metrics.models import Aggregate, CircuitChange, TimeResolution

SECONDS: Final = {TimeResolution.MINUTE: 60, TimeResolution.HOUR: 3_600, TimeResolution.DAY: 86_400}
KEPT: Final = {
    TimeResolution.MINUTE: timedelta(hours=48),
    TimeResolution.HOUR: timedelta(days=60),
    TimeResolution.DAY: timedelta(days=731),
}
BATCHES_KEPT: Final = timedelta(days=1)
"""How long a batch's id is remembered: no store offers one for longer."""
CHANGES_KEPT: Final = timedelta(days=60)
PATHS_KEPT: Final = 200
"""Paths in one row: the most frequent."""
READS: Final = 10
"""How often a read that a batch came in between is made again."""

PATH: Final = "path|"

Key = tuple[str, int, str]


class AggregateWriter:
    """The Flusher's Database. Its calls are made in one thread of a worker's own."""

    def apply(self, batch: CountBatch) -> None:
        close_old_connections()
        with transaction.atomic():
            _, is_new = models.Batch.objects.get_or_create(pk=batch.id)
            if is_new:
                _add(_spread(batch.counts))

    def record_transitions(self, changes: list[CircuitTransition]) -> None:
        close_old_connections()
        CircuitChange.objects.bulk_create(
            CircuitChange(
                at=datetime.fromtimestamp(change.at, UTC),
                service=change.service,
                before=change.before,
                after=change.after,
                reason=change.reason[:500],
            )
            for change in changes
        )

    def delete_expired(self, now: float) -> None:
        close_old_connections()
        moment = datetime.fromtimestamp(now, UTC)
        for resolution, age in KEPT.items():
            Aggregate.objects.filter(resolution=resolution, start__lt=(moment - age).timestamp()).delete()
        models.Batch.objects.filter(at__lt=moment - BATCHES_KEPT).delete()
        CircuitChange.objects.filter(at__lt=moment - CHANGES_KEPT).delete()

    def disconnect(self) -> None:
        connection.close()


def reset(counts: dict[str, Fields]) -> None:
    """Make what TOTAL says now, by service, what is subtracted from it: in place of the last reset."""
    with transaction.atomic():
        Aggregate.objects.filter(resolution=TimeResolution.RESET).delete()
        Aggregate.objects.bulk_create(
            Aggregate(resolution=TimeResolution.RESET, start=0, service=service, counts=dict(fields))
            for service, fields in counts.items()
        )


def read(
    pending: Iterable[CountBatch],
    resolution: TimeResolution,
    start: float = 0,
    end: float = 0,
    service: str | None = None,
) -> dict[tuple[int, str], Counter[str]]:
    """Counts by start and service, those from `start` until before `end` (not of TOTAL): the rows and what waits."""
    batches = {batch.id: batch for batch in pending}
    rows, known = _consistent(batches.keys(), resolution, start, end, service)
    found = {(row.start, row.service): Counter(row.counts) for row in rows}
    for identifier in batches.keys() - known:
        for (of, at, whose), fields in _spread(batches[identifier].counts).items():
            inside = of is TimeResolution.TOTAL or start <= at < end
            if of is resolution and inside and service in (None, whose):
                found[at, whose] = merged([found.get((at, whose), {}), fields])
    return found


def _consistent(
    batches: Collection[str], resolution: TimeResolution, start: float, end: float, service: str | None
) -> tuple[list[Aggregate], set[str]]:
    """The rows, and which batches are in them: read again as long as one has come in between."""
    query = Aggregate.objects.filter(resolution=resolution)
    if resolution in SECONDS:
        query = query.filter(start__gte=start, start__lt=end)
    if service is not None:
        query = query.filter(service=service)
    known = _known(batches)
    for _ in range(READS):
        rows, before = list(query), known
        known = _known(batches)
        if known == before:
            break
    return rows, known


def _known(batches: Collection[str]) -> set[str]:
    return set(models.Batch.objects.filter(pk__in=list(batches)).values_list("pk", flat=True))


def _spread(counts: Fields) -> dict[Key, Counter[str]]:
    """Minutes' counts as each resolution's. Paths are kept by the hour alone."""
    spread: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    for (minute, service), fields in split(counts).items():
        exact = Counter({field: number for field, number in fields.items() if not field.startswith(PATH)})
        for resolution, seconds in SECONDS.items():
            of = fields if resolution is TimeResolution.HOUR else exact
            spread[resolution, minute // seconds * seconds, service].update(of)
        spread[TimeResolution.TOTAL, 0, service].update(exact)
    return dict(spread)


def _add(spread: dict[Key, Counter[str]]) -> None:
    Aggregate.objects.bulk_create(
        (Aggregate(resolution=of, start=start, service=service) for of, start, service in spread),
        ignore_conflicts=True,
    )
    rows = [
        row
        for row in Aggregate.objects.select_for_update()
        .filter(
            resolution__in={of for of, _, _ in spread},
            start__in={start for _, start, _ in spread},
            service__in={service for _, _, service in spread},
        )
        .order_by("pk")
        if (row.resolution, row.start, row.service) in spread
    ]
    for row in rows:
        row.counts = _bounded(merged([row.counts, spread[row.resolution, row.start, row.service]]))
    Aggregate.objects.bulk_update(rows, ["counts"], batch_size=100)


def _bounded(counts: Counter[str]) -> dict[str, int]:
    """The counts, with no more paths than a row is to hold."""
    paths = sorted((field for field in counts if field.startswith(PATH)), key=counts.__getitem__, reverse=True)
    for field in paths[PATHS_KEPT:]:
        del counts[field]
    return dict(counts)

"""Counts of the whole cluster: those in the database and those of all workers that are not there yet."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from metrics.counting import aggregates
from metrics.counting.counts import CountBatch, Fields, PendingCounts
from metrics.counting.flusher import Flusher
from metrics.models import TimeResolution
from metrics.runtime_access import run_on_loop, running

OPEN_SECONDS: Final = 240
REREAD_SECONDS: Final = 20.0
CountsByService = dict[str, Counter[str]]


def pending() -> PendingCounts:
    return run_on_loop(running().flusher.pending())


def pending_batches() -> tuple[CountBatch, ...]:
    return pending().batches


def totals_and_gauges() -> tuple[CountsByService, dict[str, int]]:
    """All counts ever made, by service, regardless of resets; and the sums of all workers' gauges."""
    found = pending()
    return totals(found.batches), found.gauges


def totals(batches: Iterable[CountBatch]) -> CountsByService:
    """All counts ever made, by service, regardless of resets."""
    rows = aggregates.read_counts(batches, TimeResolution.TOTAL)
    return {name: fields for (_, name), fields in rows.items()}


def totals_since_reset(batches: Iterable[CountBatch]) -> CountsByService:
    """Totals, with the cache counts from before the last reset subtracted."""
    return since_reset(totals(batches))


def since_reset(ever: CountsByService) -> CountsByService:
    """All counts ever made, without the cache counts from before the last reset."""
    counts = dict(ever)
    for (_, name), baseline in aggregates.read_counts((), TimeResolution.RESET).items():
        if name in counts:
            counts[name] = Counter(counts[name])
            counts[name].subtract(baseline)
    return counts


def last_minutes(batches: Iterable[CountBatch], now: float, seconds: int) -> dict[tuple[int, str], Counter[str]]:
    """Counts by minute and service over the last `seconds`, including the current minute.

    What is added to minutes that are over for OPEN_SECONDS is seen within REREAD_SECONDS.
    """
    end = int(now // 60 + 1) * 60
    return _minutes.read(tuple(batches), end - seconds, end, now)


class _Minutes:
    """The minutes read last, of one gateway: few of them have changed a second later."""

    def __init__(self) -> None:
        self._kept: tuple[Flusher, int, float, dict[tuple[int, str], Counter[str]]] | None = None

    def read(
        self, batches: Sequence[CountBatch], start: int, end: int, now: float
    ) -> dict[tuple[int, str], Counter[str]]:
        rows, recent = self._rows(start, now), end - OPEN_SECONDS
        if rows is None:
            rows = aggregates.read_counts(batches, TimeResolution.MINUTE, start, end)
            self._kept = running().flusher, start, now, rows
            return rows
        counts = {key: fields for key, fields in rows.items() if start <= key[0] < recent}
        return counts | aggregates.read_counts(batches, TimeResolution.MINUTE, recent, end)

    def _rows(self, start: int, now: float) -> dict[tuple[int, str], Counter[str]] | None:
        """What is kept, if it is of the running gateway, recent, and begins early enough."""
        if self._kept is None:
            return None
        flusher, first, at, rows = self._kept
        is_usable = flusher is running().flusher and first <= start and 0 <= now - at < REREAD_SECONDS
        return rows if is_usable else None


_minutes: Final = _Minutes()


def merge_by_service(rows: Mapping[tuple[int, str], Fields]) -> CountsByService:
    by_service: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (_, name), fields in rows.items():
        by_service[name].update(fields)
    return dict(by_service)


def reset_cache_counts() -> None:
    """Let the cache statistics start from zero; the totals stay."""
    baseline = {
        name: {field: number for field, number in fields.items() if field.startswith("cache|")}
        for name, fields in totals(pending_batches()).items()
    }
    aggregates.set_baseline(baseline)

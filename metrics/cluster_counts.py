"""Counts of the whole cluster: those in the database and those of all workers that are not there yet."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from metrics.counting import aggregates
from metrics.counting.counts import CountBatch, Fields
from metrics.models import TimeResolution
from metrics.runtime_access import run_on_loop, running

CountsByService = dict[str, Counter[str]]


def pending_batches() -> tuple[CountBatch, ...]:
    return run_on_loop(running().flusher.pending()).batches


def totals_and_gauges() -> tuple[CountsByService, dict[str, int]]:
    """All counts ever made, by service, regardless of resets; and the sums of all workers' gauges."""
    pending = run_on_loop(running().flusher.pending())
    return totals(pending.batches), pending.gauges


def totals(pending: Iterable[CountBatch]) -> CountsByService:
    """All counts ever made, by service, regardless of resets."""
    rows = aggregates.read_counts(pending, TimeResolution.TOTAL)
    return {name: fields for (_, name), fields in rows.items()}


def totals_since_reset(pending: Iterable[CountBatch]) -> CountsByService:
    """Totals, with the cache counts from before the last reset subtracted."""
    counts = totals(pending)
    for (_, name), baseline in aggregates.read_counts((), TimeResolution.RESET).items():
        counts.get(name, Counter()).subtract(baseline)
    return counts


def last_minutes(pending: Iterable[CountBatch], now: float, seconds: int) -> dict[tuple[int, str], Counter[str]]:
    """Counts by minute and service over the last `seconds`, including the current minute."""
    end = int(now // 60 + 1) * 60
    return aggregates.read_counts(pending, TimeResolution.MINUTE, end - seconds, end)


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

"""Statistics in steps of time. For Django's threads: it blocks."""

from collections import defaultdict
from typing import Final

from django.conf import settings

from metrics import cluster_counts, selectors
from metrics.cluster_counts import CountsByService
from metrics.counting import aggregates
from metrics.counting.counts import merge_counts
from metrics.models import TimeResolution
from metrics.read_models import Point
from metrics.stats import traffic_stats

MAX_POINTS: Final = 2_000
"""Steps of one history."""


def history(service: str | None, start: float, end: float, step: int) -> list[Point]:
    """Statistics from `start` to `end` (Unix seconds) in steps of `step` seconds; of all services if `service` is None.

    Steps without requests are included. A step is extended to the resolution that is still stored for that time, and
    starts at a multiple of its length. Raises ServiceNotConfigured, and ValueError for an invalid range.
    """
    if service:
        selectors.get_service(service)
    resolution = stored_resolution(start, step)
    unit = aggregates.RESOLUTION_SECONDS[resolution]
    step = max(unit, step // unit * unit)
    begin = int(start // step) * step
    starts = range(begin, max(begin, int(end)), step)
    if start >= end or not 0 < len(starts) <= MAX_POINTS:
        raise ValueError(f"from must be before to, with at most {MAX_POINTS} steps between")
    rows = aggregates.read_counts(cluster_counts.pending_batches(), resolution, begin, starts[-1] + step, service)
    steps: defaultdict[int, CountsByService] = defaultdict(dict)
    for (at, name), fields in rows.items():
        by_service = steps[at // step * step]
        by_service[name] = merge_counts([by_service.get(name, {}), fields])
    costs = selectors.costs_per_call()
    return [Point(start=at, stats=traffic_stats(steps.get(at, {}), costs)) for at in starts]


def stored_resolution(start: float, step: int) -> TimeResolution:
    """The coarsest resolution not above `step` that is still stored from `start` on, or else the next coarser one."""
    age = selectors.now() - start
    for resolution, coarser in ((TimeResolution.MINUTE, 3_600), (TimeResolution.HOUR, 86_400)):
        if step < coarser and age <= settings.CONFIG.retention[f"{resolution.value}s"].seconds:
            return resolution
    return TimeResolution.DAY

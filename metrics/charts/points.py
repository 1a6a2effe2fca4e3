"""Statistics in steps of time. For Django's threads: it blocks."""

from itertools import chain, groupby
from typing import Final

from django.conf import settings

from metrics import cluster_counts, selectors
from metrics.counting import aggregates
from metrics.counting.counts import GATEWAY, merge_counts
from metrics.counting.spreading import RESOLUTION_SECONDS
from metrics.models import TimeResolution
from metrics.read_models import Point, RequestStats
from metrics.stats import request_stats
from routing.rights import Names

MAX_POINTS: Final = 2_000
"""The most steps of one history."""


def history(service: str | None, start: float, end: float, step: int, names: Names = None) -> list[Point]:
    """Statistics from `start` to `end` (Unix seconds) in steps of `step` seconds; of all services together, or of
    these, if `service` is None.

    Steps without requests are included. A step is extended to the resolution that is still stored for that time, and
    starts at a multiple of its length. Raises ServiceNotConfigured, and ValueError for an invalid range.
    """
    if service:
        selectors.get_service(service)
    resolution = stored_resolution(start, step)
    unit = RESOLUTION_SECONDS[resolution]
    step = max(unit, step // unit * unit)
    begin = int(start // step) * step
    starts = range(begin, max(begin, int(end)), step)
    if start >= end or not 0 < len(starts) <= MAX_POINTS:
        raise ValueError(f"from must be before to, with at most {MAX_POINTS} steps between")
    pending = cluster_counts.pending_batches()
    everything = [GATEWAY] if names is None else sorted(names)
    owners = everything if service is None else [service]
    several = [aggregates.iterate_counts(pending, resolution, begin, starts[-1] + step, owner) for owner in owners]
    rows = several[0] if len(several) == 1 else sorted(chain.from_iterable(several), key=lambda row: row[0])
    found = {
        at: request_stats(merge_counts(fields for _, _, fields in group))
        for at, group in groupby(rows, lambda row: row[0] // step * step)
    }
    return [Point(start=at, stats=found.get(at, RequestStats())) for at in starts]


def stored_resolution(start: float, step: int) -> TimeResolution:
    """The coarsest resolution not above `step` that is still stored from `start` on, or else the next coarser one."""
    age = selectors.now() - start
    for resolution, coarser in ((TimeResolution.MINUTE, 3_600), (TimeResolution.HOUR, 86_400)):
        if step < coarser and age <= settings.CONFIG.retention[f"{resolution.value}s"].seconds:
            return resolution
    return TimeResolution.DAY

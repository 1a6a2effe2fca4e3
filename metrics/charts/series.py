"""What charts show over a range: requests by status class, latencies, their distribution, and the hit rate.

For Django's threads: it blocks. Reads at most some thousand rows, of one service or of the sums over all services.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Final

import msgspec
from django.conf import settings

from metrics import cluster_counts, selectors
from metrics.charts.ranges import Range, steps_of
from metrics.counting import aggregates
from metrics.counting.counts import GATEWAY, Fields, buckets, with_prefix
from metrics.counting.histogram import COARSE_BOUNDS, coarse, quantiles
from metrics.counting.spreading import RESOLUTION_SECONDS
from metrics.models import TimeResolution
from metrics.stats import SHARES, hit_rate, hits_and_misses, status_classes
from resilience.durations import WEEK
from routing.rights import Names

CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One value for each step. Latencies are seconds. `heat` has `[step, bucket, requests]`, of COARSE_BOUNDS, and
    `hit_rate` percentages. Values are None where there is nothing to measure.
    """

    start: int
    end: int
    step: int
    requests: list[int]
    classes: dict[str, list[int]]
    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]
    hit_rate: list[float | None]
    heat: list[tuple[int, int, int]]

    @property
    def times(self) -> range:
        return range(self.start, self.end, self.step)


def read_series(service: str | None, start: float, end: float, names: Names = None) -> Series:
    """The series of `service`; if it is None, of all services together, or of those in `names`. Raises
    ServiceNotConfigured.
    """
    if service is not None:
        selectors.get_service(service)
    shown = steps_of(start, end, selectors.now(), _kept())
    everything = (GATEWAY,) if names is None else sorted(names)
    pending = cluster_counts.pending_batches()
    steps: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for owner in everything if service is None else (service,):
        rows = aggregates.read_counts(pending, shown.resolution, shown.start, shown.end, owner)
        for (at, _), fields in rows.items():
            steps[(at - shown.start) // shown.step].update(fields)
    return series_of(shown, steps)


def read_week_before(service: str | None, start: float, end: float, names: Names = None) -> Series:
    """The same a week earlier, in the steps that are still stored. Its times are those of that week."""
    return read_series(service, start - WEEK, end - WEEK, names)


def series_of(shown: Range, steps: Mapping[int, Fields]) -> Series:
    """The series of a range. `steps` are counts by the number of their step."""
    number = len(shown.times)
    fields = [steps.get(index, {}) for index in range(number)]
    classes = [status_classes(each) for each in fields]
    durations = [buckets(each, "duration") for each in fields]
    latencies = [quantiles(each, SHARES) for each in durations]
    present = [name for name in CLASSES if any(name in each for each in classes)]
    return Series(
        start=shown.start,
        end=shown.end,
        step=shown.step,
        requests=[sum(each.values()) for each in classes],
        classes={name: [each.get(name, 0) for each in classes] for name in present},
        p50=[each[0] for each in latencies],
        p95=[each[1] for each in latencies],
        p99=[each[2] for each in latencies],
        hit_rate=[_hit_rate(each) for each in fields],
        heat=[
            (index, bucket, count)
            for index, each in enumerate(durations)
            for bucket, count in sorted(coarse(each).items())
        ],
    )


def bucket_bounds(number: int) -> tuple[float, float]:
    """The seconds between which the durations of a coarse bucket are."""
    low = COARSE_BOUNDS[number - 1] if number else 0.0
    return low, COARSE_BOUNDS[min(number, len(COARSE_BOUNDS) - 1)]


def _hit_rate(fields: Fields) -> float | None:
    """None without lookups: a line at zero would be wrong."""
    hits, misses = hits_and_misses(with_prefix(fields, "cache"))
    return hit_rate(hits, misses) if hits + misses else None


def _kept() -> dict[TimeResolution, float]:
    retention = settings.CONFIG.retention
    return {resolution: retention[f"{resolution.value}s"].seconds for resolution in RESOLUTION_SECONDS}

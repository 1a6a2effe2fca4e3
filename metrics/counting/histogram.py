"""Histograms of durations: buckets of two significant decimal digits, 90 per decade, from 10 microseconds to 1,000 s.

A bucket includes its upper bound and excludes its lower one. Its representative value is the harmonic mean of its
bounds, which has the same relative error at both: at most 4.8 % (between 1.0 and 1.1 of a decade). Histograms merge
by adding counts. Every bucket bound shown to Prometheus is one of BOUNDS, so its buckets are exact.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil
from typing import Final

BOUNDS: Final = (*(float(f"{digits}e{power}") for power in range(-6, 2) for digits in range(10, 100)), 1000.0)
"""Upper bounds of the buckets, in seconds."""
PROMETHEUS_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The bounds exposed to Prometheus, in seconds."""
COARSE_BOUNDS: Final = (
    *(float(f"{digits}e{power}") for power in range(-6, 2) for digits in (10, 12, 16, 20, 25, 32, 40, 50, 63, 80)),
    1000.0,
)
"""Upper bounds of the coarse buckets, ten per decade, in seconds. Values are within 13 %."""
_COARSE: Final = (*(bisect_left(COARSE_BOUNDS, bound) for bound in BOUNDS), len(COARSE_BOUNDS))


def bucket(seconds: float) -> int:
    """The bucket's number: 0 holds everything up to the first bound, len(BOUNDS) everything above the last."""
    return bisect_left(BOUNDS, seconds)


def coarse(buckets: Mapping[int, int]) -> dict[int, int]:
    """The same durations in the buckets of COARSE_BOUNDS."""
    found: dict[int, int] = {}
    for number, count in buckets.items():
        wide = _COARSE[min(number, len(BOUNDS))]
        found[wide] = found.get(wide, 0) + count
    return found


def bucket_value(number: int, bounds: Sequence[float] = BOUNDS) -> float:
    """The representative value of a bucket, in seconds."""
    if number == 0:
        return bounds[0]
    if number >= len(bounds):
        return bounds[-1]
    low, high = bounds[number - 1], bounds[number]
    return 2 * low * high / (low + high)


def quantiles(
    buckets: Mapping[int, int], shares: Sequence[float], bounds: Sequence[float] = BOUNDS
) -> list[float | None]:
    """The quantile in seconds for each of `shares` (0.95 for p95, in any order); None if the histogram is empty."""
    numbers = sorted(buckets)
    sums = list(accumulate(buckets[number] for number in numbers))
    if not sums or not sums[-1]:
        return [None] * len(shares)
    return [bucket_value(numbers[bisect_left(sums, max(1, ceil(share * sums[-1])))], bounds) for share in shares]


def count_at_most(buckets: Mapping[int, int], bound: float) -> int:
    """How many durations were at most `bound` seconds: exact if it is one of BOUNDS."""
    last = bisect_left(BOUNDS, bound)
    return sum(count for number, count in buckets.items() if number <= last)

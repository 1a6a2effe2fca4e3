"""Durations in buckets of two decimal digits: 90 to a decade, from 10 microseconds to 1,000 seconds.

A bucket reaches from above one bound to the next, that one included. Its value is told as the mean that is wrong by
the same part at either end: by 4.8 % at most, between 1.0 and 1.1 of a decade. Histograms merge by adding counts, and
every bound Prometheus is given is a bound of ours, so its buckets are exact.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil
from typing import Final

BOUNDS: Final = (*(float(f"{digits}e{power}") for power in range(-6, 2) for digits in range(10, 100)), 1000.0)
"""Seconds."""
SHOWN: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The bounds that Prometheus is given."""


def bucket(seconds: float) -> int:
    """The bucket's number: 0 is all up to the first bound, len(BOUNDS) all beyond the last."""
    return bisect_left(BOUNDS, seconds)


def value(number: int) -> float:
    """The seconds that stand for a bucket."""
    if number == 0:
        return BOUNDS[0]
    if number >= len(BOUNDS):
        return BOUNDS[-1]
    low, high = BOUNDS[number - 1], BOUNDS[number]
    return 2 * low * high / (low + high)


def quantiles(buckets: Mapping[int, int], parts: Sequence[float]) -> list[float | None]:
    """The seconds that each of `parts` (0.95; ascending or not) of the durations did not exceed; None without any."""
    numbers = sorted(buckets)
    sums = list(accumulate(buckets[number] for number in numbers))
    if not sums or not sums[-1]:
        return [None] * len(parts)
    return [value(numbers[bisect_left(sums, max(1, ceil(part * sums[-1])))]) for part in parts]


def up_to(buckets: Mapping[int, int], bound: float) -> int:
    """How many durations were at most `bound` seconds: exact where it is one of BOUNDS."""
    last = bisect_left(BOUNDS, bound)
    return sum(count for number, count in buckets.items() if number <= last)

"""Times between two fetches of a response, in buckets of half an octave. Pure."""

import math
from typing import Final

MAX_BUCKET: Final = 50
"""The bucket of an interval of a year, and of longer ones."""


def interval_bucket(seconds: float) -> int:
    return min(MAX_BUCKET, max(0, round(2 * math.log2(max(seconds, 1.0)))))


def interval_of(bucket: int) -> float:
    """The seconds in the middle of a bucket."""
    return float(2 ** (bucket / 2))

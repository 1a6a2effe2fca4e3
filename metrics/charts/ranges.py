"""Ranges of time, and the steps in which they are shown: few, and of rows that are still stored. Pure."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from metrics.counting.spreading import RESOLUTION_SECONDS
from metrics.models import TimeResolution
from resilience.durations import DAY, HOUR, WEEK

PRESETS: Final = {
    "15m": 900,
    "1h": HOUR,
    "6h": 6 * HOUR,
    "24h": DAY,
    "7d": WEEK,
    "30d": 30 * DAY,
    "90d": 90 * DAY,
}
"""Lengths in seconds, by name."""
DEFAULT: Final = "1h"
MIN_SECONDS: Final = 300
MAX_SECONDS: Final = 731 * DAY
MAX_STEPS: Final = 125
STEPS: Final = (60, 120, 300, 900, 1_800, HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY, WEEK)
LONGEST: Final = {TimeResolution.MINUTE: 26 * HOUR, TimeResolution.HOUR: 35 * DAY}
"""The longest range that is read from rows of a resolution: 1,560 minutes, 840 hours."""


class Range(NamedTuple):
    """Steps of `step` seconds, the first of which begins at `start` (Unix seconds), before `end`."""

    start: int
    end: int
    step: int
    resolution: TimeResolution

    @property
    def times(self) -> range:
        return range(self.start, self.end, self.step)


def steps_of(start: float, end: float, now: float, kept: Mapping[TimeResolution, float]) -> Range:
    """The shortest steps that are allowed. `kept` says how many seconds rows of a resolution are stored.

    The last step may end after `end`: it is the current one, or the one in which the range ends.
    """
    length = end - start
    for step in STEPS:
        resolution = _resolution(step, length, now - start, kept)
        if resolution is None or -(-length // step) > MAX_STEPS:
            continue
        return _aligned(start, end, step, resolution)
    return _aligned(start, end, WEEK, TimeResolution.DAY)


def _resolution(step: int, length: float, age: float, kept: Mapping[TimeResolution, float]) -> TimeResolution | None:
    """The coarsest resolution of which a step consists, if its rows are stored and few enough."""
    if step >= DAY:
        return TimeResolution.DAY
    for resolution in (TimeResolution.HOUR, TimeResolution.MINUTE):
        if step % RESOLUTION_SECONDS[resolution] == 0:
            # Rows are deleted when they are older than that: the first step may just have gone.
            is_stored = age <= kept[resolution] + step
            return resolution if is_stored and length <= LONGEST[resolution] else None
    return None


def _aligned(start: float, end: float, step: int, resolution: TimeResolution) -> Range:
    first = int(start // step) * step
    return Range(first, max(first + step, -(-int(end) // step) * step), step, resolution)

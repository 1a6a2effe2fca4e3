"""The steps in which a range of time is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.charts.ranges import LONGEST, MAX_SECONDS, MAX_STEPS, PRESETS, steps_of
from metrics.counting.spreading import RESOLUTION_SECONDS
from metrics.models import TimeResolution
from resilience.durations import DAY, HOUR, WEEK

NOW = 1_700_000_123.5
KEPT = {TimeResolution.MINUTE: 48.0 * HOUR, TimeResolution.HOUR: 60.0 * DAY, TimeResolution.DAY: 731.0 * DAY}
MINUTES, HOURS, DAYS = TimeResolution.MINUTE, TimeResolution.HOUR, TimeResolution.DAY


@pytest.mark.parametrize(
    ("name", "step", "resolution"),
    [
        ("15m", 60, MINUTES),
        ("1h", 60, MINUTES),
        ("6h", 300, MINUTES),
        ("24h", 900, MINUTES),
        ("7d", 2 * HOUR, HOURS),
        ("30d", 6 * HOUR, HOURS),
        ("90d", DAY, DAYS),
    ],
)
def test_each_preset_has_round_steps(name: str, step: int, resolution: TimeResolution) -> None:
    found = steps_of(NOW - PRESETS[name], NOW, NOW, KEPT)
    assert (found.step, found.resolution) == (step, resolution)
    assert found.start % step == found.end % step == 0
    assert found.times[-1] <= NOW < found.end


def test_what_is_no_longer_stored_by_minute_is_shown_by_hour_and_then_by_day() -> None:
    assert steps_of(NOW - WEEK - HOUR, NOW - WEEK, NOW, KEPT).resolution is HOURS
    assert steps_of(NOW - 70 * DAY, NOW - 69 * DAY, NOW, KEPT).resolution is DAYS
    short = {**KEPT, TimeResolution.MINUTE: 2.0 * HOUR}
    assert steps_of(NOW - 6 * HOUR, NOW, NOW, short).resolution is HOURS


@given(st.floats(300, MAX_SECONDS), st.floats(0, 300 * DAY))
def test_the_rows_that_are_read_are_few(length: float, age: float) -> None:
    end = NOW - age
    found = steps_of(end - length, end, NOW, KEPT)
    assert found.start <= end - length
    assert found.end >= end - 1
    assert len(found.times) <= MAX_STEPS + 1
    rows = (found.end - found.start) / RESOLUTION_SECONDS[found.resolution]
    assert rows <= max(LONGEST[MINUTES] / 60 + 60, LONGEST[HOURS] / HOUR + 24, 745)

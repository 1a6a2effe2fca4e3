"""The sliding window: no window holds more than the limit, wherever it begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.ratelimit.policy import SLICES, RatePolicy
from resilience.ratelimit.window import SlidingWindow

POLICY = RatePolicy()


def test_of_150_rapid_requests_exactly_100_pass() -> None:
    window = SlidingWindow()
    passed = [window.take(POLICY, 1_000.9 + number / 100).allowed for number in range(150)]
    assert passed == [True] * 100 + [False] * 50


def test_a_full_window_reports_when_it_frees_and_then_does() -> None:
    window = SlidingWindow()
    window.take(POLICY, 1_000.0, 100)
    refused = window.take(POLICY, 1_010.0)
    assert (refused.allowed, refused.remaining, refused.reset) == (False, 0, 51.0)
    assert not window.take(POLICY, 1_060.9).allowed
    assert window.take(POLICY, 1_061.0).allowed


def test_a_block_is_limited_to_the_remaining_requests() -> None:
    window = SlidingWindow()
    window.take(POLICY, 0.0, 95)
    assert window.take(POLICY, 1.0, 10).granted == 5


@pytest.mark.parametrize(
    ("text", "limit", "window"),
    [("100/m", 100, 60.0), ("10/s", 10, 1.0), ("20/10s", 20, 10.0), ("5/h", 5, 3_600.0), ("1/d", 1, 86_400.0)],
)
def test_a_rate_is_parsed(text: str, limit: int, window: float) -> None:
    assert RatePolicy.parse(text) == RatePolicy(limit, window)


@pytest.mark.parametrize("text", ["", "100", "100/", "/m", "-1/m", "0/m", "1.5/m", "100/w", "100/0s", "10/9999d"])
def test_any_other_text_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        RatePolicy.parse(text)


def test_a_request_late_in_its_slice_still_counts_a_window_later() -> None:
    window = SlidingWindow()
    window.take(POLICY, 1_000.9, 100)
    assert not window.take(POLICY, 1_060.0).allowed
    assert window.take(POLICY, 1_061.0).allowed


@given(
    limit=st.integers(1, 50),
    seconds=st.sampled_from([1.0, 10.0, 60.0]),
    gaps=st.lists(st.floats(0, 5), max_size=200),
)
def test_no_window_ever_holds_more_than_the_limit(limit: int, seconds: float, gaps: list[float]) -> None:
    policy, window, now = RatePolicy(limit, seconds), SlidingWindow(), 1_000.0
    passed: list[float] = []
    for gap in gaps:
        now += gap
        if window.take(policy, now).allowed:
            passed.append(now)
    for index, start in enumerate(passed):
        # With a tolerance for the rounding of float arithmetic.
        assert sum(1 for at in passed[index:] if at < start + seconds - 1e-6) <= limit


def test_a_clock_that_is_set_back_refuses_nobody_for_longer_than_a_window() -> None:
    """By less, the requests are still counted: they may be those of the last seconds."""
    window = SlidingWindow()
    window.take(POLICY, 10_000.0, 100)
    assert not window.take(POLICY, 9_960.0).allowed
    back = window.take(POLICY, 6_400.0, 100)
    assert (back.granted, back.remaining) == (100, 0)
    assert 0 < back.reset <= POLICY.window + POLICY.window / SLICES
    assert not window.take(POLICY, 6_410.0).allowed
    assert window.take(POLICY, 6_461.0).allowed

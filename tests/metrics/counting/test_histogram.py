"""Histograms are accurate to five per cent, and exact at the bounds exposed to Prometheus."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.counting.histogram import BOUNDS, PROMETHEUS_BOUNDS, bucket, bucket_value, count_at_most, quantiles

seconds = st.floats(1e-5, 1_000)


@given(seconds)
def test_a_buckets_value_is_within_five_per_cent_of_its_durations(duration: float) -> None:
    assert bucket_value(bucket(duration)) == pytest.approx(duration, rel=0.05)


@given(st.lists(seconds, min_size=1), st.floats(0, 1))
def test_a_quantile_is_within_five_per_cent_of_the_true_one(durations: list[float], part: float) -> None:
    durations.sort()
    true = durations[max(0, min(len(durations), -int(-part * len(durations) // 1)) - 1)]
    quantile = quantiles(Counter(map(bucket, durations)), [part])[0]
    assert quantile == pytest.approx(true, rel=0.05)


@given(st.lists(seconds), st.lists(seconds), st.sampled_from(PROMETHEUS_BOUNDS))
def test_merged_histograms_count_exactly_at_prometheus_bounds(a: list[float], b: list[float], le: float) -> None:
    both = Counter(map(bucket, a)) + Counter(map(bucket, b))
    assert count_at_most(both, le) == sum(duration <= le for duration in a + b)


def test_a_bucket_includes_its_upper_bound() -> None:
    assert all(count_at_most({bucket(le): 1}, le) == 1 for le in PROMETHEUS_BOUNDS)
    assert set(PROMETHEUS_BOUNDS) < set(BOUNDS)


@pytest.mark.parametrize("duration", [0.0, -1.0, 1e9])
def test_out_of_range_durations_are_counted_in_the_outer_buckets(duration: float) -> None:
    assert bucket_value(bucket(duration)) in (BOUNDS[0], BOUNDS[-1])


def test_an_empty_histogram_has_no_quantiles() -> None:
    assert quantiles({}, [0.5, 0.99]) == [None, None]

import math

import pytest

from benchmarks.stats import Threshold, median_ratio, percentile, table, verdict


class TestPercentiles:
    @pytest.mark.parametrize(("share", "value"), [(50, 50), (95, 95), (99, 99), (99.9, 100), (100, 100), (0, 1)])
    def test_it_is_the_smallest_value_that_covers_the_share(self, share: float, value: int) -> None:
        assert percentile(range(1, 101), share) == value

    def test_a_single_value_is_every_percentile(self) -> None:
        assert percentile([7.0], 99.9) == 7.0


class TestRatios:
    def test_a_ratio_is_computed_round_by_round(self) -> None:
        """A round in which the machine was busy slows both sides and leaves the ratio unchanged."""
        assert median_ratio([100, 10, 100], [50, 5, 50]) == 2.0

    def test_one_outlier_does_not_change_the_median(self) -> None:
        assert median_ratio([100, 1, 100], [50, 50, 50]) == 2.0

    def test_a_round_without_responses_is_ignored(self) -> None:
        assert median_ratio([100, 100], [50, 0]) == 2.0
        assert math.isnan(median_ratio([100], [0]))

    def test_unequal_numbers_of_rounds_are_an_error(self) -> None:
        with pytest.raises(ValueError, match="zip"):
            median_ratio([1, 2], [1])


class TestThresholds:
    @pytest.mark.parametrize(("value", "expected"), [(0.6, "pass"), (0.61, "pass"), (0.59, "**fail**")])
    def test_a_minimum_is_inclusive(self, value: float, expected: str) -> None:
        assert verdict(value, Threshold(0.6)) == expected

    @pytest.mark.parametrize(("value", "expected"), [(3.0, "pass"), (3.1, "**fail**")])
    def test_a_maximum_is_inclusive(self, value: float, expected: str) -> None:
        assert verdict(value, Threshold(3, maximum=True)) == expected

    def test_without_a_threshold_there_is_no_verdict(self) -> None:
        assert verdict(0.1, None) == ""

    def test_a_missing_value_fails_any_threshold(self) -> None:
        assert verdict(math.nan, Threshold(0.6)) == "**fail**"


def test_a_table_is_aligned_markdown() -> None:
    assert table(["who", "ratio"], [["nginx", "0.61"], ["us", "1.00"]]) == (
        "| who   | ratio |\n|:------|------:|\n| nginx |  0.61 |\n| us    |  1.00 |\n"
    )

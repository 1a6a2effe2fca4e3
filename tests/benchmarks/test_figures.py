import math

import pytest

from benchmarks.stats import Threshold, median_ratio, percentile, table, verdict


class TestPercentiles:
    @pytest.mark.parametrize(("share", "value"), [(50, 50), (95, 95), (99, 99), (99.9, 100), (100, 100), (0, 1)])
    def test_it_is_the_smallest_value_that_so_many_are_not_above(self, share: float, value: int) -> None:
        assert percentile(range(1, 101), share) == value

    def test_of_one_value_it_is_that(self) -> None:
        assert percentile([7.0], 99.9) == 7.0


class TestRatios:
    def test_it_is_taken_round_by_round(self) -> None:
        """A machine that was busy for one round slowed both sides of it: the ratio does not move."""
        assert median_ratio([100, 10, 100], [50, 5, 50]) == 2.0

    def test_one_odd_round_does_not_decide(self) -> None:
        assert median_ratio([100, 1, 100], [50, 50, 50]) == 2.0

    def test_a_round_without_answers_says_nothing(self) -> None:
        assert median_ratio([100, 100], [50, 0]) == 2.0
        assert math.isnan(median_ratio([100], [0]))

    def test_rounds_that_were_not_played_side_by_side_are_an_error(self) -> None:
        with pytest.raises(ValueError, match="zip"):
            median_ratio([1, 2], [1])


class TestAims:
    @pytest.mark.parametrize(("figure", "said"), [(0.6, "pass"), (0.61, "pass"), (0.59, "**fail**")])
    def test_at_least(self, figure: float, said: str) -> None:
        assert verdict(figure, Threshold(0.6)) == said

    @pytest.mark.parametrize(("figure", "said"), [(3.0, "pass"), (3.1, "**fail**")])
    def test_at_most(self, figure: float, said: str) -> None:
        assert verdict(figure, Threshold(3, maximum=True)) == said

    def test_nothing_aimed_at_is_neither(self) -> None:
        assert verdict(0.1, None) == ""

    def test_no_figure_is_short_of_any_aim(self) -> None:
        assert verdict(math.nan, Threshold(0.6)) == "**fail**"


def test_a_table_is_markdown_with_its_columns_in_line() -> None:
    assert table(["who", "ratio"], [["nginx", "0.61"], ["us", "1.00"]]) == (
        "| who   | ratio |\n|:------|------:|\n| nginx |  0.61 |\n| us    |  1.00 |\n"
    )

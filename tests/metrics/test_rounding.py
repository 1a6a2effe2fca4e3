"""Numbers in the sentences of incidents and alerts."""

import pytest

from metrics.rounding import percent, significant


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.2134, 2, "0.21"), (117.3, 2, "120"), (1_000.0000000000009, 3, "1000"), (1e-7, 1, "0.0000001"), (0, 2, "0")],
)
def test_numbers_have_no_exponent(value: float, digits: int, text: str) -> None:
    assert significant(value, digits) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.0004, "0.04%"), (0.004, "0.4%"), (0.53, "53%"), (0.996, "99.6%"), (1, "100%"), (20.5, "2050%")],
)
def test_a_share_is_neither_nothing_nor_everything_unless_it_is(share: float, text: str) -> None:
    assert percent(share) == text


def test_a_share_with_a_decimal() -> None:
    assert [percent(share, 1) for share in (0.0003, 0.0526, 0.9997)] == ["0.03%", "5.3%", "99.97%"]

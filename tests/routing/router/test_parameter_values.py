"""Matching of tags with patterns: linear, and whatever assignment of values a regular expression would find."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.router.tags import PARAMETER, parameter_values
from tests.processor_time import milliseconds

LITERAL = st.text("a/.", max_size=2)


def expression(pattern: str) -> re.Pattern[str]:
    return re.compile("(.+)".join(map(re.escape, PARAMETER.split(pattern)[::2])))


@given(st.lists(LITERAL, min_size=2, max_size=4), st.text("ab/.", max_size=9))
def test_it_matches_what_a_regular_expression_matches(literals: list[str], tag: str) -> None:
    pattern = literals[0] + "".join(f"{{p{number}}}{literal}" for number, literal in enumerate(literals[1:]))
    found = expression(pattern).fullmatch(tag)
    values = parameter_values(pattern, tag)
    assert (values is None) == (found is None)
    if found is not None and values is not None:
        names = [name for name, _ in values[: len(literals) - 1]]
        for pairs in (values[: len(names)], values[-len(names) :]):
            filled = literals[0] + "".join(
                value + literal for (_, value), literal in zip(pairs, literals[1:], strict=True)
            )
            assert filled == tag
        greedy = list(zip(names, found.groups(), strict=True))
        assert len(values) > len(names) or values == greedy


@pytest.mark.parametrize(
    ("pattern", "tag", "values"),
    [
        ("mailbox:{user}", "mailbox:ann", [("user", "ann")]),
        ("mailbox:{user}", "mailbox:", None),
        ("mailbox:{user}", "inbox:ann", None),
        ("mailbox:{user|lower}", "mailbox:ann", [("user", "ann")]),
        ("mailbox:{user|lower}", "mailbox:Ann", None),
        ("{a}:{b}", "x:y", [("a", "x"), ("b", "y")]),
        ("{a}:{b}", "x:y:z", [("a", "x"), ("b", "y:z"), ("a", "x:y"), ("b", "z")]),
    ],
)
def test_an_ambiguous_parameter_has_every_extreme_value(
    pattern: str, tag: str, values: list[tuple[str, str]] | None
) -> None:
    assert parameter_values(pattern, tag) == values


def test_many_slashes_take_no_time() -> None:
    pattern, tag = "doc:{a}/{b}/{c}.json", "doc:" + "x/" * 16_000
    assert parameter_values(pattern, tag) is None
    assert milliseconds(lambda: parameter_values(pattern, tag), 10) < 10

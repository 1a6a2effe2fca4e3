"""The key of a query: what is ignored, what keeps its order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.cache.policy import QueryPolicy
from resilience.cache.query_key import has_parameter, query_key, query_values

IGNORING = QueryPolicy(ignore=("_", "ts"))
SORTED = QueryPolicy(sort=True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", b""),
        (b"a=1&_=9&b=2", b"a=1&b=2"),
        (b"ts=1", b""),
        (b"%74s=1&a=1", b"a=1"),
        (b"ts", b""),
        (b"TS=1&ts[]=2&tsx=3", b"TS=1&ts[]=2&tsx=3"),
        (b"a=1;ts=2", b"a=1;ts=2"),
    ],
)
def test_ignored_parameters_are_left_out(query: bytes, expected: bytes) -> None:
    assert query_key(query, IGNORING) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"b=2&a=1", b"a=1&b=2"),
        (b"a=2&b=1&a=1", b"a=2&a=1&b=1"),
        (b"b=1&a[]=2&A=1&a=3", b"a[]=2&A=1&a=3&b=1"),
        (b"b=2;a=1", b"b=2;a=1"),
    ],
)
def test_parameters_are_sorted_by_name_and_equal_names_keep_their_order(query: bytes, expected: bytes) -> None:
    assert query_key(query, SORTED) == expected


def test_a_query_of_many_parameters_is_compared_as_it_is() -> None:
    many = b"&".join(b"b%d=1" % number for number in range(2_000)) + b"&a=1"
    assert query_key(many, QueryPolicy(ignore=("a",), sort=True)) == many


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", False),
        (b"a=1&since=2", True),
        (b"since", True),
        (b"since=", True),
        (b"sin%63e=2", True),
        (b"a=1;since=2", True),
        (b"a=since", False),
        (b"sinces=1&xsince=2", False),
        (b"since%5B%5D=1", False),
    ],
)
def test_a_parameter_is_found_by_its_decoded_name(query: bytes, expected: bool) -> None:
    assert has_parameter(query, ("since",)) is expected


def test_values_are_decoded_and_those_that_are_empty_left_out() -> None:
    assert query_values(b"a=x%20y&a=z&a=z&b=&c=1", ("a", "b")) == {"a": ["x y", "z"]}


@given(st.lists(st.tuples(st.sampled_from("abAts_"), st.text("12", max_size=2)), max_size=6), st.randoms())
def test_one_key_means_the_same_values_of_each_parameter(pairs: list[tuple[str, str]], random: object) -> None:
    shuffled = pairs.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    policy = QueryPolicy(ignore=("ts",), sort=True)
    one, other = ("&".join(f"{name}={value}" for name, value in each).encode() for each in (pairs, shuffled))

    def values(each: list[tuple[str, str]], name: str) -> list[str]:
        return [value for found, value in each if found.lower() == name]

    assert (query_key(one, policy) == query_key(other, policy)) <= all(
        values(pairs, name) == values(shuffled, name) for name in "ab_"
    )

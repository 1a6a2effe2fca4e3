"""The cache settings of a route: bounds, and tags filled in from its path."""

import pytest

from resilience.cache.policy import CachePolicy, fill_tags


def test_tags_are_filled_in_with_path_parameters() -> None:
    params = [("user", "ann"), ("box", "in")]
    assert fill_tags(["mailbox:{user}", "{user}/{box}", "all"], params) == ("mailbox:ann", "ann/in", "all")


def test_a_value_with_braces_is_not_expanded() -> None:
    assert fill_tags(["{a}:{b}"], [("a", "{b}"), ("b", "secret")]) == ("{b}:secret",)
    assert fill_tags(["{a.__class__}", "{}"], [("a", "x")]) == ("{a.__class__}", "{}")


@pytest.mark.parametrize("field", ["ttl", "stale_while_revalidate", "stale_if_error"])
@pytest.mark.parametrize("value", [-1.0, 31_536_001.0])
def test_a_duration_out_of_bounds_is_rejected_by_field_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        CachePolicy(**{field: value})  # type: ignore[arg-type]  # one field of one type

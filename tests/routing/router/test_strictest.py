"""A path with several readings has the narrowest cache of all its routes."""

import pytest

from resilience.cache.ignoring import Ignorable
from resilience.cache.policy import CachePolicy, KeyPolicy, QueryPolicy, Scope
from routing.configuration.conditions import conditions
from routing.router.policy import RoutePolicy
from routing.router.strictest import strictest

PRIVATE, NO_STORE = Ignorable.PRIVATE, Ignorable.NO_STORE


def combined(*policies: CachePolicy) -> CachePolicy | None:
    return strictest([RoutePolicy(cache=policy) for policy in policies]).cache


def test_only_what_all_ignore_is_ignored() -> None:
    one = CachePolicy(ignore=(PRIVATE, NO_STORE), ignore_vary=("a", "b"), scope=Scope.SHARED, share_ignored=True)
    other = CachePolicy(ignore=(NO_STORE,), ignore_vary=("b",))
    assert combined(one, other) == CachePolicy(ignore=(NO_STORE,), ignore_vary=("b",))


def test_what_bypasses_for_any_bypasses() -> None:
    found = combined(CachePolicy(bypass_query=("a", "b")), CachePolicy(bypass_query=("b", "c")), CachePolicy())
    assert found is not None
    assert found.bypass_query == ("a", "b", "c")


def test_only_the_methods_of_all_are_cached() -> None:
    everything, reads = CachePolicy(methods=("GET", "HEAD", "POST")), CachePolicy()
    found = combined(everything, reads)
    assert found is not None
    assert found.methods == ("GET", "HEAD")
    assert combined(CachePolicy(methods=("POST",)), CachePolicy(methods=("GET",))) is None


@pytest.mark.parametrize(
    "other",
    [
        CachePolicy(key=KeyPolicy(query=QueryPolicy(sort=True))),
        CachePolicy(key=KeyPolicy(headers=("x-team",))),
        CachePolicy(only_if=conditions({"status": 200})),
        CachePolicy(cookies=()),
    ],
)
def test_nothing_is_cached_where_keys_or_conditions_differ(other: CachePolicy) -> None:
    assert combined(CachePolicy(), other) is None
    assert combined(other, other) == other


def test_fields_of_a_body_need_post_among_the_methods_of_all() -> None:
    tagged = CachePolicy(methods=("GET", "POST"), tags=("c:{body.channel}",))
    assert combined(tagged, CachePolicy()) is None

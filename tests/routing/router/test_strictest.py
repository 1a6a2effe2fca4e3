"""A path with several readings has the narrowest cache of all its routes, and what is strictest of other settings."""

import pytest

from resilience.cache.ignoring import Ignorable
from resilience.cache.policy import CachePolicy, KeyPolicy, QueryPolicy, Scope
from routing.authentication.signatures.policy import NonceRule, SignaturePolicy
from routing.configuration.conditions import conditions
from routing.errors import BadRequest
from routing.messages.cors import CorsPolicy
from routing.router.policy import Auth, RoutePolicy
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


def test_a_signature_covers_what_any_route_requires() -> None:
    usual = SignaturePolicy(components=("@method", "@path"), nonce=NonceRule.OPTIONAL, leeway=5)
    strict = SignaturePolicy(components=("@path", "x-amount"), max_age=30, tag="shop")
    found = strictest([RoutePolicy(auth=Auth.SIGNATURE, signature=each) for each in (usual, strict)])
    assert found.signature == SignaturePolicy(
        components=("@method", "@path", "x-amount"), max_age=30, leeway=5, nonce=NonceRule.REQUIRED, tag="shop"
    )
    other = SignaturePolicy(tag="bank")
    with pytest.raises(BadRequest, match="different signatures"):
        strictest([RoutePolicy(auth=Auth.SIGNATURE, signature=each) for each in (strict, other)])
    opened = strictest([RoutePolicy(auth=Auth.NONE, signature=usual), RoutePolicy(auth=Auth.SIGNATURE)])
    assert opened.signature is None, "the usual rules: without authentication, a route has none for signatures"


def test_pages_of_other_origins_need_the_same_rules_of_all() -> None:
    shared = RoutePolicy(cors=CorsPolicy(origins=("*",)))
    assert strictest([shared, RoutePolicy(enabled=False)]).cors == CorsPolicy(origins=())
    assert strictest([shared, RoutePolicy(enabled=False, cors=shared.cors)]).cors == shared.cors


def test_fields_of_a_body_need_post_among_the_methods_of_all() -> None:
    tagged = CachePolicy(methods=("GET", "POST"), tags=("c:{body.channel}",))
    assert combined(tagged, CachePolicy()) is None

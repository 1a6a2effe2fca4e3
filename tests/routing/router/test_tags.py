"""What a request fills the placeholders of a route's tags with."""

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.cache.fields import MAX_TAG_LENGTH
from resilience.cache.policy import CachePolicy, Scope
from routing.caller import Caller
from routing.router.table import Match, Service
from routing.router.tags import ANONYMOUS, LONGEST, MAX_COMBINED, fields, filled

ANN = Caller("firebase:ann", tenant="acme")


def match(**params: str) -> Match:
    return Match(Service("crm", ()), Service("crm", ()).policy, b"/x", "/x", tuple(params.items()))


def test_who_asks_and_the_paths_parameters_are_filled_in() -> None:
    tags = ["all", "mailbox:{caller}", "{tenant}/{box}"]
    assert filled(tags, match(box="in"), ANN) == ("all", "mailbox:firebase:ann", "acme/in")


def test_a_value_may_be_wanted_in_lower_case() -> None:
    tags = ["r:{owner|lower}/{repo|lower}", "{owner}:{owner|lower}", "{query.Q|lower}", "{other|lower}"]
    found = filled(tags, match(owner="Acme", repo="Site"), ANN, b"Q=A&Q=B")
    assert found == ("r:acme/site", "Acme:acme", "a", "b", "{other|lower}")


def test_one_without_a_tenant_shares_its_tag_with_nobody() -> None:  # as in scope: tenant
    assert filled(["t:{tenant}"], match(), Caller("key:abc")) == ("t:key:abc",)


def test_without_a_credential_it_is_nobodys_in_particular() -> None:
    assert filled(["{caller}", "{tenant}"], match(), None) == (ANONYMOUS, ANONYMOUS)


@pytest.mark.parametrize(
    ("identifier", "tag"),
    [
        ("firebase:a b", "m:firebase:a%20b"),
        ("firebase:a,all", "m:firebase:a%2Call"),
        ('firebase:"all"', "m:firebase:%22all%22"),
        ("firebase:{tenant}", "m:firebase:%7Btenant%7D"),
        ("firebase:%20", "m:firebase:%2520"),
        ("firebase:\u00fc\n", "m:firebase:%C3%BC%0A"),
    ],
)
def test_an_id_cannot_pose_as_more_than_one_tag(identifier: str, tag: str) -> None:
    assert filled(["m:{caller}"], match(), Caller(identifier)) == (tag,)


def test_a_tenant_cannot_pose_as_a_caller_nor_reach_into_the_next_part() -> None:
    assert fields(Caller("key:a", tenant="key:b"))["tenant"] == "key%3Ab"
    one, other = Caller("firebase:c", tenant="a:firebase"), Caller("firebase:firebase:c", tenant="a")
    assert filled(["{tenant}:{caller}"], match(), one) != filled(["{tenant}:{caller}"], match(), other)


def test_a_value_cannot_pose_as_the_whole_service() -> None:
    assert filled(["{tenant}", "{box}", "a"], match(box="crm"), Caller("key:a", tenant="crm")) == ("a",)
    assert filled(["crm", "{box}"], match(box="in"), None) == ("crm", "in")


@given(st.text(min_size=1, max_size=400), st.text(max_size=400))
def test_whatever_an_id_is_its_field_is_short_plain_and_its_own(identifier: str, tenant: str) -> None:
    own = fields(Caller(identifier, tenant))
    for value in own.values():
        assert 0 < len(value) <= LONGEST < MAX_TAG_LENGTH
        assert value.isascii()
        assert value.isprintable()
        assert not set(' ,"\\{}').intersection(value)
    assert fields(Caller(identifier + "x", tenant))["caller"] != own["caller"]


def test_a_long_id_is_told_by_its_digest() -> None:
    long, longer = (fields(Caller("firebase:" + "\u00fc" * count))["caller"] for count in (128, 129))
    assert len(long) == len(longer) == 41
    assert long != longer


@pytest.mark.parametrize(
    ("scope", "tag", "fits"),
    [
        (Scope.USER, "{caller}", True),
        (Scope.USER, "{tenant}", True),
        (Scope.TENANT, "{tenant}", True),
        (Scope.TENANT, "{caller}", False),
        (Scope.SHARED, "{caller}", False),
        (Scope.SHARED, "{tenant}", False),
        (Scope.SHARED, "{box}", True),
    ],
)
def test_an_answer_of_many_is_not_tagged_as_one_ones(scope: Scope, tag: str, fits: bool) -> None:
    expected = nullcontext() if fits else pytest.raises(ValueError, match=f"^tags may not hold {tag} in scope {scope}")
    with expected:
        CachePolicy(scope=scope, tags=(tag,))


def test_fields_of_the_request_are_filled_in_and_tags_without_them_left_out() -> None:
    tags = ["all", "channel:{body.channel}", "{query.a}:{query.b}", "{caller}:{body.user}"]
    content = {"channel": "C1", "user": "{query.a}"}
    assert filled(tags, match(), ANN, b"a=1&b=2&a=3", content) == (
        "all",
        "channel:C1",
        "1:2",
        "3:2",
        "firebase:ann:{query.a}",
    )
    assert filled(tags, match(), ANN, b"a=1") == ("all",)


def test_a_query_cannot_make_many_tags() -> None:
    query = b"&".join(b"a=%d" % number for number in range(1_000))
    assert len(filled(["{query.a}"], match(), None, query)) == MAX_COMBINED


def test_a_field_cannot_become_the_services_own_tag() -> None:
    assert filled(["{body.x}", "{query.x}"], match(), None, b"x=crm", {"x": "crm"}) == ()

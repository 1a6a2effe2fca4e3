import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routing.authentication.id_token import caller_from_claims, precheck
from routing.caller import Caller
from routing.errors import Unauthenticated
from tests.firebase import PROJECT, encoded


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        (["crm", "debug"], {"crm", "debug"}),
        ("crm  debug", {"crm", "debug"}),
        ("", set()),
        (["crm", 7], set()),
        ({"crm": True}, set()),
        (None, set()),
    ],
)
def test_scopes_are_a_list_or_a_space_separated_string_or_empty(claim: object, scopes: set[str]) -> None:
    assert caller_from_claims({"sub": "ada", "exp": 1, "scopes": claim}).scopes == frozenset(scopes)


def test_a_token_without_the_scopes_claim_has_none() -> None:
    assert caller_from_claims({"sub": "ada", "exp": 1}) == Caller("firebase:ada", expires=1.0)


@pytest.mark.parametrize("claim", [None, "acme", {}, {"tenant": ""}, {"tenant": 7}])
def test_a_tenant_is_a_non_empty_string_or_none(claim: object) -> None:
    assert caller_from_claims({"sub": "ada", "exp": 1, "firebase": claim}).tenant is None


def id_of(uid: str, tenant: str | None) -> str:
    return caller_from_claims({"sub": uid, "exp": 1, "firebase": {"tenant": tenant}}).id


NAMES = st.text(st.sampled_from("a:+/%"), min_size=1, max_size=4)


@given(NAMES, st.none() | NAMES, NAMES, st.none() | NAMES)
@example("b:c", "a", "c", "a:b")
@example("ann", "acme", "acme:ann", None)
def test_ids_are_equal_only_for_one_uid_of_one_tenant(
    uid: str, tenant: str | None, other_uid: str, other_tenant: str | None
) -> None:
    assert (id_of(uid, tenant) == id_of(other_uid, other_tenant)) is ((uid, tenant) == (other_uid, other_tenant))


def test_the_id_of_a_user_without_a_tenant_is_its_uid() -> None:
    assert id_of("ann", None) == "firebase:ann"
    assert id_of("ann", "acme-x1") == "firebase+acme-x1:ann"


def test_a_long_tenant_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        id_of("ann", "a" * 129)


JSON = st.recursive(st.none() | st.integers() | st.text(), lambda part: st.dictionaries(st.text(), part), max_leaves=5)
PARTS = st.one_of(st.binary(max_size=60), JSON).map(encoded)


@given(st.one_of(st.text(), st.lists(PARTS, min_size=3, max_size=3).map(".".join)))
@example("a.b.c")
def test_random_text_is_rejected(text: str) -> None:
    with pytest.raises(Unauthenticated):
        precheck(text, PROJECT, time.time())

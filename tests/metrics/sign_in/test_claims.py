"""The person of an ID token, and the role that groups give."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.sign_in import claims as id_token
from metrics.sign_in.claims import Refused, person_of
from metrics.sign_in.policy import Provider, Role
from routing.errors import InvalidToken
from routing.rights import GROUPS

NOW = 1_800_000_000.0
PROVIDER = Provider(
    issuer="https://login.example.com",
    client_id="gateway",
    client_secret="not shown",
    roles=(("owners", Role.OWNER), ("ops", Role.OPERATOR), ("all", Role.VIEWER)),
)
VALID = {"iss": PROVIDER.issuer, "aud": "gateway", "sub": "1", "iat": NOW, "exp": NOW + 60, "nonce": "n"}
WORD = st.text(max_size=20)


def change(**values: Any) -> Provider:
    return msgspec.structs.replace(PROVIDER, **values)


def test_the_roles_are_the_groups_of_rights() -> None:
    assert set(Role) == set(GROUPS.values())


@given(st.lists(st.sampled_from(["owners", "ops", "all", "other", "Owners", ""])))
def test_the_highest_role_of_all_groups_counts(groups: list[str]) -> None:
    expected = next((role for name, role in PROVIDER.roles if name in groups), None)
    assert PROVIDER.role_of(groups) is expected


@given(
    st.dictionaries(
        st.sampled_from(["groups", "email", "name", "preferred_username", "tid", "sub", "hd"]),
        st.one_of(st.none(), st.booleans(), st.integers(), WORD, st.lists(st.one_of(WORD, st.integers(), st.none()))),
    )
)
def test_no_claims_cause_another_error(found: dict[str, Any]) -> None:
    claims = {**VALID, **found}
    for provider in (PROVIDER, change(domains=("example.com",), tenants=("acme",)), change(groups_claim="email")):
        try:
            id_token.verify(claims, provider, "n", NOW)
            person = person_of(claims, provider)
        except (InvalidToken, Refused):
            continue
        assert person.username
        assert len(person.username) <= 150
        assert person.email == ""


@pytest.mark.parametrize(
    ("verified", "email"),
    [(True, "a@example.com"), ("true", "a@example.com"), (False, ""), ("false", ""), (None, ""), (1, ""), ("yes", "")],
)
def test_only_a_verified_address_counts(verified: Any, email: str) -> None:
    claims = {**VALID, "email": "a@example.com", "email_verified": verified}
    assert person_of(claims, PROVIDER).email == email
    by_address = change(groups_claim="email", roles=(("a@example.com", Role.OWNER),))
    assert person_of(claims, by_address).role is (Role.OWNER if email else None)


@pytest.mark.parametrize(
    "email", ["a@b@example.com", "@example.com", "a@", "a b@example.com", "a\n@example.com", ["a"], ""]
)
def test_what_is_no_address(email: Any) -> None:
    assert person_of({**VALID, "email": email, "email_verified": True}, PROVIDER).email == ""


def test_user_information_replaces_nothing() -> None:
    merged = id_token.merge(
        {**VALID, "groups": ["all"], "email": "a@example.com"},
        {"sub": "1", "groups": ["owners"], "email": "b@example.com", "email_verified": True, "hd": "acme"},
    )
    assert merged["groups"] == ["all"]
    assert merged["hd"] == "acme"
    assert "email_verified" not in merged
    merged = id_token.merge({**VALID, "email_verified": True}, {"sub": "1", "email": "b@example.com"})
    assert person_of(merged, PROVIDER).email == ""
    for other in ({}, {"sub": "2"}, {"sub": None}):
        with pytest.raises(InvalidToken):
            id_token.merge(VALID, other)


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "ada"}, "ada"),
        ({"preferred_username": "ada <b>"}, "ada-b"),
        ({"preferred_username": "\u0430\u0434\u0430"}, "1"),  # Cyrillic: looks like another's
        ({"email": "a@example.com", "email_verified": True}, "a@example.com"),
        ({"email": "a@example.com"}, "1"),
        ({"name": "Ada Lovelace"}, "Ada-Lovelace"),
        ({"preferred_username": "x" * 500}, "x" * 100),
    ],
)
def test_a_user_name_is_plain(claims: dict[str, Any], name: str) -> None:
    assert person_of({**VALID, **claims}, PROVIDER).username == name


def test_settings_do_not_show_the_secret() -> None:
    assert "not shown" not in repr(PROVIDER)

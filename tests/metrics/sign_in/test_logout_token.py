"""What a logout token must contain (OpenID Connect Back-Channel Logout 1.0, section 2.6)."""

import contextlib
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from metrics.sign_in.logout_token import LogoutRequest, issuer_of, read
from metrics.sign_in.policy import Provider
from routing.authentication.issuer_token import LOGOUT_EVENT as EVENT
from routing.authentication.issuer_token import check_header
from routing.authentication.token_parts import ParsedToken
from routing.errors import InvalidToken

NOW = 1_800_000_000.0
PROVIDER = Provider(issuer="https://login.example.com", client_id="gateway")
VALID: dict[str, Any] = {
    "iss": PROVIDER.issuer,
    "aud": "gateway",
    "iat": NOW,
    "exp": NOW + 120,
    "jti": "1",
    "sub": "ada",
    "sid": "s",
    "events": {EVENT: {}},
}


def claims(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (VALID | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, LogoutRequest(token_id="1", subject="ada", sid="s")),
        ({"sid": None}, LogoutRequest(token_id="1", subject="ada")),
        ({"sub": None}, LogoutRequest(token_id="1", sid="s")),
        ({"aud": ["other", "gateway"]}, LogoutRequest(token_id="1", subject="ada", sid="s")),
        ({"events": {"other": {}, EVENT: {"more": 1}}}, LogoutRequest(token_id="1", subject="ada", sid="s")),
        ({"exp": None}, LogoutRequest(token_id="1", subject="ada", sid="s")),
        ({"exp": NOW + 10**9}, LogoutRequest(token_id="1", subject="ada", sid="s")),
    ],
)
def test_a_logout_token_names_a_person_a_session_or_both(changes: dict[str, Any], expected: LogoutRequest) -> None:
    assert read(claims(**changes), PROVIDER, NOW) == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://login.example.com/"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "other"}, "another audience"),
        ({"aud": None}, "no audience"),
        ({"iat": None}, "no time of issue"),
        ({"iat": True}, "no time of issue"),
        ({"iat": float("inf"), "exp": None}, "is not a time"),
        ({"iat": 10**400, "exp": None}, "is not a time"),
        ({"iat": NOW + 90}, "issued in the future"),
        ({"exp": NOW - 90}, "has expired"),
        ({"iat": NOW - 400, "exp": None}, "has expired"),
        ({"iat": NOW - 4_000, "exp": NOW + 10**9}, "too long ago"),
        ({"jti": None}, "no id"),
        ({"jti": ""}, "no id"),
        ({"jti": 7}, "jti is not a name"),
        ({"jti": "x" * 300}, "jti is not a name"),
        ({"sub": None, "sid": None}, "neither a session nor a person"),
        ({"sid": ["s"]}, "sid is not a name"),
        ({"sub": "a\x00"}, "sub is not a name"),
        ({"nonce": "n"}, "has no nonce"),
        ({"nonce": ""}, "has no nonce"),
        ({"events": None}, "not a logout token"),
        ({"events": [EVENT]}, "not a logout token"),
        ({"events": {EVENT: "yes"}}, "not a logout token"),
        ({"events": {"http://schemas.openid.net/event/other": {}}}, "not a logout token"),
    ],
)
def test_other_tokens_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidToken, match=reason):
        read(claims(**changes), PROVIDER, NOW)


def test_without_a_provider_there_is_no_such_page(client: Client) -> None:
    assert client.post("/accounts/provider/logout/", {"logout_token": "x"}).status_code == 404


@given(st.dictionaries(st.sampled_from(sorted(VALID)), st.recursive(st.none() | st.floats() | st.text(), st.lists)))
def test_no_claims_cause_another_error(found: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidToken):
        read(claims() | found, PROVIDER, NOW)


@pytest.mark.parametrize(
    ("kind", "is_accepted"),
    [("logout+jwt", True), ("application/logout+jwt", True), ("JWT", True), (None, True), ("at+jwt", False)],
)
def test_the_type_of_the_token(kind: str | None, is_accepted: bool) -> None:
    header = {"alg": "RS256"} | ({} if kind is None else {"typ": kind})
    token = ParsedToken(header, {}, b"signature", b"")
    if is_accepted:
        assert check_header(token, issuer_of(PROVIDER))
    else:
        with pytest.raises(InvalidToken):
            check_header(token, issuer_of(PROVIDER))
    if kind == "logout+jwt":
        with pytest.raises(InvalidToken):
            check_header(token, PROVIDER.trusted)

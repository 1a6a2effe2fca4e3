"""Tokens of Pub/Sub pushes, signed as Google signs them, with keys from an endpoint that may be away."""

import time
from typing import Any

import pytest

from routing.authentication.key_endpoint import FetchedKeys, KeyFetchFailed
from routing.errors import AuthenticationUnavailable
from routing.webhooks.policy import PubSubForm
from routing.webhooks.pubsub import PushTokens
from routing.webhooks.verification import Refused, SignedRequest
from tests.firebase import KID, FirebaseIssuer, certificate, encoded

FORM = PubSubForm(audience="https://gateway.example.com/hooks/gmail", email="push@project.iam.gserviceaccount.com")


class Google(FirebaseIssuer):
    def claims(self, **overrides: object) -> dict[str, object]:
        push = {
            "iss": "https://accounts.google.com",
            "aud": FORM.audience,
            "email": FORM.email,
            "email_verified": True,
            "sub": "113774264463038321964",
            "auth_time": None,
            "firebase": None,
        }
        return super().claims(**(push | overrides))


@pytest.fixture
def google() -> Google:
    return Google()


def fetched(url: str) -> FetchedKeys:
    assert url == FORM.keys_url
    return FetchedKeys({KID: certificate(KID)}, {KID: time.time() + 86_400}, 3_600.0)


def request(token: str, *more: tuple[bytes, bytes]) -> SignedRequest:
    return SignedRequest("POST", b"", [(b"authorization", f"Bearer {token}".encode()), *more])


async def reason(token: str) -> str:
    with pytest.raises(Refused) as refused:
        await PushTokens(time.time, fetched).verify(FORM, request(token))
    return refused.value.reason


async def test_a_token_of_google_is_accepted(google: Google) -> None:
    tokens = PushTokens(time.time, fetched)
    await tokens.verify(FORM, request(google.token()))
    await tokens.verify(FORM, request(google.token(iss="accounts.google.com")))


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": "https://other.example.com"}, "bad_claims"),
        ({"aud": None}, "bad_signature"),
        ({"iss": "https://securetoken.google.com/project"}, "bad_claims"),
        ({"email": "someone@gmail.com"}, "bad_claims"),
        ({"email": None}, "bad_claims"),
        ({"email_verified": False}, "bad_claims"),
        ({"email_verified": "true"}, "bad_claims"),
        ({"exp": -1}, "bad_time"),
        ({"exp": None}, "bad_signature"),
        ({"iat": 600}, "bad_time"),
        ({"exp": "soon"}, "bad_signature"),
    ],
)
async def test_any_other_claim_is_refused(google: Google, claims: dict[str, Any], expected: str) -> None:
    """Numbers of `claims` are seconds from now."""
    claims = {name: int(time.time()) + value if type(value) is int else value for name, value in claims.items()}
    assert await reason(google.token(**claims)) == expected


async def test_forgeries_are_refused(google: Google) -> None:
    token = google.token()
    head, claims, signature = token.split(".")
    assert await reason(google.token(signer="another")) == "bad_signature"
    assert await reason(google.token(header={"alg": "RS256", "kid": "unknown"})) == "bad_signature"
    assert await reason(f"{head}.{claims}.{signature[:-4]}AAAA") == "bad_signature"
    assert await reason(f"{encoded({'alg': 'none', 'kid': KID})}.{claims}.") == "bad_signature"
    assert await reason(google.token(header={"alg": "HS256", "kid": KID})) == "bad_signature"
    for malformed in ("", "a.b.c", "x" * 20_000, "é"):
        assert await reason(malformed) in ("bad_signature", "malformed_field", "missing_field")


async def test_a_repeated_or_missing_field_is_refused(google: Google) -> None:
    tokens = PushTokens(time.time, fetched)
    for signed in (request(google.token(), (b"authorization", b"x")), SignedRequest("POST", b"", [])):
        with pytest.raises(Refused):
            await tokens.verify(FORM, signed)


async def test_without_keys_the_provider_is_told_to_repeat(google: Google) -> None:
    def fail(url: str) -> FetchedKeys:
        raise KeyFetchFailed("timeout")

    with pytest.raises(AuthenticationUnavailable):
        await PushTokens(time.time, fail).verify(FORM, request(google.token()))

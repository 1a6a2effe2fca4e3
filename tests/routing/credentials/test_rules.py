"""The pure rules of credentials: token responses, records, requests and encryption."""

import contextlib
import json
import math
from base64 import b64encode, urlsafe_b64encode
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from routing.credentials import record as rules
from routing.credentials.cipher import Cipher, parse_keys
from routing.credentials.grants import (
    Subject,
    authorization_url,
    code_request,
    new_proof,
    revocation_request,
    token_request,
)
from routing.credentials.record import TokenRecord
from routing.credentials.token_response import (
    DEFAULT_SECONDS,
    MAX_SECONDS,
    MIN_SECONDS,
    TokenRequestFailed,
    TokenResponse,
    lifetime,
    read_tokens,
)
from routing.router.credential_policy import ClientAuth, CredentialPolicy, GrantType

SERVICE = Subject("service")
ACME = Subject("tenant:a/../b c", tenant="a/../b c")
NOW = 1_700_000_000.0


def policy(**more: Any) -> CredentialPolicy:
    settings: dict[str, Any] = {
        "grant": GrantType.CLIENT_CREDENTIALS,
        "token_url": "https://login.example.com/token",
        "client_id": "id",
        "client_secret": "secret",
    }
    return CredentialPolicy(**{**settings, **more})


def form(body: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(body.decode(), strict_parsing=True).items()}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3600, 3600),
        ("3600", 3600),
        (0, MIN_SECONDS),
        (-1, MIN_SECONDS),
        (10**400, MAX_SECONDS),
        (1e308, MAX_SECONDS),
        (math.inf, MAX_SECONDS),
        (math.nan, DEFAULT_SECONDS),
        ("soon", DEFAULT_SECONDS),
        (None, DEFAULT_SECONDS),
        (True, DEFAULT_SECONDS),
        ([1], DEFAULT_SECONDS),
    ],
)
def test_a_lifetime_is_within_bounds_whatever_the_endpoint_says(value: object, seconds: float) -> None:
    assert lifetime(value) == seconds


@given(st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.booleans()))
def test_any_lifetime_is_finite_and_positive(value: object) -> None:
    assert MIN_SECONDS <= lifetime(value) <= MAX_SECONDS


@given(st.integers(100, 599), st.binary(max_size=200))
def test_any_response_is_tokens_or_a_failure(status: int, body: bytes) -> None:
    with contextlib.suppress(TokenRequestFailed):
        assert read_tokens(status, [], body, NOW).access_token.isprintable()


def refused(status: int, document: Any, headers: Any = ()) -> TokenRequestFailed:
    with pytest.raises(TokenRequestFailed) as caught:
        read_tokens(status, list(headers), json.dumps(document).encode(), NOW)
    return caught.value


def test_failures_that_no_repetition_mends_are_told_from_others() -> None:
    assert refused(400, {"error": "invalid_grant"}).permanent
    for status, body in ((400, {"status": "BAD_REFRESH_TOKEN", "message": "m"}), (200, {"error": "bad_refresh_token"})):
        assert refused(status, body).permanent
        assert refused(status, body).ends_grant
    assert refused(400, {"status": "error", "message": "m"}).code == "status_400"
    assert refused(400, {"error": "inactive_user"}).permanent
    assert refused(401, {"error": "invalid_client"}).permanent
    assert refused(200, {"ok": False, "error": "invalid_refresh_token"}).ends_grant
    assert not refused(503, {"error": "temporarily_unavailable"}).permanent
    assert not refused(500, {}).permanent
    for error in ("x" * 1_000, "line\nbreak"):
        assert refused(200, {"error": error}).code == "malformed_error"
        assert refused(400, {"error": error}).code == "status_400"
    for document in ({"error": "Unknown client"}, {"error": {"code": 401, "message": "m"}}):
        assert refused(404, document).code == "status_404"
        assert (refused(401, document).code, refused(401, document).permanent) == ("status_401", True)
    assert refused(200, {"ok": False}).code == "refused"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"7", 7.0),
        (b"99999999", 900.0),
        (b"Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        (b"Tue, 14 Nov 2000 22:13:50 GMT", 0.0),
        (b"soon", None),
        (b"-5", None),
        (b"\xb2", None),  # a digit to Python, though no number
    ],
)
def test_retry_after_is_honoured_within_bounds(value: bytes, seconds: float | None) -> None:
    assert refused(429, {}, [(b"retry-after", value)]).retry_after == seconds


def test_slacks_user_token_is_nested() -> None:
    document = {"ok": True, "access_token": "bot", "authed_user": {"access_token": "user", "refresh_token": "r"}}
    body = json.dumps(document).encode()
    assert read_tokens(200, [], body, NOW).access_token == "bot"
    nested = read_tokens(200, [], body, NOW, "authed_user")
    assert (nested.access_token, nested.refresh_token) == ("user", "r")
    flat = b'{"ok": true, "access_token": "next", "refresh_token": "r2", "expires_in": 43200}'
    assert read_tokens(200, [], flat, NOW, "authed_user", is_refresh=True).refresh_token == "r2"
    with pytest.raises(TokenRequestFailed, match="no_access_token"):  # which would be the application's own
        read_tokens(200, [], flat, NOW, "authed_user")


def test_a_token_is_refreshed_before_its_end_at_different_times_in_each_worker() -> None:
    record = rules.renewed(TokenRecord(), TokenResponse("t", 3600), NOW)
    times = [record.refresh_at(jitter) - NOW for jitter in (0.0, 0.5, 1.0)]
    assert times == [3300, 3375, 3450]
    short = rules.renewed(TokenRecord(), TokenResponse("t", 30), NOW)
    assert short.refresh_at(0.0) - NOW == 24


def test_backoffs_double_up_to_their_limit() -> None:
    record, waits = TokenRecord(), []
    for _ in range(9):
        record = rules.failed(record, TokenRequestFailed("invalid_grant", permanent=True), NOW)
        waits.append(record.retry_at - NOW)
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    transient = rules.failed(TokenRecord(), TokenRequestFailed("timeout", retry_after=20), NOW)
    assert transient.retry_at - NOW == 20
    assert not transient.may_try(NOW + 19)
    assert transient.may_try(NOW + 20)


def test_basic_credentials_are_encoded_as_the_rfc_says() -> None:
    request = token_request(policy(client_id="a:b", client_secret="c d/é"), SERVICE)
    assert dict(request.headers)[b"authorization"] == b"Basic " + b64encode(b"a%3Ab:c+d%2F%C3%A9")
    assert form(request.body) == {"grant_type": "client_credentials"}
    posted = token_request(policy(auth=ClientAuth.POST, audience="api", scopes=("a", "b")), SERVICE)
    assert form(posted.body) == {
        "grant_type": "client_credentials",
        "client_id": "id",
        "client_secret": "secret",
        "audience": "api",
        "scope": "a b",
    }
    assert b"authorization" not in dict(posted.headers)


def test_a_tenant_cannot_change_the_host_or_leave_the_path() -> None:
    tenants = policy(token_url="https://login.example.com/{tenant}/token")
    assert token_request(tenants, ACME).url == "https://login.example.com/a%2F..%2Fb%20c/token"
    for name in ("..", "."):
        with pytest.raises(ValueError, match="path"):
            token_request(tenants, Subject("tenant:..", tenant=name))


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_an_assertion_is_one_that_its_public_key_verifies(kind: str) -> None:
    key: Any = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = policy(
        grant=GrantType.JWT_BEARER,
        private_key=pem,
        issuer="robot@project.iam.gserviceaccount.com",
        subject="ann@example.com",
        key_id="k1",
        scopes=("https://www.googleapis.com/auth/gmail.readonly",),
    )
    request = token_request(account, SERVICE, now=NOW)
    fields = form(request.body)
    assert fields["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    algorithm = "RS256" if kind == "rsa" else "ES256"
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(fields["assertion"], key.public_key(), [algorithm], options, audience=account.token_url)
    assert claims["iss"] == account.issuer
    assert claims["sub"] == "ann@example.com"
    assert claims["scope"] == account.scopes[0]
    assert 0 < claims["exp"] - NOW <= 300
    assert jwt.get_unverified_header(fields["assertion"])["kid"] == "k1"


def test_a_private_key_that_is_none_is_told_without_it() -> None:
    other = ed25519.Ed25519PrivateKey.generate()
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for text in ("not a key", pem):
        with pytest.raises(ValueError, match="private key") as caught:
            token_request(policy(grant=GrantType.JWT_BEARER, private_key=text, issuer="i"), SERVICE, now=NOW)
        assert text not in str(caught.value)


def test_the_authorization_request_has_pkce_and_a_state_that_parameters_cannot_replace() -> None:
    proof = new_proof()
    configured = policy(
        grant=GrantType.REFRESH_TOKEN,
        authorize_url="https://login.example.com/authorize?tenant=x",
        scopes=("a",),
        authorize_params=(("access_type", "offline"), ("state", "mine"), ("redirect_uri", "https://evil.example")),
    )
    url = authorization_url(configured, "the-state", proof.challenge, "https://gw.example/connect/crm/callback")
    query = parse_qs(urlsplit(url).query)
    assert query == {
        "tenant": ["x"],
        "scope": ["a"],
        "access_type": ["offline"],
        "response_type": ["code"],
        "client_id": ["id"],
        "redirect_uri": ["https://gw.example/connect/crm/callback"],
        "state": ["the-state"],
        "code_challenge": [proof.challenge],
        "code_challenge_method": ["S256"],
    }
    assert 43 <= len(proof.verifier) <= 128
    exchange = form(code_request(configured, SERVICE, "the-code", proof.verifier, "https://gw.example/cb").body)
    assert exchange["code_verifier"] == proof.verifier
    revocation = revocation_request(
        msgspec.structs.replace(configured, revoke_url="https://login.example.com/revoke"), "token"
    )
    assert revocation.url == "https://login.example.com/revoke"
    assert form(revocation.body)["token"] == "token"


KEYS = [urlsafe_b64encode(bytes([number]) * 32).decode() for number in range(3)]


def test_keys_are_rotated_by_putting_a_new_one_first() -> None:
    old = Cipher(KEYS[:1], "s").encrypt("name", b"token")
    assert Cipher([KEYS[1], KEYS[0]], "s").decrypt("name", old) == b"token"
    assert Cipher([KEYS[1]], "s").decrypt("name", old) is None
    new = Cipher([KEYS[1], KEYS[0]], "s").encrypt("name", b"token")
    assert Cipher([KEYS[1]], "s").decrypt("name", new) == b"token"


def test_without_keys_one_is_derived_which_still_decrypts_later() -> None:
    derived = Cipher((), "the secret key").encrypt("name", b"token")
    assert Cipher(KEYS[:1], "the secret key").decrypt("name", derived) == b"token"
    assert Cipher((), "another").decrypt("name", derived) is None


def test_a_ciphertext_cannot_be_moved_to_another_name_or_changed() -> None:
    cipher = Cipher(KEYS[:1], "s")
    token = cipher.encrypt("ann", b"token")
    assert cipher.decrypt("bob", token) is None
    assert cipher.decrypt("ann", token[:-1]) is None
    assert cipher.decrypt("ann", b"") is None
    assert b"token" not in token


def test_keys_are_32_bytes_in_either_base64() -> None:
    standard = b64encode(b"\xfb\xff" * 16).decode()
    assert parse_keys(f"{KEYS[0]}, {standard}") == (KEYS[0], standard)
    for text in ("short", KEYS[0][:-4], f"{KEYS[0]},é"):
        with pytest.raises(ValueError, match=r"key \d is not 32 random bytes") as caught:
            parse_keys(text)
        assert text not in str(caught.value)
    assert Cipher((standard,), "s").decrypt("n", Cipher((standard,), "s").encrypt("n", b"x")) == b"x"


def test_no_representation_contains_a_secret() -> None:
    texts = [
        repr(policy(refresh_token="r3fresh", private_key="pr1vate")),
        repr(TokenResponse("acc3ss", 1, "r3fresh")),
        repr(TokenRecord(access_token="acc3ss")),
    ]
    for secret in ("secret", "r3fresh", "pr1vate", "acc3ss"):
        assert secret not in " ".join(texts)

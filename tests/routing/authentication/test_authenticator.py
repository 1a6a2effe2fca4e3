import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.authentication.api_keys import ApiKeys, KeyRecord, NewApiKey, generate_api_key
from routing.authentication.authenticator import Authenticator, Credential, read_credential
from routing.caller import Caller
from routing.errors import Unauthenticated
from routing.http import Headers

NOW = 1_000_000.0
TOKEN = "aaa.bbb.ccc"
KEY = generate_api_key()


class Tokens:
    """Verifies one token, and caches it."""

    def __init__(self) -> None:
        self.verified = False

    def cached(self, token: str, now: float) -> Caller | None:
        return Caller("firebase:ada") if self.verified and token == TOKEN else None

    async def verify(self, token: str, now: float) -> Caller:
        if token != TOKEN:
            raise Unauthenticated("the token is not valid")
        self.verified = True
        return Caller("firebase:ada")


def table(*keys: NewApiKey) -> ApiKeys:
    return ApiKeys(KeyRecord(prefix=key.prefix, digest=key.digest, name="reports") for key in keys)


def bearer(value: str) -> Headers:
    return [(b"accept", b"*/*"), (b"authorization", value.encode("latin-1"))]


def api_key_field(value: str) -> Headers:
    return [(b"x-api-key", value.encode("latin-1"))]


def test_a_request_may_have_no_credential() -> None:
    assert read_credential([(b"accept", b"*/*"), (b"cookie", b"a=b")]) is None


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_bearer_scheme_is_case_insensitive(scheme: str) -> None:
    assert read_credential(bearer(f"{scheme} {TOKEN}")) == Credential(TOKEN, is_key=False)


def test_a_key_is_read_from_authorization_or_its_own_field() -> None:
    key = Credential(KEY.key, is_key=True)
    assert read_credential(bearer(f"Bearer {KEY.key}")) == key
    assert read_credential(api_key_field(KEY.key)) == key
    assert read_credential(bearer(f"Bearer {KEY.key}") + api_key_field(KEY.key)) == key


def test_a_key_may_have_the_scheme_of_githubs_clients() -> None:
    for scheme in ("token", "Token"):
        assert read_credential(bearer(f"{scheme} {KEY.key}")) == Credential(KEY.key, is_key=True)
    for other in (f"token {TOKEN}", "token ghp_1", "token", f"token {KEY.key} x"):
        with pytest.raises(Unauthenticated, match="must be 'Bearer'"):
            read_credential(bearer(other))


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        (bearer(""), "'Bearer' followed by one token"),
        (bearer("Bearer"), "'Bearer' followed by one token"),
        (bearer("Bearer "), "'Bearer' followed by one token"),
        (bearer(TOKEN), "'Bearer' followed by one token"),
        (bearer("Basic YTpi"), "'Bearer' followed by one token"),
        (bearer("Bearer a b"), "'Bearer' followed by one token"),
        (bearer(f"Bearer {TOKEN}, Bearer x"), "'Bearer' followed by one token"),
        (bearer("Bearer caf\xe9"), "'Bearer' followed by one token"),
        (bearer("Bearer a\nb"), "'Bearer' followed by one token"),
        (bearer(f"Bearer {TOKEN}") * 2, "more than one authorization"),
        (api_key_field(KEY.key) * 2, "more than one x-api-key"),
        (bearer("Bearer " + "a" * 1_000_000), "too long"),
        (api_key_field("a" * 1_000_000), "too long"),
        (api_key_field(""), "not an API key"),
        (api_key_field(TOKEN), "not an API key"),
        (api_key_field(KEY.key + "\xe9"), "not an API key"),
        (bearer(f"Bearer {TOKEN}") + api_key_field(KEY.key), "different credentials"),
        (bearer(f"Bearer {generate_api_key().key}") + api_key_field(KEY.key), "different credentials"),
    ],
)
def test_malformed_or_ambiguous_credentials_are_rejected(headers: Headers, detail: str) -> None:
    with pytest.raises(Unauthenticated, match=detail):
        read_credential(headers)


def test_a_credential_is_hidden_in_its_repr() -> None:
    assert KEY.key not in repr(Credential(KEY.key, is_key=True))


def test_a_key_is_identified_without_io() -> None:
    caller = Authenticator(lambda: table(KEY)).try_identify(Credential(KEY.key, is_key=True), NOW)
    assert caller == Caller(f"key:{KEY.prefix}")


async def test_a_token_is_identified_without_io_once_verified() -> None:
    authenticator = Authenticator(table, Tokens())
    token = Credential(TOKEN, is_key=False)
    assert authenticator.try_identify(token, NOW) is None
    assert await authenticator.identify(token, NOW) == Caller("firebase:ada")
    assert authenticator.try_identify(token, NOW) == Caller("firebase:ada")


async def test_a_revoked_key_is_invalid_once_the_table_is_replaced() -> None:
    current = table(KEY)
    authenticator = Authenticator(lambda: current)
    key = Credential(KEY.key, is_key=True)
    assert await authenticator.identify(key, NOW)
    current = table()
    assert authenticator.try_identify(key, NOW) is None
    with pytest.raises(Unauthenticated, match="API key"):
        await authenticator.identify(key, NOW)


async def test_a_key_is_never_passed_to_the_token_verifier() -> None:
    with pytest.raises(Unauthenticated, match="API key"):
        await Authenticator(table, Tokens()).identify(Credential(KEY.key, is_key=True), NOW)


async def test_without_firebase_no_token_is_valid() -> None:
    authenticator = Authenticator(lambda: table(KEY))
    token = Credential(TOKEN, is_key=False)
    assert authenticator.try_identify(token, NOW) is None
    with pytest.raises(Unauthenticated, match="the token is not valid"):
        await authenticator.identify(token, NOW)


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key"]), st.binary()), max_size=3))
def test_any_bytes_are_parsed_or_rejected(headers: Headers) -> None:
    try:
        credential = read_credential(headers)
    except Unauthenticated:
        return
    assert (credential is None) == (not headers)
    assert credential is None or Authenticator(lambda: table(KEY)).try_identify(credential, NOW) is None

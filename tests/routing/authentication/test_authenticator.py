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
    """Knows one token; remembers it once it has been verified."""

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


def named(value: str) -> Headers:
    return [(b"x-api-key", value.encode("latin-1"))]


def test_a_request_may_bear_no_credential() -> None:
    assert read_credential([(b"accept", b"*/*"), (b"cookie", b"a=b")]) is None


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_a_token_is_the_bearer_whatever_the_schemes_case(scheme: str) -> None:
    assert read_credential(bearer(f"{scheme} {TOKEN}")) == Credential(TOKEN, is_key=False)


def test_a_key_is_the_bearer_or_a_field_of_its_own() -> None:
    key = Credential(KEY.key, is_key=True)
    assert read_credential(bearer(f"Bearer {KEY.key}")) == key
    assert read_credential(named(KEY.key)) == key
    assert read_credential(bearer(f"Bearer {KEY.key}") + named(KEY.key)) == key


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
        (named(KEY.key) * 2, "more than one x-api-key"),
        (bearer("Bearer " + "a" * 1_000_000), "too long"),
        (named("a" * 1_000_000), "too long"),
        (named(""), "not an API key"),
        (named(TOKEN), "not an API key"),
        (named(KEY.key + "\xe9"), "not an API key"),
        (bearer(f"Bearer {TOKEN}") + named(KEY.key), "different credentials"),
        (bearer(f"Bearer {generate_api_key().key}") + named(KEY.key), "different credentials"),
    ],
)
def test_what_cannot_be_read_as_one_credential_is_refused(headers: Headers, detail: str) -> None:
    with pytest.raises(Unauthenticated, match=detail):
        read_credential(headers)


def test_a_credential_does_not_show_itself() -> None:
    assert KEY.key not in repr(Credential(KEY.key, is_key=True))


def test_a_key_is_known_at_once() -> None:
    caller = Authenticator(lambda: table(KEY)).try_identify(Credential(KEY.key, is_key=True), NOW)
    assert caller == Caller(f"key:{KEY.prefix}")


async def test_a_token_is_known_once_it_has_been_verified() -> None:
    authenticator = Authenticator(table, Tokens())
    token = Credential(TOKEN, is_key=False)
    assert authenticator.try_identify(token, NOW) is None
    assert await authenticator.identify(token, NOW) == Caller("firebase:ada")
    assert authenticator.try_identify(token, NOW) == Caller("firebase:ada")


async def test_a_revoked_key_ends_with_the_table_it_was_in() -> None:
    current = table(KEY)
    authenticator = Authenticator(lambda: current)
    key = Credential(KEY.key, is_key=True)
    assert await authenticator.identify(key, NOW)
    current = table()
    assert authenticator.try_identify(key, NOW) is None
    with pytest.raises(Unauthenticated, match="API key"):
        await authenticator.identify(key, NOW)


async def test_a_key_is_never_shown_to_the_token_verifier() -> None:
    with pytest.raises(Unauthenticated, match="API key"):
        await Authenticator(table, Tokens()).identify(Credential(KEY.key, is_key=True), NOW)


async def test_without_firebase_no_token_is_valid() -> None:
    authenticator = Authenticator(lambda: table(KEY))
    token = Credential(TOKEN, is_key=False)
    assert authenticator.try_identify(token, NOW) is None
    with pytest.raises(Unauthenticated, match="the token is not valid"):
        await authenticator.identify(token, NOW)


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key"]), st.binary()), max_size=3))
def test_no_bytes_do_anything_but_be_read_or_refused(headers: Headers) -> None:
    try:
        found = read_credential(headers)
    except Unauthenticated:
        return
    assert (found is None) == (not headers)
    assert found is None or Authenticator(lambda: table(KEY)).try_identify(found, NOW) is None

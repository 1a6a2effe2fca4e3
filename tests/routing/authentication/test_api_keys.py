from hypothesis import given
from hypothesis import strategies as st

from routing.authentication.api_keys import ApiKeys, KeyRecord, NewApiKey, digest, generate_api_key, looks_like_key
from routing.caller import Caller

NOW = 1_000_000.0


def record(
    key: NewApiKey, *, scopes: frozenset[str] | None = None, tenant: str | None = None, expires: float | None = None
) -> KeyRecord:
    return KeyRecord(
        prefix=key.prefix, digest=key.digest, name="reports", scopes=scopes, tenant=tenant, expires=expires
    )


def test_only_a_generated_key_has_the_form_of_a_key() -> None:
    key = generate_api_key()
    assert looks_like_key(key.key)
    assert key.key.startswith(f"gw_{key.prefix}_")
    for text in ("", "gw_", key.key[:-1], key.key + "a", key.key + "\n", " " + key.key, key.key.upper(), key.digest):
        assert not looks_like_key(text)


def test_no_two_keys_are_equal() -> None:
    keys = [generate_api_key() for _ in range(100)]
    assert len({key.key for key in keys}) == len({key.digest for key in keys}) == 100


def test_only_the_digest_of_a_key_is_stored() -> None:
    key = generate_api_key()
    assert key.digest == digest(key.key)
    assert key.key not in repr(record(key))
    assert key.key not in repr(key)


def test_a_key_is_found_with_its_permissions() -> None:
    key = generate_api_key()
    keys = ApiKeys([record(key, scopes=frozenset({"crm", "debug"}), tenant="acme", expires=NOW + 60)])
    assert keys.find(key.key, NOW) == Caller(f"key:{key.prefix}", "acme", frozenset({"crm", "debug"}), NOW + 60)


def test_a_key_is_invalid_from_its_expiry_on() -> None:
    key = generate_api_key()
    keys = ApiKeys([record(key, expires=NOW)])
    assert keys.find(key.key, NOW - 0.001) is not None
    assert keys.find(key.key, NOW) is None


def test_a_key_without_expiry_never_expires() -> None:
    key = generate_api_key()
    assert ApiKeys([record(key)]).find(key.key, NOW * 1_000) == Caller(f"key:{key.prefix}")


def test_a_known_prefix_with_another_secret_is_not_found() -> None:
    key, other = generate_api_key(), generate_api_key()
    forged = f"gw_{key.prefix}_{other.key[-43:]}"
    assert ApiKeys([record(key)]).find(forged, NOW) is None


def test_the_digest_is_not_a_credential() -> None:
    key = generate_api_key()
    assert ApiKeys([record(key)]).find(key.digest, NOW) is None


@given(st.text())
def test_any_other_text_is_not_found(text: str) -> None:
    assert ApiKeys([record(generate_api_key())]).find(text, NOW) is None

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.authentication.api_keys import ApiKeys, KeyRecord, RetiredDigest, generate_api_key
from routing.authentication.key_form import (
    checksum,
    contains_key,
    digest,
    environment_of,
    is_well_formed,
    looks_like_key,
    parse_prefix,
)

NOW = 1_000_000.0
OLD = "gw_abcdefgh_" + "a-_" + "b" * 40
SCANNED = re.compile(r"\bgw_(?:(?:live|test)_)?[a-z2-7]{8}_[0-9A-Za-z]{49}\b")
"""As docs/keys.md says."""


@pytest.mark.parametrize("environment", ["", "live", "test"])
def test_a_key_is_found_by_scanners_and_has_its_checksum(environment: str) -> None:
    key = generate_api_key(environment).key
    assert SCANNED.fullmatch(key)
    assert key.endswith(checksum(key[:-6]))
    assert is_well_formed(key)
    assert environment_of(key) == environment
    assert contains_key(f"token={key};".encode())


def test_the_checksum_is_the_crc_32_in_base_62() -> None:
    assert checksum("123456789") == "3jZRME"  # 0xCBF43926
    assert checksum("") == "000000"


@given(st.integers(12, 60), st.sampled_from(string.ascii_letters + string.digits))
def test_a_key_with_one_wrong_character_is_refused_without_a_lookup(position: int, character: str) -> None:
    key = generate_api_key().key
    mistyped = key[:position] + character + key[position + 1 :]
    assert is_well_formed(mistyped) is (mistyped == key)
    assert looks_like_key(mistyped)
    keys = ApiKeys([KeyRecord(prefix="abcdefgh", digest=digest(mistyped), name="n")])
    assert (keys.find(mistyped, NOW) is None) is (mistyped != key)


def test_keys_of_earlier_versions_stay_valid() -> None:
    keys = ApiKeys([KeyRecord(prefix="abcdefgh", digest=digest(OLD), name="n")])
    assert keys.find(OLD, NOW) is not None


def test_a_replaced_secret_is_the_same_caller_until_its_end() -> None:
    old, new = generate_api_key(), generate_api_key()
    record = KeyRecord(
        prefix=new.prefix, digest=new.digest, name="n", expires=NOW + 9, retired=(RetiredDigest(old.digest, NOW + 5),)
    )
    keys = ApiKeys([record])
    found = keys.find(old.key, NOW)
    assert found is not None
    assert (found.id, found.expires) == (f"key:{new.prefix}", NOW + 5)
    assert keys.find(old.key, NOW + 5) is None
    assert keys.find(new.key, NOW + 5) is not None
    assert keys.retired_digest(old.key) == old.digest
    assert keys.retired_digest(new.key) is None
    assert len(keys) == 1


def test_a_key_of_another_environment_is_refused_and_told_so() -> None:
    made = {name: generate_api_key(name) for name in ("", "live", "test")}
    records = [
        KeyRecord(prefix=key.prefix, digest=key.digest, name="n", environment=name) for name, key in made.items()
    ]
    keys = ApiKeys(records, environment="live")
    assert {name for name, key in made.items() if keys.find(key.key, NOW)} == {"", "live"}
    assert "environment 'test'" in keys.fault(made["test"].key)
    assert all(ApiKeys(records).find(key.key, NOW) for key in made.values())


@pytest.mark.parametrize("text", ["abcdefgh", "gw_abcdefgh", "gw_test_abcdefgh", "key:abcdefgh", OLD, f" {OLD} "])
def test_a_prefix_is_read_in_every_form_in_which_it_is_shown(text: str) -> None:
    assert parse_prefix(text) == "abcdefgh"


@pytest.mark.parametrize("text", ["", "gw_", "ABCDEFGH", "abcdefg", "abcdefgh1", "gw_dev_abcdefgh", "abcdefgh\n_"])
def test_anything_else_is_no_prefix(text: str) -> None:
    assert parse_prefix(text) == ""

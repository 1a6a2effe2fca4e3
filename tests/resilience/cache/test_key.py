"""Cache keys: two requests share one only if all parts are equal."""

import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from resilience.cache.key import key, scope_id
from resilience.cache.policy import Scope

PARTS = st.tuples(*[st.text(max_size=6)] * 2, *[st.binary(max_size=6)] * 5)


def key_of(parts: Any) -> str:
    service, owner, path, query, origin, credentials, backend = parts
    return key(service, owner, path, query, origin=origin, credentials=credentials, backend=backend)


@given(PARTS, PARTS)
def test_different_parts_have_different_keys(one: Any, other: Any) -> None:
    assert (key_of(one) == key_of(other)) is (one == other)


@given(st.text("ab:0123", max_size=8), st.integers(0, 8))
def test_moving_a_boundary_between_parts_changes_the_key(text: str, at: int) -> None:
    data = text.encode()
    assert key("s", "u", data[:at], data[at:]) != key("s", "u", data[:at] + b"x", data[at:])
    if 0 < at <= len(data):
        assert key("s", "u", data[:at], data[at:]) != key("s", "u", data[: at - 1], data[at - 1 :])


def test_a_key_is_forty_hexadecimal_digits() -> None:
    digits = key("service", "user:alice", b"/secret", b"token=1")
    assert len(digits) == 40
    assert set(digits) <= set(string.hexdigits)


def test_callers_share_within_their_scope() -> None:
    assert scope_id(Scope.USER, "alice", "acme") != scope_id(Scope.USER, "bob", "acme")
    assert scope_id(Scope.TENANT, "alice", "acme") == scope_id(Scope.TENANT, "bob", "acme")
    assert scope_id(Scope.SHARED, "alice", "acme") == scope_id(Scope.SHARED, "bob", None)


def test_callers_without_a_tenant_do_not_share() -> None:
    assert scope_id(Scope.TENANT, "alice", None) != scope_id(Scope.TENANT, "bob", None)


def test_a_callers_id_cannot_equal_a_tenants() -> None:
    assert scope_id(Scope.USER, "acme", None) != scope_id(Scope.TENANT, "x", "acme")
    assert scope_id(Scope.USER, "shared", None) != scope_id(Scope.SHARED, "x", None)

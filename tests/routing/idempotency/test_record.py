import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import BadRequest
from routing.idempotency.record import (
    IdempotencyRecord,
    ReplayDecision,
    decide_replay,
    fingerprint,
    idempotency_key,
    record_name,
    saved_response,
)

PARTS = st.lists(st.binary(max_size=4), max_size=4)


@pytest.mark.parametrize("values", [[b""], [b"\xff"], [b"a" * 256], [b"a", b"b"], [b"a\x00"]])
def test_a_malformed_key_is_rejected(values: list[bytes]) -> None:
    with pytest.raises(BadRequest):
        idempotency_key([(b"idempotency-key", value) for value in values])


def test_a_key_is_scoped_to_its_caller_and_service() -> None:
    names = {record_name("crm", "key:a", b"1"), record_name("crm", "key:b", b"1"), record_name("slack", "key:a", b"1")}
    assert len(names) == 3
    assert record_name("crm", "ab", b"c") != record_name("crm", "a", b"bc")


@given(PARTS, PARTS)
def test_two_requests_have_the_same_fingerprint_only_if_they_are_equal(one: list[bytes], other: list[bytes]) -> None:
    assert (fingerprint(one) == fingerprint(other)) is (one == other)


def test_the_decision_about_a_retry() -> None:
    requested, saved = IdempotencyRecord("me", b"p"), saved_response(200, [], b"")
    assert decide_replay(requested, IdempotencyRecord("first", b"p")) is ReplayDecision.IN_PROGRESS
    assert decide_replay(requested, IdempotencyRecord("first", b"q")) is ReplayDecision.MISMATCH
    assert (
        decide_replay(requested, IdempotencyRecord("first", b"q", done=True, response=saved)) is ReplayDecision.MISMATCH
    )
    assert (
        decide_replay(requested, IdempotencyRecord("first", b"p", done=True, response=saved)) is ReplayDecision.REPLAY
    )
    assert decide_replay(requested, IdempotencyRecord("first", b"p", done=True)) is ReplayDecision.NOT_SAVED


def test_a_set_cookie_field_is_not_saved() -> None:
    assert saved_response(200, [(b"set-cookie", b"s=1"), (b"etag", b'"1"')], b"").headers == ((b"etag", b'"1"'),)

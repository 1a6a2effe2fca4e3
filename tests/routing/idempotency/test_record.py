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
def test_a_key_that_is_none_is_refused(values: list[bytes]) -> None:
    with pytest.raises(BadRequest):
        idempotency_key([(b"idempotency-key", value) for value in values])


def test_a_key_is_its_callers_and_its_services() -> None:
    names = {record_name("crm", "key:a", b"1"), record_name("crm", "key:b", b"1"), record_name("slack", "key:a", b"1")}
    assert len(names) == 3
    assert record_name("crm", "ab", b"c") != record_name("crm", "a", b"bc")


@given(PARTS, PARTS)
def test_two_requests_have_one_print_only_if_they_are_the_same(one: list[bytes], other: list[bytes]) -> None:
    assert (fingerprint(one) == fingerprint(other)) is (one == other)


def test_what_a_repeat_is_given() -> None:
    asked, answer = IdempotencyRecord("me", b"p"), saved_response(200, [], b"")
    assert decide_replay(asked, IdempotencyRecord("first", b"p")) is ReplayDecision.IN_PROGRESS
    assert decide_replay(asked, IdempotencyRecord("first", b"q")) is ReplayDecision.MISMATCH
    assert decide_replay(asked, IdempotencyRecord("first", b"q", done=True, response=answer)) is ReplayDecision.MISMATCH
    assert decide_replay(asked, IdempotencyRecord("first", b"p", done=True, response=answer)) is ReplayDecision.REPLAY
    assert decide_replay(asked, IdempotencyRecord("first", b"p", done=True)) is ReplayDecision.NOT_SAVED


def test_a_cookie_is_not_kept() -> None:
    assert saved_response(200, [(b"set-cookie", b"s=1"), (b"etag", b'"1"')], b"").headers == ((b"etag", b'"1"'),)

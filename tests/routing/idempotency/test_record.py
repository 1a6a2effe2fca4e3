import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import BadRequest
from routing.idempotency.record import Record, Verdict, fingerprint, judge, kept, key_of, name_of

PARTS = st.lists(st.binary(max_size=4), max_size=4)


@pytest.mark.parametrize("values", [[b""], [b"\xff"], [b"a" * 256], [b"a", b"b"], [b"a\x00"]])
def test_a_key_that_is_none_is_refused(values: list[bytes]) -> None:
    with pytest.raises(BadRequest):
        key_of([(b"idempotency-key", value) for value in values])


def test_a_key_is_its_callers_and_its_services() -> None:
    names = {name_of("crm", "key:a", b"1"), name_of("crm", "key:b", b"1"), name_of("slack", "key:a", b"1")}
    assert len(names) == 3
    assert name_of("crm", "ab", b"c") != name_of("crm", "a", b"bc")


@given(PARTS, PARTS)
def test_two_requests_have_one_print_only_if_they_are_the_same(one: list[bytes], other: list[bytes]) -> None:
    assert (fingerprint(one) == fingerprint(other)) is (one == other)


def test_what_a_repeat_is_given() -> None:
    asked, answer = Record("me", b"p"), kept(200, [], b"")
    assert judge(asked, Record("first", b"p")) is Verdict.WAIT
    assert judge(asked, Record("first", b"q")) is Verdict.OTHER
    assert judge(asked, Record("first", b"q", done=True, answer=answer)) is Verdict.OTHER
    assert judge(asked, Record("first", b"p", done=True, answer=answer)) is Verdict.REPLAY
    assert judge(asked, Record("first", b"p", done=True)) is Verdict.LOST


def test_a_cookie_is_not_kept() -> None:
    assert kept(200, [(b"set-cookie", b"s=1"), (b"etag", b'"1"')], b"").headers == ((b"etag", b'"1"'),)

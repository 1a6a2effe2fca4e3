"""Decoding of client messages."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.realtime.limits import MessageQuota
from routing.realtime.messages import Auth, Ping, Resume, Subscribe, decode_message


def test_the_five_messages_of_a_client() -> None:
    assert decode_message('{"type":"subscribe","topics":["a"]}') == Subscribe(["a"])
    assert decode_message('{"type":"subscribe","topics":["a"],"last_id":"1-0"}') == Subscribe(["a"], "1-0")
    assert decode_message('{"type":"resume","last_id":"1-0"}') == Resume("1-0")
    assert decode_message('{"type":"ping"}') == Ping()
    assert repr(decode_message('{"type":"auth","token":"secret"}')) == "Auth()"
    assert decode_message('{"type":"auth","token":"t"}') == Auth("t")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"type":"nope"}',
        '{"type":"ping","more":1}',
        '{"type":"subscribe"}',
        '{"type":"subscribe","topics":[]}',
        '{"type":"subscribe","topics":"a"}',
        '{"type":"subscribe","topics":[1]}',
        f'{{"type":"subscribe","topics":[{",".join(chr(34) + "a" + chr(34) for _ in range(101))}]}}',
        "[" * 4_000,
        '{"type":"ping"',
        '"\ud800"',
    ],
)
def test_anything_else_is_an_error_with_a_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_message(text)


@given(st.text())
def test_any_text_is_decoded_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        decode_message(text)


def test_at_most_sixty_messages_in_any_minute() -> None:
    quota = MessageQuota(60)
    assert all(quota.allow(float(second)) for second in range(60))
    assert not quota.allow(59.9)
    assert quota.allow(60.0)
    assert not quota.allow(60.5)

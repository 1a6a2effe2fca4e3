"""JSON as programs send it that cut texts, or begin it with a byte order mark."""

import pytest

from routing.messages.json_decoding import decode_json


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (rb'"cut \ud83d"', "cut \ufffd"),
        (rb'"\ude00 \ud83d\ude00 \uD83D"', "\ufffd \U0001f600 \ufffd"),
        (rb'"\\ud83d \\\ud83d"', "\\ud83d \\\ufffd"),
        (rb'{"\udfff": "\n"}', {"\ufffd": "\n"}),
    ],
)
def test_what_most_parsers_read(body: bytes, value: object) -> None:
    assert decode_json(body) == value


@pytest.mark.parametrize(
    "body", [b"", b"{", b'"\xff"', rb'"\ud8"', rb'["\ud8", "]', rb'"\ud800', b"NaN", rb'{"\ud800": NaN}']
)
def test_what_is_malformed_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"malformed|truncated|decode|invalid"):
        decode_json(body)

"""Percent-encoding, compared with the standard library."""

from typing import Final
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.messages import percent_encoding
from tests.processor_time import milliseconds

PIECES: Final = st.sampled_from([b"%", b"%4", b"%41", b"%2f", b"%2F", b"%25", b"%zz", b"a", b"/", b"\xff", b"%ff"])


@given(st.one_of(st.binary(), st.lists(PIECES).map(b"".join)))
def test_decodes_as_the_standard_library(data: bytes) -> None:
    assert percent_encoding.decode(data) == unquote_to_bytes(data)


@pytest.mark.parametrize("data", [b"%" * 16_384, b"%zz" * 5_461, b"%41" * 5_461, b"%4" * 8_192])
def test_16_kb_take_less_than_5_milliseconds(data: bytes) -> None:
    assert milliseconds(lambda: percent_encoding.decode(data), 5) < 5

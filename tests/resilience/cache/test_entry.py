"""Encoding of entries: an encoded entry decodes to itself, and anything else is a miss."""

import zlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from resilience.cache.entry import COMPRESSION_THRESHOLD, MAX_DECOMPRESSED_BYTES, VERSION, Entry, decode, encode

ENTRY = Entry(
    status=200,
    headers=((b"content-type", b"text/plain"), (b"x-latin", b"\xe9")),
    body=b"hello",
    stored_at=1.5,
    generated_at=1.0,
    fresh_until=2.0,
    stale_until=3.0,
    vary=(b"accept",),
    variant=b"\x00\xff",
    tags=("a", "ü"),
)


@given(body=st.binary(max_size=3_000), name=st.binary(max_size=20), tag=st.text(max_size=20))
def test_an_encoded_entry_decodes_to_itself(body: bytes, name: bytes, tag: str) -> None:
    entry = msgspec.structs.replace(ENTRY, body=body, headers=((name, body[:9]),), tags=(tag,))
    assert decode(encode(entry)) == entry


def test_a_large_body_is_compressed_if_that_saves_space() -> None:
    entry = msgspec.structs.replace(ENTRY, body=b"ab" * COMPRESSION_THRESHOLD)
    assert len(encode(entry)) < len(entry.body) / 10
    assert decode(encode(entry)) == entry


def test_an_already_compressed_body_is_not_compressed_again() -> None:
    body = b"ab" * COMPRESSION_THRESHOLD
    entry = msgspec.structs.replace(ENTRY, body=body, headers=((b"content-encoding", b"gzip"),))
    assert len(encode(entry)) > len(body)


def test_another_version_is_a_miss() -> None:
    assert decode(b"\x01" + encode(ENTRY)[1:]) is None
    assert decode(VERSION + b"\x07" + encode(ENTRY)[2:]) is None


def test_an_entry_of_another_structure_is_a_miss() -> None:
    assert decode(VERSION + b"\x00" + msgspec.msgpack.encode(["status", 200])) is None


def test_data_that_decompresses_beyond_the_limit_is_a_miss() -> None:
    bomb = zlib.compress(b"\x00" * (MAX_DECOMPRESSED_BYTES + 1), 9)
    assert decode(VERSION + b"\x01" + bomb) is None


@given(st.binary(max_size=100), st.booleans(), st.integers(0, 80))
def test_corrupt_data_is_a_miss_and_never_an_error(noise: bytes, compressed: bool, at: int) -> None:
    encoded = encode(msgspec.structs.replace(ENTRY, body=b"ab" * 2_000) if compressed else ENTRY)
    for corrupt in (
        noise,
        VERSION + noise,
        VERSION + b"\x00" + noise,
        encoded[:at],
        encoded[:at] + noise + encoded[at + 1 :],
    ):
        decoded = decode(corrupt)
        assert decoded is None or isinstance(decoded, Entry)

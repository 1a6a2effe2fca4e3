"""Range requests for a stored body (RFC 9110 section 14, RFC 9111 section 3.3)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.cache.ranges import MAX_PARTS, ByteSpan, Unsatisfiable, parts
from resilience.cache.responses import construct_response
from tests.resilience.cache.messages import DATE, MINUTE_AGO, entry, make_request, pairs

TEN = entry(
    pairs(etag='"a"', last_modified=MINUTE_AGO.decode(), date=DATE.decode(), content_length="10"), body=b"0123456789"
)
UNSATISFIABLE = Unsatisfiable()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-3", (ByteSpan(0, 4),)),
        ("bytes=3-3", (ByteSpan(3, 4),)),
        ("bytes=9-", (ByteSpan(9, 10),)),
        ("bytes=0-", (ByteSpan(0, 10),)),
        ("bytes=4-100", (ByteSpan(4, 10),)),
        ("bytes=-3", (ByteSpan(7, 10),)),
        ("bytes=-100", (ByteSpan(0, 10),)),
        ("Bytes=0-3", (ByteSpan(0, 4),)),
        ("bytes = 0-3", (ByteSpan(0, 4),)),
        ("bytes= 0 - 3 ", (ByteSpan(0, 4),)),
        ("bytes=0-3,4-5", (ByteSpan(0, 6),)),
        ("bytes=4-5, 0-4", (ByteSpan(0, 6),)),
        ("bytes=0-3,2-9", (ByteSpan(0, 10),)),
        ("bytes=0-3,,4-5", (ByteSpan(0, 6),)),
        ("bytes=0-3,20-30", (ByteSpan(0, 4),)),
        ("bytes=0-9", (ByteSpan(0, 10),)),
        ("bytes=10-", UNSATISFIABLE),
        ("bytes=10-20", UNSATISFIABLE),
        ("bytes=-0", UNSATISFIABLE),
        ("bytes=20-30,40-50", UNSATISFIABLE),
        ("bytes=0-1,8-9", (ByteSpan(0, 2), ByteSpan(8, 10))),
        ("bytes=0-1,5-6", (ByteSpan(0, 2), ByteSpan(5, 7))),
        ("bytes=8-9,0-1", (ByteSpan(8, 10), ByteSpan(0, 2))),
        ("bytes=-1,0-0", (ByteSpan(9, 10), ByteSpan(0, 1))),
        ("bytes=0-0,8-,2-3", (ByteSpan(0, 1), ByteSpan(8, 10), ByteSpan(2, 4))),
        ("bytes=6-7,0-1,7-8", (ByteSpan(6, 9), ByteSpan(0, 2))),
        ("bytes=7-8,0-1,6-7", (ByteSpan(6, 9), ByteSpan(0, 2))),
        ("bytes=0-1,20-30,8-9", (ByteSpan(0, 2), ByteSpan(8, 10))),
        ("bytes=0-9,0-9,0-9", (ByteSpan(0, 10),)),
        ("bytes=" + ",".join(["0-"] * MAX_PARTS), (ByteSpan(0, 10),)),
        ("bytes=3-2", None),
        ("bytes=", None),
        ("bytes=,", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=0x0-3", None),
        ("bytes=--3", None),
        ("bytes=0-3-5", None),
        ("bytes 0-3", None),
        ("items=0-3", None),
        ("0-3", None),
        ("", None),
        ("bytes=" + "9" * 40 + "-", None),
        ("bytes=" + ",".join(["0-1"] * (MAX_PARTS + 1)), None),
    ],
)
def test_the_requested_parts(value: str, expected: tuple[ByteSpan, ...] | Unsatisfiable | None) -> None:
    assert parts(TEN, make_request(range=value)) == expected


@pytest.mark.parametrize(
    ("value", "partial"),
    [
        ('"a"', True),
        ('W/"a"', False),
        ('"b"', False),
        ("a", False),
        (MINUTE_AGO.decode(), True),
        (DATE.decode(), False),
        ("Tuesday, 14-Nov-23 22:12:20 GMT", False),
        ("", False),
    ],
)
def test_if_range_demands_the_same_representation(value: str, partial: bool) -> None:  # RFC 9110 section 13.1.5
    assert (parts(TEN, make_request(range="bytes=0-3", if_range=value)) is not None) is partial


def test_a_date_of_the_same_second_is_not_a_strong_validator() -> None:  # RFC 9110 section 8.8.2.2
    young = entry(pairs(last_modified=DATE.decode(), date=DATE.decode()), body=b"0123456789")
    assert parts(young, make_request(range="bytes=0-3", if_range=DATE.decode())) is None


def test_only_a_get_of_a_200_has_parts() -> None:  # RFC 9110 section 14.2
    assert parts(TEN, make_request("HEAD", range="bytes=0-3")) is None
    gone = entry(pairs(cache_control="max-age=9"), status=410, body=b"0123456789")
    assert parts(gone, make_request(range="bytes=0-3")) is None


def test_a_part_has_a_content_range() -> None:  # RFC 9110 section 15.3.7
    response = construct_response(TEN, make_request(range="bytes=2-4"), 5)
    fields = dict(response.headers)
    assert (response.status, response.body) == (206, b"234")
    assert (fields[b"content-range"], fields[b"content-length"], fields[b"age"]) == (b"bytes 2-4/10", b"3", b"5")
    assert fields[b"etag"] == b'"a"'


def test_an_unsatisfiable_range_is_a_416_with_the_length() -> None:  # RFC 9110 section 15.5.17
    response = construct_response(TEN, make_request(range="bytes=10-"), 0)
    assert (response.status, response.body, dict(response.headers)[b"content-range"]) == (416, b"", b"bytes */10")


def test_preconditions_come_first() -> None:  # RFC 9110 section 13.2.2
    assert construct_response(TEN, make_request(range="bytes=0-3", if_none_match='"a"'), 0).status == 304
    assert construct_response(TEN, make_request(range="bytes=0-3", if_none_match='"b"'), 0).status == 206


def test_each_of_several_parts_has_a_content_range() -> None:  # RFC 9110 sections 14.6 and 15.3.7.2
    stored = entry(pairs(content_type="text/plain", content_length="10", etag='"a"'), body=b"0123456789")
    response = construct_response(stored, make_request(range="bytes=0-1,5-6"), 5)
    fields = dict(response.headers)
    media_type, _, boundary = fields[b"content-type"].partition(b"; boundary=")
    assert (response.status, media_type, fields[b"etag"], fields[b"age"]) == (
        206,
        b"multipart/byteranges",
        b'"a"',
        b"5",
    )
    assert b"content-range" not in fields
    assert int(fields[b"content-length"]) == len(response.body)
    part = b"--" + boundary + b"\r\ncontent-type: text/plain\r\ncontent-range: bytes "
    assert response.body == (part + b"0-1/10\r\n\r\n01\r\n" + part + b"5-6/10\r\n\r\n56\r\n--" + boundary + b"--\r\n")


def test_the_boundary_is_unpredictable() -> None:
    one, other = (construct_response(TEN, make_request(range="bytes=0-1,5-6"), 0).body for _ in range(2))
    assert one != other


def test_one_part_left_of_several_is_sent_as_one() -> None:  # RFC 9110 section 15.3.7.2
    response = construct_response(TEN, make_request(range="bytes=0-1,2-3,50-60"), 0)
    assert (response.status, response.body, dict(response.headers)[b"content-range"]) == (206, b"0123", b"bytes 0-3/10")


def test_no_response_is_much_larger_than_the_whole_body() -> None:  # RFC 9110 section 17.15
    large = entry(pairs(content_type="text/plain"), body=bytes(10_000))
    large_parts = "bytes=" + ",".join(f"{number}-{9_999 - number}" for number in range(MAX_PARTS))
    assert len(construct_response(large, make_request(range=large_parts), 0).body) == 10_000
    tiny_parts = "bytes=" + ",".join(f"{number * 2}-{number * 2}" for number in range(MAX_PARTS))
    assert len(construct_response(large, make_request(range=tiny_parts), 0).body) < 2_500
    assert construct_response(large, make_request(range=tiny_parts + ",9000-9000"), 0).status == 200


@given(st.binary(max_size=50), st.text(alphabet="bytes=-,0123456789 x", max_size=40))
def test_any_parts_are_disjoint_slices_of_the_body(body: bytes, value: str) -> None:
    stored = entry([], body=body)
    selected = parts(stored, make_request(range="bytes=" + value))
    if isinstance(selected, tuple):
        assert 0 < len(selected) <= MAX_PARTS
        assert all(0 <= part.start < part.end <= len(body) for part in selected)
        ordered = sorted(selected, key=lambda part: part.start)
        assert all(part.end < following.start for part, following in pairwise(ordered))

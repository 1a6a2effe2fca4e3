"""Heads: what is shared by requests that are alike, and how long it is kept."""

from hypothesis import given
from hypothesis import strategies as st

from routing.http1.heads import LONGEST, REMEMBERED, Head, Heads


def made(*fields: tuple[bytes, bytes], method: str = "GET", version: str = "1.1") -> Head:
    return Head(method, (b"/a", b"b=c"), version, list(fields), persists=True)


def keep(heads: Heads, data: bytes, head: Head) -> None:
    """As of one that comes again: the first time is not enough."""
    heads.keep(data, head)
    heads.keep(data, head)


def test_what_was_kept_is_found_by_the_same_bytes_and_no_others() -> None:
    heads, head = Heads(), made()
    keep(heads, b"GET /a\r\n\r\n", head)
    assert heads.of(b"GET /a\r\n\r\n") is head
    assert heads.of(b"GET /a\r\n\r\n ") is None


def test_a_long_one_is_not_kept() -> None:
    heads = Heads()
    keep(heads, b"x" * (LONGEST + 1), made())
    assert heads.of(b"x" * (LONGEST + 1)) is None


def test_what_is_used_outlives_any_number_of_others_and_they_are_bounded() -> None:
    heads, head = Heads(), made()
    keep(heads, b"used", head)
    for number in range(5 * REMEMBERED):
        keep(heads, b"%d" % number, made())
        assert heads.of(b"used") is head
    kept = sum(heads.of(b"%d" % number) is not None for number in range(5 * REMEMBERED))
    assert kept <= 2 * REMEMBERED


def test_of_a_repeated_field_the_first_line_counts() -> None:
    assert made((b"a", b"1"), (b"a", b"2")).fields == {b"a": b"1"}


def test_a_body_is_told_by_its_framing() -> None:
    assert made((b"content-length", b"3")).has_body
    assert made((b"transfer-encoding", b"chunked")).has_body
    assert not made((b"content-length", b"0")).has_body
    assert not made().has_body


def test_an_upgrade_is_one_that_the_connection_names() -> None:
    assert made((b"upgrade", b"WebSocket"), (b"connection", b"keep-alive, Upgrade")).upgrade == b"websocket"
    assert made((b"upgrade", b"websocket")).upgrade == b""


def test_only_http_1_1_waits_to_be_asked_for_its_body() -> None:
    """RFC 9110 section 10.1.1: of an HTTP/1.0 client it is ignored."""
    assert made((b"expect", b"100-Continue")).expects
    assert not made((b"expect", b"100-continue"), version="1.0").expects


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"upgrade"]), st.sampled_from([b"1", b"", b"2, 3"]))))
def test_it_can_be_written_again_without_some_of_its_fields(fields: list[tuple[bytes, bytes]]) -> None:
    head = made((b"host", b"h"), *fields)
    lines = head.written(without=frozenset({b"upgrade"})).split(b"\r\n")
    assert lines[0] == b"GET /a?b=c HTTP/1.1"
    left = [(name, value) for name, value in head.headers if name != b"upgrade"]
    assert lines[1:-2] == [b"%b: %b" % field for field in left]

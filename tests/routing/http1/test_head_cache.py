"""Heads: what is shared by requests that are alike, and how long it is kept."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from routing.http1.head_cache import GENERATION_SIZE, MAX_CACHED_BYTES, HeadCache, RequestHead
from routing.http1.request_body import RequestBody
from routing.http1.request_parser import ParseResult, RequestParser


def made(*fields: tuple[bytes, bytes], method: str = "GET", version: str = "1.1") -> RequestHead:
    return RequestHead(method, (b"/a", b"b=c"), version, list(fields), keep_alive=True)


def keep(heads: HeadCache, data: bytes, head: RequestHead) -> None:
    """As of one that comes again: the first time is not enough."""
    heads.put(data, head)
    heads.put(data, head)


def test_what_was_kept_is_found_by_the_same_bytes_and_no_others() -> None:
    heads, head = HeadCache(), made()
    keep(heads, b"GET /a\r\n\r\n", head)
    assert heads.exact(b"GET /a\r\n\r\n") is head
    assert heads.exact(b"GET /a\r\n\r\n ") is None


def test_a_long_one_is_not_kept() -> None:
    heads = HeadCache()
    keep(heads, b"x" * (MAX_CACHED_BYTES + 1), made())
    assert heads.exact(b"x" * (MAX_CACHED_BYTES + 1)) is None


def test_what_is_used_outlives_any_number_of_others_and_they_are_bounded() -> None:
    heads, head = HeadCache(), made()
    keep(heads, b"used", head)
    for number in range(5 * GENERATION_SIZE):
        keep(heads, b"%d" % number, made())
        assert heads.exact(b"used") is head
    kept = sum(heads.exact(b"%d" % number) is not None for number in range(5 * GENERATION_SIZE))
    assert kept <= 2 * GENERATION_SIZE


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
    assert made((b"expect", b"100-Continue")).expects_continue
    assert not made((b"expect", b"100-continue"), version="1.0").expects_continue


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"upgrade"]), st.sampled_from([b"1", b"", b"2, 3"]))))
def test_it_can_be_written_again_without_some_of_its_fields(fields: list[tuple[bytes, bytes]]) -> None:
    head = made((b"host", b"h"), *fields)
    lines = head.encode(without=frozenset({b"upgrade"})).split(b"\r\n")
    assert lines[0] == b"GET /a?b=c HTTP/1.1"
    left = [(name, value) for name, value in head.headers if name != b"upgrade"]
    assert lines[1:-2] == [b"%b: %b" % field for field in left]


METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"get", b"FROB"]
TARGETS = st.one_of(
    st.sampled_from(
        [b"/", b"/a?", b"/a?b=c?d", b"*", b"http://h/a", b"//a", b"/a#b", b"/a%2e", b"/caf\xc3\xa9", b"/a b"]
    ),
    st.binary(max_size=6).map(lambda some: b"/" + some),
    st.text('ab/?=&%:@[]<>\\"^`{|}~.-_', max_size=12).map(lambda some: b"/" + some.encode()),
)
FIELDS = st.lists(
    st.sampled_from(
        [
            b"Host: a",
            b"X-API-Key: k",
            b"Accept: a",
            b"accept:  b ",
            b"Connection: close",
            b"Expect: 100-continue",
            b"Content-Length: 0",
            b"Content-Length: 3",
            b"Transfer-Encoding: chunked",
            b"Upgrade: websocket",
            b"Connection: upgrade",
        ]
    ),
    max_size=5,
)


def outcome(read: ParseResult) -> tuple[Any, ...]:
    return tuple(
        (
            head.method,
            head.path,
            head.query,
            head.version,
            head.headers,
            head.fields,
            head.keep_alive,
            head.expects_continue,
        )
        for head, _ in read.requests
    )


@given(
    FIELDS,
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"]),
    st.tuples(
        st.sampled_from(METHODS),
        TARGETS,
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b"http/1.1"]),
    ),
    st.sampled_from([b"", b"\r\n", b"GET /next HTTP/1.1\r\n\r\n"]),
)
def test_a_request_line_before_known_fields_is_read_as_ever_or_left_alone(
    fields: list[bytes], first: bytes, line: tuple[bytes, bytes, bytes], before: bytes
) -> None:
    heads = HeadCache()
    rest = b"\r\n".join([b"", *fields, b"", b""])
    for path in (b"/known", b"/other", b"/third"):
        data = b"GET %b %b%b" % (path, first, rest)
        read = RequestParser(no_body).feed(data)
        if read.is_single:
            heads.put(data, read.requests[0][0])
    data = before + b" ".join(line) + rest
    like, read = heads.by_fields(data), RequestParser(no_body).feed(data)
    if like is not None:
        assert read.is_single
        assert outcome(read) == outcome(ParseResult([(like, None)]))
    if before == b"" and first == b"HTTP/1.1" and line[0] in METHODS[:7] and line[1:] == (b"/a?b=c?d", first):
        assert (like is not None) == read.is_single


def no_body(_head: RequestHead) -> RequestBody:
    return RequestBody(None, pause=lambda: None, resume=lambda: None, send_continue=None)


def test_heads_with_the_same_fields_share_what_follows_from_those() -> None:
    heads, rest = HeadCache(), b"\r\nHost: a\r\n\r\n"
    for path in (b"/a", b"/b"):
        data = b"GET %b HTTP/1.1%b" % (path, rest)
        heads.put(data, RequestParser(no_body).feed(data).requests[0][0])
    first, second = heads.by_fields(b"GET /c?d HTTP/1.1" + rest), heads.by_fields(b"HEAD /d HTTP/1.1" + rest)
    assert first
    assert second
    assert (first.method, first.path, first.query, second.method) == ("GET", b"/c", b"d", "HEAD")
    assert first.headers is second.headers
    assert first.shared_head is not second.shared_head
    assert first.shared_head.shared_fields is second.shared_head.shared_fields
    assert heads.by_fields(b"GET /c HTTP/1.1\r\nHost: b\r\n\r\n") is None

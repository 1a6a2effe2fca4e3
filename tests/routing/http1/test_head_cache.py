"""Request heads: which are cached, what identical ones share, and how they are encoded."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from routing.http1.head_cache import GENERATION_SIZE, MAX_CACHED_BYTES, HeadCache, RequestHead
from routing.http1.request_body import RequestBody
from routing.http1.request_parser import ParseResult, RequestParser


def make_head(*fields: tuple[bytes, bytes], method: str = "GET", version: str = "1.1") -> RequestHead:
    return RequestHead(method, (b"/a", b"b=c"), version, list(fields), keep_alive=True)


def put(cache: HeadCache, data: bytes, head: RequestHead) -> None:
    """Twice: a key is admitted on its second use."""
    cache.put(data, head)
    cache.put(data, head)


def test_a_head_is_found_by_exactly_its_bytes() -> None:
    cache, head = HeadCache(), make_head()
    put(cache, b"GET /a\r\n\r\n", head)
    assert cache.exact(b"GET /a\r\n\r\n") is head
    assert cache.exact(b"GET /a\r\n\r\n ") is None


def test_a_long_head_is_not_cached() -> None:
    cache = HeadCache()
    put(cache, b"x" * (MAX_CACHED_BYTES + 1), make_head())
    assert cache.exact(b"x" * (MAX_CACHED_BYTES + 1)) is None


def test_a_head_in_use_is_never_evicted_and_the_cache_is_bounded() -> None:
    cache, head = HeadCache(), make_head()
    put(cache, b"used", head)
    for number in range(5 * GENERATION_SIZE):
        put(cache, b"%d" % number, make_head())
        assert cache.exact(b"used") is head
    cached = sum(cache.exact(b"%d" % number) is not None for number in range(5 * GENERATION_SIZE))
    assert cached <= 2 * GENERATION_SIZE


def test_of_a_repeated_field_the_first_value_counts() -> None:
    assert make_head((b"a", b"1"), (b"a", b"2")).fields == {b"a": b"1"}


def test_the_framing_fields_say_whether_there_is_a_body() -> None:
    assert make_head((b"content-length", b"3")).has_body
    assert make_head((b"transfer-encoding", b"chunked")).has_body
    assert not make_head((b"content-length", b"0")).has_body
    assert not make_head().has_body


def test_an_upgrade_must_be_a_connection_option() -> None:
    assert make_head((b"upgrade", b"WebSocket"), (b"connection", b"keep-alive, Upgrade")).upgrade == b"websocket"
    assert make_head((b"upgrade", b"websocket")).upgrade == b""
    assert make_head((b"upgrade", b"websocket"), (b"connection", b"x-upgrade")).upgrade == b""


def test_connection_options_may_be_in_several_lines() -> None:
    lines = (b"connection", b"keep-alive"), (b"connection", b"Upgrade")
    assert make_head((b"upgrade", b"websocket"), *lines).upgrade == b"websocket"
    assert make_head(*reversed(lines), (b"upgrade", b"websocket")).upgrade == b"websocket"


def test_only_http_1_1_can_expect_100_continue() -> None:
    """RFC 9110 section 10.1.1: ignored in HTTP/1.0."""
    assert make_head((b"expect", b"100-Continue")).expects_continue
    assert make_head((b"expect", b"other=1, 100-continue")).expects_continue
    assert make_head((b"expect", b"other"), (b"expect", b"100-continue")).expects_continue
    assert not make_head((b"expect", b"other")).expects_continue
    assert not make_head((b"expect", b"100-continue"), version="1.0").expects_continue


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"upgrade"]), st.sampled_from([b"1", b"", b"2, 3"]))))
def test_a_head_can_be_encoded_without_some_fields(fields: list[tuple[bytes, bytes]]) -> None:
    head = make_head((b"host", b"h"), *fields)
    lines = head.encode(without=frozenset({b"upgrade"})).split(b"\r\n")
    assert lines[0] == b"GET /a?b=c HTTP/1.1"
    left = [(name, value) for name, value in head.headers if name != b"upgrade"]
    assert lines[1:-2] == [b"%b: %b" % field for field in left]


METHODS = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"get",
    b"FROB",
    b"A-B",
]
TARGETS = st.one_of(
    st.sampled_from(
        [
            b"/",
            b"/a?",
            b"/a?b=c?d",
            b"*",
            b"*?a",
            b"http://h/a",
            b"http://[::1]:1/a?b",
            b"https://h",
            b"ftp://h/a",
            b"http://u:p@h/a",
            b"//a",
            b"/a#b",
            b"/a%2e",
            b"/caf\xc3\xa9",
            b"/a b",
            b"/?a=x://y",
            b"/a://b?c://d",
            b"/:80",
            b"a:80",
        ]
    ),
    st.text("ab/?:@", max_size=8).map(lambda data: b"/" + data.encode()),
    st.text("ab/?:@", max_size=8).map(lambda data: b"http://" + data.encode()),
    st.binary(max_size=6).map(lambda data: b"/" + data),
    st.text('ab/?=&%:@[]<>\\"^`{|}~.-_', max_size=12).map(lambda data: b"/" + data.encode()),
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


def parsed(result: ParseResult) -> tuple[Any, ...]:
    """Everything that a request means."""
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
            head.has_body,
            head.upgrade,
            head.encode(),
            repr(head.to_request("192.0.2.1", "http")),
        )
        for head, _ in result.requests
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
def test_a_lookup_by_fields_parses_as_llhttp_does_or_finds_nothing(
    fields: list[bytes], first: bytes, line: tuple[bytes, bytes, bytes], before: bytes
) -> None:
    cache = HeadCache()
    rest = b"\r\n".join([b"", *fields, b"", b""])
    for path in (b"/known", b"/other", b"/third"):
        data = b"GET %b %b%b" % (path, first, rest)
        result = RequestParser(no_body).feed(data)
        if result.is_single:
            cache.put(data, result.requests[0][0])
    data = before + b" ".join(line) + rest
    exact(cache, data)
    found, result = cache.by_fields(data), RequestParser(no_body).feed(data)
    if found is not None:
        assert result.is_single
        assert parsed(result) == parsed(ParseResult([(found, None)]))
    if before == b"" and first == b"HTTP/1.1" and line[0] in METHODS[:7] and line[1:] == (b"/a?b=c?d", first):
        assert (found is not None) == result.is_single


def exact(cache: HeadCache, data: bytes) -> None:
    """Parsed whole, or in two reads, `data` is the same as what the cache keeps of it."""
    result = RequestParser(no_body).feed(data)
    if not result.is_single:
        return
    other = HeadCache()
    put(other, data, result.requests[0][0])
    found = other.exact(data)
    assert found is not None
    divided = RequestParser(no_body)
    assert divided.feed(data[:7]).error is None
    assert parsed(ParseResult([(found, None)])) == parsed(result) == parsed(divided.feed(data[7:]))


def no_body(_head: RequestHead) -> RequestBody:
    return RequestBody(None, pause=lambda: None, resume=lambda: None, send_continue=None)


def test_heads_with_the_same_fields_share_what_depends_on_them() -> None:
    cache, rest = HeadCache(), b"\r\nHost: a\r\n\r\n"
    for path in (b"/a", b"/b"):
        data = b"GET %b HTTP/1.1%b" % (path, rest)
        cache.put(data, RequestParser(no_body).feed(data).requests[0][0])
    first, second = cache.by_fields(b"GET /c?d HTTP/1.1" + rest), cache.by_fields(b"HEAD /d HTTP/1.1" + rest)
    assert first
    assert second
    assert (first.method, first.path, first.query, second.method) == ("GET", b"/c", b"d", "HEAD")
    assert first.headers is second.headers
    assert first.shared_head is not second.shared_head
    assert first.shared_head.shared_fields is second.shared_head.shared_fields
    assert cache.by_fields(b"GET /c HTTP/1.1\r\nHost: b\r\n\r\n") is None

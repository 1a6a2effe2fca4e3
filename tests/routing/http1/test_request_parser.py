"""Requests from bytes: one meaning for the same bytes, however they are divided and whatever precedes them."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import GatewayError
from routing.http1.chunk_scanner import ChunkScanner
from routing.http1.head_cache import RequestHead
from routing.http1.request_body import RequestBody
from routing.http1.request_parser import RequestParser


def make_body(head: RequestHead) -> RequestBody:
    length = head.fields.get(b"content-length")
    return RequestBody(
        None if length is None else int(length), pause=lambda: None, resume=lambda: None, send_continue=None
    )


def parse(*pieces: bytes) -> tuple[list[tuple[Any, ...]], GatewayError | None]:
    """Each request's head and body, and the error that ended the input."""
    parser, requests = RequestParser(make_body), []
    for piece in pieces:
        data = piece
        while data:
            result = parser.feed(data)
            requests += result.requests
            if result.error is not None:
                return [described(*each) for each in requests], result.error
            data = result.unparsed
    return [described(*each) for each in requests], None


def described(head: RequestHead, body: RequestBody | None) -> tuple[Any, ...]:
    content = None if body is None else (b"".join(body._chunks), body.is_complete)
    return head.method, head.path, head.query, head.version, head.headers, head.keep_alive, content


def one(line: bytes, *fields: bytes, body: bytes = b"") -> tuple[Any, ...] | GatewayError:
    requests, error = parse(b"\r\n".join([line, *fields, b"", b""]) + body)
    return error or requests[0]


HOST = b"Host: a"


class TestTargets:
    @pytest.mark.parametrize(
        ("target", "path", "query"),
        [
            (b"/", b"/", b""),
            (b"/a?b=x://y", b"/a", b"b=x://y"),
            (b"/?a=x://y", b"/", b"a=x://y"),
            (b"/a://b", b"/a://b", b""),
            (b"http://h/a?b", b"/a", b"b"),
            (b"HTTP://h/a", b"/a", b""),
            (b"https://h", b"/", b""),
            (b"http://h?a", b"/", b"a"),
            (b"http://[::1]:81/a", b"/a", b""),
        ],
    )
    def test_origin_form_and_absolute_form(self, target: bytes, path: bytes, query: bytes) -> None:
        request = one(b"GET " + target + b" HTTP/1.1", HOST)
        assert isinstance(request, tuple)
        assert request[1:3] == (path, query)

    @pytest.mark.parametrize("host", [b"h", b"h:81", b"[::1]:81", b"[2001:db8::1]", b"h:"])
    def test_the_authority_replaces_the_host_field_as_it_is(self, host: bytes) -> None:
        request = one(b"GET http://" + host + b"/ HTTP/1.1", HOST, b"X: y")
        assert isinstance(request, tuple)
        assert request[4] == [(b"host", host), (b"x", b"y")]

    @pytest.mark.parametrize(
        "target",
        [
            b"ftp://h/a",
            b"ws://h/a",
            b"http://user:pass@h/a",
            b"http://user@h/a",
            b"http:///a",
            b"http://",
            b"http://h:99999/",
            b"http://h:a/",
            b"http://[::1/",
            b"//",
            b"h:80",
            b"a",
            b"urn:a:b",
        ],
    )
    def test_any_other_form_is_refused(self, target: bytes) -> None:
        request = one(b"GET " + target + b" HTTP/1.1", HOST)
        if target == b"//":
            assert isinstance(request, tuple)  # a path, which is checked as one
        else:
            assert isinstance(request, GatewayError)
            assert request.status == 400

    @pytest.mark.parametrize("fields", [(), (HOST, b"Host: b"), (b"Host: a b",), (b"Host: a/b",)])
    def test_absolute_form_needs_one_valid_host_field_too(self, fields: tuple[bytes, ...]) -> None:
        """RFC 9112 section 3.2."""
        request = one(b"GET http://a/ HTTP/1.1", *fields)
        assert isinstance(request, GatewayError)
        assert request.status == 400

    def test_asterisk_form_is_for_options(self) -> None:
        request, refused = one(b"OPTIONS * HTTP/1.1", HOST), one(b"GET * HTTP/1.1", HOST)
        assert isinstance(request, tuple)
        assert request[:3] == ("OPTIONS", b"*", b"")
        assert isinstance(refused, GatewayError)
        assert refused.status == 400

    def test_options_of_an_origin_is_options_of_the_server(self) -> None:
        """RFC 9112 section 3.2.4."""
        for target, path in ((b"http://a", b"*"), (b"http://a/", b"/"), (b"http://a?", b"/")):
            request = one(b"OPTIONS " + target + b" HTTP/1.1", HOST)
            assert isinstance(request, tuple)
            assert request[1] == path


class TestRequestLines:
    @pytest.mark.parametrize(
        "method", [b"FOO", b"VERSION-CONTROL", b"PROPFIND", b"DESCRIBE", b"SOURCE", b"PRI", b"A!1"]
    )
    def test_any_method_is_accepted(self, method: bytes) -> None:
        request = one(method + b" /a HTTP/1.1", HOST, b"Content-Length: 3", body=b"abc")
        assert isinstance(request, tuple)
        assert (request[0], request[1], request[6]) == (method.decode(), b"/a", (b"abc", True))

    @pytest.mark.parametrize("method", [b"get", b"Post", b"foo"])
    def test_a_method_in_lower_case_is_a_501(self, method: bytes) -> None:
        request = one(method + b" /a HTTP/1.1", HOST)
        assert isinstance(request, GatewayError)
        assert (request.status, request.code) == (501, "not_implemented")

    @pytest.mark.parametrize(
        "line",
        [
            b"GET / RTSP/1.0",
            b"GET / RTSP/1.1",
            b"DESCRIBE / RTSP/1.0",
            b"SOURCE / ICE/1.0",
            b"GET / HTTP/2.0",
            b"PRI * HTTP/2.0",
            b"GET / HTTP/0.9",
            b"GET / HTTP/1.2",
            b"GET / HTTP/3",
            b"GET / http/1.1",
            b"GET / HTTP/1.1 ",
            b"GET  / HTTP/1.1",
            b"GET /",
            b"F@O / HTTP/1.1",
            b" GET / HTTP/1.1",
            b"A" * 65 + b" / HTTP/1.1",
        ],
    )
    def test_anything_but_http_1_is_refused(self, line: bytes) -> None:
        request = one(line, HOST)
        assert isinstance(request, GatewayError)
        assert request.status == 400

    def test_input_that_cannot_become_a_request_line_is_refused_at_once(self) -> None:
        for data in (b"\x16\x03\x01\x02", b"GET / \x00\r\n", b"A" * 65, b"(", b"GET / HTTP/1.1\n"):
            _, error = parse(data)
            assert error is not None
            assert error.status == 400

    def test_an_incomplete_request_line_is_waited_for(self) -> None:
        line = b"VERSION-CONTROL /a HTTP/1.1\r\n"
        for end in range(1, len(line)):
            parser = RequestParser(make_body)
            assert parser.feed(line[:end]).error is None
            assert not parser.idle

    def test_an_endless_request_line_is_refused(self) -> None:
        _, error = parse(b"GET /", *[b"a" * 10_000] * 7)
        assert error is not None
        assert error.status == 414


class TestTransferCodings:
    @pytest.mark.parametrize(
        ("coding", "status"),
        [
            (b"gzip, chunked", 501),
            (b"identity, chunked", 501),
            (b"gzip,Chunked", 501),
            (b"gzip", 400),
            (b"chunked, gzip", 400),
            (b"chunked, chunked", 400),
            (b"chunked,", 400),
            (b", chunked", 400),
            (b"\x0bchunked", 400),
            (b"chunked;a=b", 400),
            (b"", 400),
        ],
    )
    def test_only_chunked_is_implemented(self, coding: bytes, status: int) -> None:
        request = one(b"POST /a HTTP/1.1", HOST, b"Transfer-Encoding: " + coding, body=b"0\r\n\r\n")
        assert isinstance(request, GatewayError)
        assert request.status == status

    def test_two_fields_are_one_list(self) -> None:
        for fields, status in (([b"gzip", b"chunked"], 501), ([b"chunked", b"gzip"], 400), ([b"chunked"] * 2, 400)):
            request = one(b"POST /a HTTP/1.1", HOST, *(b"Transfer-Encoding: " + each for each in fields))
            assert isinstance(request, GatewayError)
            assert request.status == status

    def test_http_1_0_with_chunked_is_the_last_request(self) -> None:
        """RFC 9112 section 6.1: its framing may have been changed on the way."""
        fields = (HOST, b"Connection: keep-alive", b"Transfer-Encoding: chunked")
        request = one(b"POST /a HTTP/1.0", *fields, body=b"3\r\nabc\r\n0\r\n\r\n")
        assert isinstance(request, tuple)
        assert request[5:] == (False, (b"abc", True))


MESSAGES = [
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /bare HTTP/1.1\r\n\r\n",
    b"\r\nFOO /b?c HTTP/1.1\r\nHost: a\r\nX-Y:  z \r\n\r\n",
    b"VERSION-CONTROL /v HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\r\n\r\nF",
    b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;x=y\r\n\r\n\r\n\r\n1A\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n0\r\nX-Trailer: " + b"long" * 20 + b"\r\n\r\n",
    b"REPORT /r HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00003\r\nabc\r\n000\r\n\r\n",
    b"GET http://[::1]:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PUT /z HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
]
ENDINGS = [
    b"",
    b"GET / RTSP/1.1\r\nHost: a\r\n\r\n",
    b"get /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"F@O / HTTP/1.1\r\n\r\n",
    b"GET http://u@h/ HTTP/1.1\r\nHost: a\r\n\r\n",
]


@given(
    st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=5),
    st.sampled_from(ENDINGS),
    st.lists(st.integers(1, 600), unique=True, max_size=12),
)
def test_a_request_means_the_same_however_it_is_divided_and_whatever_precedes_it(
    messages: list[bytes], ending: bytes, cuts: list[int]
) -> None:
    alone = [parse(message) for message in messages]
    assert all(error is None and len(requests) == 1 for requests, error in alone)
    data = b"".join(messages) + ending
    bounds = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    requests, error = parse(*(data[start:end] for start, end in pairwise(bounds)))
    assert requests == [each for parsed, _ in alone for each in parsed]
    expected = parse(ending)[1] if ending else None
    assert (error and (error.status, error.detail)) == (expected and (expected.status, expected.detail))


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.binary(max_size=5), st.lists(st.integers(1, 200)))
def test_the_end_of_a_chunked_body_is_found(chunks: list[bytes], behind: bytes, cuts: list[int]) -> None:
    body = b"".join(b"%x;e\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nT: v\r\n\r\n"
    data, scanner = body + behind, ChunkScanner()
    bounds = [0, *sorted({cut for cut in cuts if cut < len(body)}), len(data)]
    found = 0
    for start, end in pairwise(bounds):
        piece = data[start:end]
        found = start + scanner.find_end(piece, 0)
    assert found == len(body)


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("size", [b"0" * 31 + b"10", b"0" * 40, b"0" * 10_000 + b"10"])
def test_a_chunk_size_of_more_digits_than_are_kept_is_refused(size: bytes, divided: bool) -> None:
    """Cut off, this one would be 1: the data would be read as a size, and the next request as part of the body."""
    body = size + b"\r\nabcFFFF\r\n1234567\r\n0\r\n\r\nDELETE /b HTTP/1.1\r\nHost: a\r\n\r\n"
    data = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    requests, error = parse(*(bytes([byte]) for byte in data)) if divided else parse(data)
    assert [request[:2] for request in requests] == [("POST", b"/a")]
    assert error is not None
    assert "too many digits" in error.detail


def test_a_message_whose_beginning_was_not_seen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChunkScanner, "find_end", lambda _self, data, _start: len(data))
    body = b"1\r\na\r\n0\r\n\r\n"
    data = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    requests, error = parse(data + b"DELETE /b HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [request[:2] for request in requests] == [("POST", b"/a")]
    assert error is not None
    assert error.status == 400


def test_trailer_fields_are_dropped_however_many() -> None:
    parser = RequestParser(make_body)
    parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    for _ in range(100):
        parser.feed(b"X-Trailer: a\r\n" * 10)
    assert parser._headers == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
    assert parser.feed(b"\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n").requests[0][0].headers == [(b"host", b"b")]


FRAMING = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SIGNED = b";chunk-signature=" + b"f" * 64


class TestOverheadOfChunks:
    @pytest.mark.parametrize(
        "body",
        [
            b"5;" + b"e" * 70_000 + b"\r\nhello\r\n0\r\n\r\n",
            (b"1;" + b"e" * 80 + b"\r\na\r\n") * 1_500 + b"0\r\n\r\n",
            b"0\r\nX: " + b"v" * 70_000 + b"\r\n\r\n",
            b"0\r\n" + b"X-Trailer: value\r\n" * 4_000 + b"\r\n",
            b"0;" + b"e" * 70_000 + b"\r\n\r\n",
        ],
        ids=["one-extension", "extensions", "trailer-value", "trailer-fields", "last-chunk"],
    )
    @pytest.mark.parametrize("step", [1_000, 1_000_000])
    def test_it_is_limited_since_the_size_of_the_body_does_not_count_it(self, body: bytes, step: int) -> None:
        data = FRAMING + body
        requests, error = parse(*(data[start : start + step] for start in range(0, len(data), step)))
        assert len(requests) == 1
        assert error is not None
        assert (error.status, "too large" in error.detail) == (400, True)

    @pytest.mark.parametrize("size", [1_000, 65_536])
    def test_a_signature_of_each_chunk_is_not_too_much(self, size: int) -> None:
        chunk = b"%x%b\r\n%b\r\n" % (size, SIGNED, b"a" * size)
        data = FRAMING + chunk * 2_000 + b"0\r\nX-Trailer: " + b"v" * 60_000 + b"\r\n\r\n"
        requests, error = parse(data)
        assert error is None
        assert requests[0][-1] == (b"a" * size * 2_000, True)


def test_pipelined_requests_are_no_long_head() -> None:
    data = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" * 4_000
    requests, error = parse(data + b"GET /a HT", b"TP/1.1\r\nHost: a\r\n\r\n")
    assert error is None
    assert len(requests) == 4_001

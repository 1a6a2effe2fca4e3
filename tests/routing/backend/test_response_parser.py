from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.backend.head_cache import ResponseHeadCache
from routing.backend.response_parser import ResponseParser
from routing.errors import BadGateway
from routing.http import Headers

RESPONSES = (
    b"HTTP/1.1 200 OK\r\nX-A: \xff\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
    b"HTTP/1.0 500 Oh\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\nuntil the end",
    b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3   \r\nabc\r\n2\t;x=y\r\nde\r\n0 \r\n\r\n",
)


def feed(parser: ResponseParser, parts: list[bytes]) -> None:
    """All of these bytes, and the end of the connection."""
    for part in parts:
        parser.feed(part)
    if not parser.complete:
        parser.end()


def parsed(parts: list[bytes], cache: ResponseHeadCache | None = None) -> tuple[int, Headers, bytes, bool]:
    parser = ResponseParser("GET", cache or ResponseHeadCache())
    feed(parser, parts)
    return parser.status, parser.headers, parser.take(), parser.reusable


def test_spaces_after_the_size_of_a_chunk_are_ignored() -> None:
    """RFC 9112 section 7.1.1 allows them before an extension; ESPAsyncWebServer and others pad the size with them."""
    status, _, body, reusable = parsed([RESPONSES[-1]])
    assert (status, body, reusable) == (200, b"abcde", True)


@pytest.mark.parametrize("line", [b" 3", b"3 3", b"3 x", b"", b"-3", b"0x3", b"3\x00", b"3 \r"])
def test_a_chunk_without_a_valid_size_is_refused(line: bytes) -> None:
    with pytest.raises(BadGateway):
        parsed([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + line + b"\r\nabc\r\n0\r\n\r\n"])


@given(st.sampled_from(RESPONSES), st.sets(st.integers(1, 150)))
def test_the_segmentation_makes_no_difference(response: bytes, cuts: set[int]) -> None:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(response)), len(response)]
    assert parsed([response[start:end] for start, end in pairwise(bounds)]) == parsed([response])


@given(st.binary(max_size=200), st.sampled_from(RESPONSES), st.integers(0, 60))
def test_any_bytes_are_parsed_or_a_bad_gateway(noise: bytes, response: bytes, at: int) -> None:
    parser = ResponseParser("GET", ResponseHeadCache())
    try:
        parser.feed(response[:at] + noise + response[at:])
    except BadGateway:
        assert not parser.reusable


@given(st.lists(st.sampled_from(RESPONSES), max_size=8), st.sets(st.integers(1, 150)))
def test_a_cached_head_makes_no_difference(responses: list[bytes], cuts: set[int]) -> None:
    cache = ResponseHeadCache()
    for response in responses:
        assert parsed([response], cache) == parsed([response])
    for response in RESPONSES:
        bounds = [0, *sorted(cut for cut in cuts if cut < len(response)), len(response)]
        assert parsed([response[start:end] for start, end in pairwise(bounds)], cache) == parsed([response])


def test_a_head_is_parsed_until_it_was_received_twice() -> None:
    cache = ResponseHeadCache()
    parsers = [ResponseParser("GET", cache) for _ in range(3)]
    for parser in parsers:
        parser.feed(RESPONSES[0])
    assert [parser.head is not None for parser in parsers] == [False, False, True]
    assert {(parser.status, parser.take(), parser.reusable, parser.complete) for parser in parsers} == {
        (200, b"hello", True, True)
    }


@pytest.mark.parametrize(
    ("method", "data"),
    [
        pytest.param("GET", RESPONSES[0] + b"HTTP/1.1 200 OK\r\n\r\n", id="followed by another response"),
        pytest.param("GET", RESPONSES[0] + b"!", id="longer than announced"),
        pytest.param("GET", RESPONSES[0][:-1], id="shorter than announced"),
        pytest.param("HEAD", RESPONSES[0], id="a body in response to HEAD"),
    ],
)
def test_data_after_a_cached_head_is_treated_the_same(method: str, data: bytes) -> None:
    cache = ResponseHeadCache()
    for _ in range(3):
        ResponseParser("GET", cache).feed(RESPONSES[0])
    outcomes = []
    for parser in (ResponseParser(method, cache), ResponseParser(method, ResponseHeadCache())):
        try:
            parser.feed(data)
        except BadGateway as error:
            outcomes.append(str(error))
        else:
            outcomes.append(str((parser.status, parser.take(), parser.complete, parser.complete and parser.reusable)))
    assert outcomes[0] == outcomes[1]


def test_data_after_a_response_is_not_a_second_response() -> None:
    cache = ResponseHeadCache()
    for _ in range(3):
        parser = ResponseParser("GET", cache)
        parser.feed(RESPONSES[0])
    parser.feed(RESPONSES[0])
    assert not parser.reusable
    assert parser.take() == b"hello"


@given(st.sampled_from(RESPONSES), st.sets(st.integers(0, 12), min_size=1), st.sets(st.integers(1, 150)))
def test_a_line_that_ends_without_cr_is_never_accepted(response: bytes, without_cr: set[int], cuts: set[int]) -> None:
    """Whichever lines of a valid response these are, of its head, its interim responses, its chunks or its trailer."""
    lines = response.split(b"\r\n")
    ends = [b"\n" if number in without_cr else b"\r\n" for number in range(len(lines) - 1)]
    sent = b"".join(line + end for line, end in zip(lines, [*ends, b""], strict=True))
    if sent == response:
        return
    bounds = [0, *sorted(cut for cut in cuts if cut < len(sent)), len(sent)]
    cache = ResponseHeadCache()
    for _ in range(3):  # whatever heads are remembered
        ResponseParser("GET", cache).feed(RESPONSES[0])
        parser = ResponseParser("GET", cache)
        with pytest.raises(BadGateway):
            feed(parser, [sent[start:end] for start, end in pairwise(bounds)])
        assert not parser.reusable


def test_every_status_is_accepted_or_refused_by_its_number() -> None:
    for status in range(1_000):
        parser = ResponseParser("GET", ResponseHeadCache())
        response = b"HTTP/1.1 %03d Status\r\nContent-Length: 0\r\n\r\n" % status
        if status == 100 or 102 <= status <= 599:
            parser.feed(response)
            assert (parser.status, parser.complete) == ((status, True) if status >= 200 else (0, False))
            continue
        with pytest.raises(BadGateway) as error:
            parser.feed(response)
        assert not parser.reusable
        assert f"the status {status} is not valid" in error.value.reason

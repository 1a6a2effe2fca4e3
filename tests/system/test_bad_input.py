"""What is wrong on the wire, from either side: a clear answer, nothing of the inside, and the next request served."""

import json
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.origin import Peer
from tests.processes import eventually
from tests.system.conftest import Gateway
from tests.system.wire import Raw, head, send

OPEN = b"/api/v1/open"
CHUNKED = b"Transfer-Encoding: chunked"


@pytest.fixture(autouse=True)
def still_serves(single: Gateway) -> Iterator[None]:
    """After each of these the same server answers the next request, and its log has no traceback."""
    yield
    assert send(single.server, head(OPEN + b"/x")).status == 200
    assert "Traceback" not in single.log


def refused(single: Gateway, raw: Raw, status: int, code: str = "bad_request") -> None:
    """The answer is the gateway's own problem document, and names no address."""
    assert raw.status == status, raw.data
    assert raw.field("content-type") == b"application/problem+json"
    problem = json.loads(raw.body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert raw.field("x-request-id") in (problem["request_id"].encode(), None)
    assert str(single.backend.port).encode() not in raw.data
    assert b"127.0.0.1" not in raw.data


@pytest.mark.parametrize("path", [b"/../x", b"/%2e%2e/x", b"//x", b"/%00", b"/a/..%2fx", b"/..;/x"])
def test_a_path_that_two_readers_read_differently(single: Gateway, path: bytes) -> None:
    refused(single, send(single.server, head(OPEN + path)), 400)


def test_a_target_too_long(single: Gateway) -> None:
    for length in (20_000, 70_000, 1_000_000):
        refused(single, send(single.server, head(OPEN + b"/" + b"a" * length)), 414, "target_too_long")


def test_a_header_too_long(single: Gateway) -> None:
    for length in (40_000, 65_536, 1_000_000):
        raw = send(single.server, head(OPEN + b"/x", b"X-Big: " + b"a" * length))
        refused(single, raw, 431, "headers_too_large")


def test_a_thousand_headers(single: Gateway) -> None:
    raw = send(single.server, head(OPEN + b"/x", *(b"X-%d: a" % n for n in range(1000))))
    refused(single, raw, 431, "headers_too_large")


@pytest.mark.parametrize("host", [None, b"", b"a b", b"a/b", b"localhost\r\nHost: other"])
def test_no_host_or_two_or_none_that_is_one(single: Gateway, host: bytes | None) -> None:
    refused(single, send(single.server, head(OPEN + b"/x", host=host)), 400)


@pytest.mark.parametrize(
    "request_bytes",
    [
        head(OPEN + b"/\0"),
        head(OPEN + b"/a b"),
        head(OPEN + b"/x", b"X-A : space before the colon"),
        head(OPEN + b"/x", b"X-A: folded", b" line"),
        head(OPEN + b"/x", b"X-A: nul \0"),
        head(OPEN + b"/x", b"X-A: carriage \r return"),
        head(OPEN + b"/x", b"Content-Length: 4", b"Content-Length: 5", method=b"POST") + b"abcde",
        head(OPEN + b"/x", b"Content-Length: +4", method=b"POST") + b"abcd",
        head(OPEN + b"/x", b"Content-Length: -4", method=b"POST") + b"abcd",
        head(OPEN + b"/x", b"Transfer-Encoding: unknown", method=b"POST") + b"abcd",
        head(OPEN + b"/x", method=b"F@O"),
        b"GET /\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_no_further(single: Gateway, request_bytes: bytes) -> None:
    refused(single, send(single.server, request_bytes), 400)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_both_a_length_and_chunks_are_refused_and_the_connection_ends(single: Gateway, order: tuple[int, int]) -> None:
    """RFC 9112 section 6.3. What follows is no second request, whichever of the two would convince whom."""
    fields = (b"Content-Length: 4", CHUNKED)
    asked = head(OPEN + b"/framing", *(fields[n] for n in order), method=b"POST").replace(b"Connection: close\r\n", b"")
    raw = send(single.server, asked + b"3\r\nabc\r\n0\r\n\r\n" + head(OPEN + b"/smuggled"))
    refused(single, raw, 400)
    assert raw.data.count(b"HTTP/1.1 ") == 1
    assert single.backend.asked("/framing") == single.backend.asked("/smuggled") == 0


def test_a_coding_that_the_backend_would_not_be_told_of(single: Gateway) -> None:
    raw = send(single.server, head(OPEN + b"/x", b"Transfer-Encoding: gzip, chunked", method=b"POST"), b"0\r\n\r\n")
    refused(single, raw, 400)


def test_a_malformed_chunk(single: Gateway) -> None:
    refused(single, send(single.server, head(OPEN + b"/x", CHUNKED, method=b"POST"), b"zz\r\nabc\r\n0\r\n\r\n"), 400)


def test_a_body_over_the_limit_whose_length_is_told_is_not_even_read(single: Gateway) -> None:
    raw = send(single.server, head(OPEN + b"/x", b"Content-Length: 99000000", method=b"POST"))
    refused(single, raw, 413, "body_too_large")


def test_a_body_over_the_limit_that_comes_in_chunks_is_read_to_the_limit(single: Gateway) -> None:
    piece = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    raw = send(single.server, head(OPEN + b"/x", CHUNKED, method=b"POST"), *[piece] * 100, b"0\r\n\r\n")
    refused(single, raw, 413, "body_too_large")


def test_what_would_show_a_caller_the_gateways_own_fields(single: Gateway) -> None:
    refused(single, send(single.server, head(OPEN + b"/x", method=b"TRACE")), 400)


async def closes_early(peer: Peer) -> None:
    await peer.read_body()
    peer.close()


async def resets(peer: Peer) -> None:
    await peer.read_body()
    peer.reset()


async def garbage(peer: Peer) -> None:
    await peer.send(b"\x00\x01 hello there\r\n\r\n")
    peer.close()


async def endless_header(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.send(b"X-A: " + b"a" * 1000 + b"\r\n")


async def two_lengths(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")


@pytest.mark.parametrize("script", [closes_early, resets, garbage, endless_header, two_lengths])
def test_a_backend_that_breaks_the_protocol(single: Gateway, script: Callable[[Peer], Awaitable[None]]) -> None:
    single.backend.scripts["/broken"] = script
    refused(single, send(single.server, head(OPEN + b"/broken")), 502, "bad_gateway")


async def never_answers(peer: Peer) -> None:
    await peer.wait_closed()


def test_a_backend_that_never_answers(single: Gateway) -> None:
    single.backend.scripts["/never"] = never_answers
    raw = send(single.server, head(b"/api/v1/plain/never", b"X-API-Key: " + single.seed.ours.encode()))
    refused(single, raw, 504, "upstream_timeout")


@pytest.mark.parametrize(
    "begun", [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
)
def test_a_body_that_the_backend_breaks_off_does_not_look_whole(single: Gateway, begun: bytes) -> None:
    async def breaks_off(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\n" + begun)
        peer.close()

    single.backend.scripts["/half"] = breaks_off
    raw = send(single.server, head(OPEN + b"/half"))
    assert (raw.status, b"half" in raw.body) == (200, True)
    assert raw.field("content-length") == b"100" or not raw.body.endswith(b"0\r\n\r\n")
    assert b'"aborted":"bad_gateway"' in wait_for_line(single, '"path":"/api/v1/open/half"')


def wait_for_line(single: Gateway, part: str) -> bytes:
    """The access line that says `part`, once it has been written."""
    log = single.server
    assert eventually(lambda: part in log.log)
    return next(line for line in reversed(log.log.splitlines()) if part in line).encode()

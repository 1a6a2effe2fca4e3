"""Malformed input from clients and backends: a clear error without internals, and the next request is served."""

import json
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.origin import Peer
from tests.processes import eventually
from tests.system.conftest import Gateway
from tests.system.wire import RawResponse, head, send

OPEN = b"/api/v1/open"
CHUNKED = b"Transfer-Encoding: chunked"


@pytest.fixture(autouse=True)
def still_serves(single: Gateway) -> Iterator[None]:
    """After each test the server responds to the next request, and its log has no traceback."""
    yield
    assert send(single.server, head(OPEN + b"/x")).status == 200
    assert "Traceback" not in single.log


def refused(single: Gateway, raw: RawResponse, status: int, code: str = "bad_request") -> None:
    """The response is a problem document of the gateway and contains no address."""
    assert raw.status == status, raw.data
    assert raw.field("content-type") == b"application/problem+json"
    problem = json.loads(raw.body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert raw.field("x-request-id") in (problem["request_id"].encode(), None)
    assert str(single.backend.port).encode() not in raw.data
    assert b"127.0.0.1" not in raw.data


@pytest.mark.parametrize("path", [b"/../x", b"/%2e%2e/x", b"//x", b"/%00", b"/a/..%2fx", b"/..;/x"])
def test_an_ambiguous_path(single: Gateway, path: bytes) -> None:
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
def test_a_missing_repeated_or_invalid_host(single: Gateway, host: bytes | None) -> None:
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
def test_a_malformed_request_does_not_reach_the_backend(single: Gateway, request_bytes: bytes) -> None:
    refused(single, send(single.server, request_bytes), 400)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_content_length_with_transfer_encoding_is_refused(single: Gateway, order: tuple[int, int]) -> None:
    """RFC 9112 section 6.3. What follows is not treated as a second request, whichever field comes first."""
    fields = (b"Content-Length: 4", CHUNKED)
    data = head(OPEN + b"/framing", *(fields[n] for n in order), method=b"POST").replace(b"Connection: close\r\n", b"")
    raw = send(single.server, data + b"3\r\nabc\r\n0\r\n\r\n" + head(OPEN + b"/smuggled"))
    refused(single, raw, 400)
    assert raw.data.count(b"HTTP/1.1 ") == 1
    assert single.backend.request_count("/framing") == single.backend.request_count("/smuggled") == 0


def test_an_unsupported_transfer_coding(single: Gateway) -> None:
    raw = send(single.server, head(OPEN + b"/x", b"Transfer-Encoding: gzip, chunked", method=b"POST"), b"0\r\n\r\n")
    refused(single, raw, 501, "not_implemented")


def test_a_malformed_chunk(single: Gateway) -> None:
    refused(single, send(single.server, head(OPEN + b"/x", CHUNKED, method=b"POST"), b"zz\r\nabc\r\n0\r\n\r\n"), 400)


def test_a_body_over_the_limit_is_not_read_if_its_length_is_known(single: Gateway) -> None:
    raw = send(single.server, head(OPEN + b"/x", b"Content-Length: 99000000", method=b"POST"))
    refused(single, raw, 413, "body_too_large")


def test_a_chunked_body_over_the_limit_is_read_up_to_the_limit(single: Gateway) -> None:
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    raw = send(single.server, head(OPEN + b"/x", CHUNKED, method=b"POST"), *[chunk] * 100, b"0\r\n\r\n")
    refused(single, raw, 413, "body_too_large")


def test_a_method_that_would_echo_the_gateways_fields(single: Gateway) -> None:
    refused(single, send(single.server, head(OPEN + b"/x", method=b"TRACE")), 405, "method_not_allowed")


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
def test_a_backend_that_violates_the_protocol(single: Gateway, script: Callable[[Peer], Awaitable[None]]) -> None:
    single.backend.scripts["/broken"] = script
    refused(single, send(single.server, head(OPEN + b"/broken")), 502, "bad_gateway")


async def never_responds(peer: Peer) -> None:
    await peer.wait_closed()


def test_a_backend_that_never_responds(single: Gateway) -> None:
    single.backend.scripts["/never"] = never_responds
    raw = send(single.server, head(b"/api/v1/plain/never", b"X-API-Key: " + single.seed.ours.encode()))
    refused(single, raw, 504, "upstream_timeout")


@pytest.mark.parametrize(
    "begun", [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
)
def test_a_truncated_backend_body_does_not_look_complete(single: Gateway, begun: bytes) -> None:
    async def breaks_off(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\n" + begun)
        peer.close()

    single.backend.scripts["/half"] = breaks_off
    raw = send(single.server, head(OPEN + b"/half"))
    assert (raw.status, b"half" in raw.body) == (200, True)
    assert raw.field("content-length") == b"100" or not raw.body.endswith(b"0\r\n\r\n")
    assert b'"aborted":"bad_gateway"' in wait_for_line(single, '"path":"/api/v1/open/half"')


def wait_for_line(single: Gateway, part: str) -> bytes:
    """The line of the access log that contains `part`, once it is written."""
    log = single.server
    assert eventually(lambda: part in log.log)
    return next(line for line in reversed(log.log.splitlines()) if part in line).encode()

"""Rules of RFC 9110 and RFC 9112 that hold for every page, over a socket."""

import json
from collections.abc import Iterator

import pytest

from tests.system.conftest import Gateway
from tests.system.wire import head, received, send

OPEN = b"/api/v1/open"
PAGES = [OPEN + b"/x", b"/health", b"/metrics", b"/admin/login/", b"/events", b"/nothing", b"/api/schema"]


@pytest.fixture(autouse=True)
def log_is_quiet(single: Gateway) -> Iterator[None]:
    before = len(single.log)
    yield
    assert "ERROR" not in single.log[before:]
    assert "Traceback" not in single.log[before:]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("host", [None, b"", b"a b", b"a/b", b"localhost\r\nHost: other", b"user@localhost"])
def test_every_page_needs_exactly_one_valid_host(single: Gateway, path: bytes, host: bytes | None) -> None:
    for target in (path, b"http://localhost" + path):
        raw = send(single.server, head(target, host=host))
        assert (raw.status, raw.field("content-type")) == (400, b"application/problem+json")
        assert json.loads(raw.body)["code"] == "bad_request"


@pytest.mark.parametrize("path", PAGES)
def test_http_1_0_needs_no_host(single: Gateway, path: bytes) -> None:
    raw = send(single.server, b"GET " + path + b" HTTP/1.0\r\n\r\n")
    assert raw.status != 400 or raw.field("content-type") != b"application/problem+json"


def test_an_unknown_host_is_refused_without_a_line_in_the_log(single: Gateway) -> None:
    for host in (b"evil.example", b"1.2.3.4", b"%00", b"a" * 300):
        assert send(single.server, head(b"/admin/login/", host=host)).status == 400


@pytest.mark.parametrize("path", [b"/health", b"/health/", b"/health/ready", b"/health/deep"])
@pytest.mark.parametrize("method", [b"POST", b"DELETE", b"OPTIONS", b"FOO", b"TRACE"])
def test_health_pages_are_read_only(single: Gateway, path: bytes, method: bytes) -> None:
    with single.connect() as connection:
        connection.sendall(head(path, b"Content-Length: 9000000", method=method))  # and no body
        connection.settimeout(5)
        data = connection.recv(65_536)
    assert data.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nallow: GET, HEAD" in data
    assert b"application/problem+json" in data


@pytest.mark.parametrize("path", [b"/health", b"/health/ready"])
def test_health_pages_have_a_head(single: Gateway, path: bytes) -> None:
    raw = send(single.server, head(path, method=b"HEAD"))
    assert (raw.status, raw.body) == (200, b"")


def test_options_of_the_server_is_answered_by_the_gateway(single: Gateway) -> None:
    for target in (b"*", b"http://localhost"):
        raw = send(single.server, head(target, method=b"OPTIONS"))
        assert (raw.status, raw.body) == (204, b"")
        assert raw.field("allow") == b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        assert raw.field("content-length") is None


@pytest.mark.parametrize("path", [b"*", b"/admin/login/", OPEN + b"/x", b"/nothing"])
def test_trace_is_not_allowed(single: Gateway, path: bytes) -> None:
    raw = send(single.server, head(path, method=b"TRACE"))
    assert raw.status == (400 if path == b"*" else 405)
    assert path == b"*" or b"GET" in (raw.field("allow") or b"")


@pytest.mark.parametrize("method", [b"FOO", b"VERSION-CONTROL", b"PROPFIND", b"DESCRIBE"])
def test_any_method_reaches_the_backend(single: Gateway, method: bytes) -> None:
    before = single.backend.request_count("/method")
    raw = send(single.server, head(OPEN + b"/method", method=method))
    assert (raw.status, single.backend.request_count("/method")) == (200, before + 1)
    assert raw.field("x-cache") == b"BYPASS"


@pytest.mark.parametrize("method", [b"foo", b"get"])
def test_a_method_in_lower_case_is_not_implemented(single: Gateway, method: bytes) -> None:
    for path in (OPEN + b"/x", b"/health", b"/metrics"):
        raw = send(single.server, head(path, method=method))
        assert (raw.status, json.loads(raw.body)["code"]) == (501, "not_implemented")


@pytest.mark.parametrize(
    "line",
    [
        b"GET /health RTSP/1.1",
        b"GET /health HTTP/2.0",
        b"GET ftp://localhost/health HTTP/1.1",
        b"GET http://user:pass@localhost/health HTTP/1.1",
        b"GET * HTTP/1.1",
    ],
)
def test_what_is_no_http_1_request_is_refused(single: Gateway, line: bytes) -> None:
    raw = send(single.server, line + b"\r\nHost: localhost\r\n\r\n")
    assert (raw.status, raw.field("content-type")) == (400, b"application/problem+json")


def test_http_1_0_with_chunked_is_answered_and_closed(single: Gateway) -> None:
    """RFC 9112 section 6.1."""
    fields = b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    raw = send(single.server, b"POST " + OPEN + b"/x HTTP/1.0\r\nHost: localhost\r\n" + fields + head(OPEN + b"/y"))
    assert raw.status == 200
    assert raw.data.count(b"HTTP/1.1 ") == 1
    assert raw.field("connection") == b"close"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        (b"POST", b"/api/v1/plain/x", 401),
        (b"POST", b"/api/v1/nowhere/x", 401),
        (b"POST", b"/api/v1/open/x", 413),
        (b"POST", b"/events", 401),
        (b"POST", b"/health", 405),
    ],
)
@pytest.mark.parametrize("framing", [b"Content-Length: 900000000", b"Transfer-Encoding: chunked"])
def test_a_refusal_does_not_wait_for_the_body(
    single: Gateway, method: bytes, path: bytes, status: int, framing: bytes
) -> None:
    if status == 413 and framing.startswith(b"Transfer"):
        return
    with single.connect() as connection:
        connection.settimeout(5)
        connection.sendall(head(path, framing, method=method).replace(b"Connection: close\r\n", b""))
        data = received(connection)  # until the server closes
    assert data.split(b" ")[1] == b"%d" % status, data

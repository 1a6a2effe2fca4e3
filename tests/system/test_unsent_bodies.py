"""Requests that announce a body and do not send it: responses that do not need it come at once."""

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import eventually
from tests.system.conftest import MAX_BODY, Gateway
from tests.system.wire import RawResponse, head, received

WAIT_SECONDS = 10.0
FRAMINGS = [b"Content-Length: 1000", b"Content-Length: 500000", b"Transfer-Encoding: chunked"]
CSRF_COOKIE = b"Cookie: csrftoken=" + b"a" * 32


@pytest.fixture(autouse=True)
def log_is_quiet(single: Gateway) -> Iterator[None]:
    before = len(single.log)
    yield
    assert "ERROR" not in single.log[before:]
    assert "Traceback" not in single.log[before:]


@contextlib.contextmanager
def begun(
    gateway: Gateway, method: bytes, path: bytes, *fields: bytes, host: bytes = b"localhost"
) -> Iterator[socket.socket]:
    """A connection with the head of a request that is to be kept alive."""
    with gateway.connect() as connection:
        connection.settimeout(WAIT_SECONDS)
        connection.sendall(head(path, *fields, method=method, host=host).replace(b"Connection: close\r\n", b""))
        yield connection


def response_head(connection: socket.socket) -> RawResponse:
    data = b""
    while b"\r\n\r\n" not in data and (chunk := connection.recv(65_536)):
        data += chunk
    return RawResponse(data)


@pytest.mark.parametrize("framing", [*((field,) for field in FRAMINGS), (FRAMINGS[0], b"Expect: 100-continue")])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        (b"POST", b"/metrics/cache/reset", 401),
        (b"DELETE", b"/metrics/cache", 401),
        (b"POST", b"/metrics/circuit-breakers/open/open", 401),
        (b"POST", b"/metrics/nothing", 404),
        (b"POST", b"/api/explain", 401),
        (b"POST", b"/api/schema", 405),
        (b"POST", b"/nothing", 404),
        (b"PUT", b"/static/nothing.css", 404),
        (b"POST", b"/admin/nothing", 403),
        (b"POST", b"/admin/login/", 403),
        (b"POST", b"/dashboard/", 403),
        (b"GET", b"/admin/login/", 200),
        (b"PUT", b"/health", 405),
    ],
)
def test_a_response_that_needs_no_body_does_not_wait_for_it(
    single: Gateway, method: bytes, path: bytes, status: int, framing: tuple[bytes, ...]
) -> None:
    with begun(single, method, path, *framing) as connection:
        response = response_head(connection)
        assert response.status == status, response.data  # and not 100
        if status != 200 and path.startswith((b"/metrics", b"/api", b"/health")):
            assert response.field("content-type") == b"application/problem+json"


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_key_without_the_right_is_refused_at_once(single: Gateway, framing: bytes) -> None:
    for key, status in ((single.seed.reader, 403), ("gw_unknown.key", 401)):
        field = b"X-API-Key: " + key.encode()
        with begun(single, b"POST", b"/metrics/cache/warm", framing, field) as connection:
            assert response_head(connection).status == status


@pytest.mark.parametrize("host", [b"evil.example", b"a b"])
@pytest.mark.parametrize("path", [b"/admin/login/", b"/metrics/cache/reset", b"/nothing", b"/api/v1/open/x"])
def test_a_foreign_or_malformed_host_is_refused_at_once(single: Gateway, path: bytes, host: bytes) -> None:
    with begun(single, b"POST", path, b"Content-Length: 1000", host=host) as connection:
        assert response_head(connection).status == (421 if path.startswith(b"/api/v1") and host[:4] == b"evil" else 400)


def test_the_body_that_comes_after_the_refusal_is_discarded(single: Gateway) -> None:
    """A short one, so that the connection can be used again."""
    with begun(single, b"POST", b"/metrics/cache/reset", b"Content-Length: 40") as connection:
        assert response_head(connection).status == 401
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"[:40] + head(b"/health/ready"))
        assert RawResponse(received(connection)).status == 200


@pytest.mark.parametrize("fields", [FRAMINGS[1:2], FRAMINGS[2:], (FRAMINGS[0], b"Expect: 100-continue")])
def test_a_connection_whose_body_may_be_long_or_never_come_is_closed(
    single: Gateway, fields: tuple[bytes, ...]
) -> None:
    with begun(single, b"POST", b"/metrics/cache/reset", *fields) as connection:
        response = RawResponse(received(connection))  # until the server closes
    assert (response.status, response.field("connection")) == (401, b"close")


def test_100_continue_is_sent_when_the_body_is_read(single: Gateway) -> None:
    key = b"X-API-Key: " + single.seed.publisher.encode()
    fields = (b"Content-Length: 14", b"Content-Type: application/json", b"Expect: 100-continue", key)
    with begun(single, b"POST", b"/api/explain", *fields) as connection:
        assert response_head(connection).data == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b'{"path": "/a"}')
        assert response_head(connection).status == 200


@pytest.mark.parametrize("path", [b"/api/explain", b"/admin/login/"])
def test_a_body_in_pieces_is_read_whole(single: Gateway, path: bytes) -> None:
    body = b'{"path": "/aa"}' if path == b"/api/explain" else b"username=a&pw=b"
    kind = b"application/json" if path == b"/api/explain" else b"application/x-www-form-urlencoded"
    fields = (b"Content-Type: " + kind, b"X-API-Key: " + single.seed.publisher.encode(), CSRF_COOKIE)
    for framing in (b"Content-Length: 15", b"Transfer-Encoding: chunked"):
        with begun(single, b"POST", path, framing, *fields) as connection:
            for start in range(0, 15, 5):
                time.sleep(0.02)
                piece = body[start : start + 5]
                connection.sendall(b"5\r\n" + piece + b"\r\n" if framing.startswith(b"Transfer") else piece)
            if framing.startswith(b"Transfer"):
                connection.sendall(b"0\r\n\r\n")
            response = response_head(connection)
            assert response.status == (200 if path == b"/api/explain" else 403), response.data


@pytest.mark.parametrize("path", [b"/api/explain", b"/admin/login/"])
def test_a_body_longer_than_the_limit_is_too_large(single: Gateway, path: bytes) -> None:
    kind = (
        b"Content-Type: application/json"
        if path == b"/api/explain"
        else b"Content-Type: application/x-www-form-urlencoded"
    )
    fields = (b"Transfer-Encoding: chunked", kind, b"X-API-Key: " + single.seed.publisher.encode(), CSRF_COOKIE)
    with begun(single, b"POST", path, *fields) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(MAX_BODY // 65_536 + 2):
                connection.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        response = RawResponse(received(connection))
    assert (response.status, response.field("content-type")) == (413, b"application/problem+json")


@pytest.mark.parametrize("path", [b"/api/explain", b"/admin/login/"])
def test_a_body_cut_off_is_a_bad_request(single: Gateway, path: bytes) -> None:
    fields = (b"Content-Type: application/x-www-form-urlencoded", CSRF_COOKIE)
    if path == b"/api/explain":
        fields = (b"Content-Type: application/json", b"X-API-Key: " + single.seed.publisher.encode())
    with begun(single, b"POST", path, b"Content-Length: 1000", *fields) as connection:
        connection.sendall(b"{")
        connection.shutdown(socket.SHUT_WR)
        received(connection)  # it may be answered, or closed
    with begun(single, b"POST", path, b"Transfer-Encoding: chunked", *fields) as connection:
        connection.sendall(b"nonsense\r\n")
        response = RawResponse(received(connection))
    assert (response.status, response.field("content-type")) == (400, b"application/problem+json")


def test_clients_that_leave_in_the_middle_of_a_body_hold_no_thread(single: Gateway) -> None:
    field = b"X-API-Key: " + single.seed.publisher.encode()
    for _ in range(100):
        with begun(single, b"POST", b"/api/explain", b"Content-Length: 1000", field) as connection:
            connection.sendall(b"{")
    assert single.get("/health/ready").status_code == 200
    assert eventually(lambda: threads(single.pid) < 60), threads(single.pid)


def test_stalled_bodies_hold_a_bounded_number_of_threads(single: Gateway) -> None:
    field = b"X-API-Key: " + single.seed.publisher.encode()
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(begun(single, b"POST", b"/api/explain", b"Content-Length: 1000", field))
        assert single.get("/metrics", single.seed.reader).status_code == 200
        assert threads(single.pid) < 130, threads(single.pid)
    assert eventually(lambda: threads(single.pid) < 60), threads(single.pid)


def threads(pid: int) -> int:
    found = re.search(r"Threads:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])

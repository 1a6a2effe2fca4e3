"""`ServiceProxyView` under other real servers responds as the gateway does; more tests are in tests/gateway."""

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.origin import Peer
from tests.ports import free_port
from tests.processes import eventually
from tests.system.backend import ok
from tests.system.conftest import TOKEN, Gateway
from tests.system.server import ROOT

ASGI = ["granian", "--interface", "asgi", "--no-ws", "tests.system.plain_django:application", "--port"]
WSGI = ["tests.system.plain_django"]
WHOLE = ["uvicorn", "gateway_project.asgi:application", "--no-server-header", "--port"]
"""The gateway's own ASGI application, in a server that detects the version of the interface."""
VARYING = {"date", "server", "server-timing", "x-request-id", "ratelimit", "connection", "keep-alive"}
"""Fields that differ between responses, or that the server adds."""


@dataclass
class Other:
    """Another server. It has its own stores, over the same database and backend."""

    port: int


@pytest.fixture(scope="module", params=[ASGI, WSGI, WHOLE], ids=["asgi", "wsgi", "whole"])
def other(request: pytest.FixtureRequest, single: Gateway) -> Iterator[Other]:
    port = free_port()
    command = [sys.executable, "-m", *request.param, str(port)]
    with (single.directory / "other").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=single.environment, stdout=log, stderr=log)
    try:
        assert eventually(lambda: responds(port) or process.poll() is not None)
        assert process.poll() is None, (single.directory / "other").read_text()
        yield Other(port)
    finally:
        process.terminate()
        process.wait()


def responds(port: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return call(port, "GET", "/api/v1/open/x")[0] == 200
    return False


def call(
    port: int, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, the fields that must be equal, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders() if name.lower() not in VARYING}
        if response.status == 204:
            fields.pop("content-length", None)  # which wsgiref adds though RFC 9110 section 8.6 forbids it
        return response.status, fields, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/open/same?a=%2B+1&&b", None),
        ("HEAD", "/api/v1/open/same", None),
        ("POST", "/api/v1/open/echo", b"a" * 200_000),
        ("GET", "/api/v1/open/../x", None),
        ("GET", "/api/v1/open//x", None),
        ("GET", "/api/v1/open/none", None),
        ("GET", "/api/v1/open/cookies", None),
        ("GET", "/api/v1/open/%ff%2F", None),
        ("DELETE", "/api/v1/open/fails", None),
        ("POST", "/hooks/nothing", b"{}"),
        ("POST", "/hooks/plain", b"{}"),
        ("POST", "/hooks/", b"{}"),
        ("GET", "/hooks/plain", None),
        ("GET", "/health", None),
        ("HEAD", "/health/ready", None),
        ("GET", "/health/", None),
        ("POST", "/health", b"{}"),
        ("GET", "/events?topics=a", None),
        ("POST", "/events", b'{"topic": "a", "type": "b"}'),
        ("DELETE", "/events", None),
    ],
)
def test_the_same_request_receives_the_same_response(
    single: Gateway, other: Other, method: str, path: str, body: bytes | None
) -> None:
    async def echo(peer: Peer) -> None:
        await peer.send(ok(await peer.read_body()))

    single.backend.scripts |= {
        "/same": ok(b'{"a":1}', b'ETag: "1"'),
        "/echo": echo,
        "/none": b"HTTP/1.1 204 No Content\r\n\r\n",
        "/cookies": ok(b"{}", b"Set-Cookie: a=1", b"X-Odd: \xfc"),
        "/fails": b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops",
    }
    headers = {"X-Request-ID": "the-same"}
    expected = call(single.port, method, path, headers, body)
    assert call(other.port, method, path, headers, body) == expected


def test_health_is_answered_for_every_host(single: Gateway, other: Other) -> None:
    for port in (single.port, other.port):
        assert call(port, "GET", "/health", {"Host": "10.0.0.7"})[::2] == (200, b'{"status":"ok"}')
        assert set(json.loads(call(port, "GET", "/health/deep")[2])) == {"status", "checks"}


def test_events_are_published_and_streamed(single: Gateway, other: Other) -> None:
    headers = {"X-API-Key": single.seed.publisher, "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", other.port, timeout=30)
    connection.request("GET", "/events?topics=orders", headers=headers)
    response = connection.getresponse()
    assert (response.status, response.read(12)) == (200, b"retry: 3000\n")
    status, _, body = call(other.port, "POST", "/events", headers, b'{"topic": "orders", "type": "created"}')
    assert status == 202, body
    connection.close()


def test_a_chunked_body_is_read_or_refused(single: Gateway, other: Other, request: pytest.FixtureRequest) -> None:
    """Never taken for none: wsgiref does not decode it."""

    async def echo(peer: Peer) -> None:
        await peer.send(ok(await peer.read_body()))

    single.backend.scripts["/chunked"] = echo
    headers = {"Transfer-Encoding": "chunked"}
    status, _, body = call(other.port, "POST", "/api/v1/open/chunked", headers, b"3\r\nabc\r\n0\r\n\r\n")
    if "wsgi" in request.node.callspec.id.split("-"):
        assert (status, json.loads(body)["code"]) == (501, "not_implemented")
    else:
        assert (status, body) == (200, b"abc")


def test_a_request_without_credentials_receives_the_same_error(single: Gateway, other: Other) -> None:
    headers = {"X-Request-ID": "the-same"}
    assert call(other.port, "GET", "/api/v1/plain/x", headers) == call(single.port, "GET", "/api/v1/plain/x", headers)


def test_a_stream_is_not_buffered(single: Gateway, other: Other) -> None:
    seen = threading.Event()

    async def waits(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await asyncio.to_thread(seen.wait, 20)
        await peer.send(b"1\r\nb\r\n0\r\n\r\n")

    single.backend.scripts["/through"] = waits
    connection = http.client.HTTPConnection("127.0.0.1", other.port, timeout=30)
    connection.request("GET", "/api/v1/open/through")
    response = connection.getresponse()
    assert response.read(1) == b"a"
    seen.set()
    assert response.read() == b"b"
    connection.close()


def test_a_delivery_of_a_webhook_is_received_without_a_csrf_token(single: Gateway, other: Other) -> None:
    headers = {"X-Webhook-Token": TOKEN, "Content-Type": "application/json", "Cookie": "sessionid=x"}
    for port in (single.port, other.port):
        body = b'{"ports": [%d, %d]}' % (port, other.port)
        assert [call(port, "POST", "/hooks/plain", headers, body)[0::2] for _ in range(2)] == [
            (200, b'{"status":"queued"}'),
            (200, b'{"status":"duplicate"}'),
        ]
        assert call(port, "POST", "/hooks/plain", headers, b"{")[0] == 400
        assert call(port, "POST", "/hooks/plain", headers, b'"%b"' % (b"x" * 1_000_000))[0] == 413
        status, fields, _ = call(port, "POST", "/hooks/plain", headers | {"Host": "other.example.com"}, body)
        assert (status, fields["content-type"]) == (421, "application/problem+json")

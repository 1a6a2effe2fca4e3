"""A host that is neither allowed nor a service's, on every entry point of a running gateway."""

import json

import pytest

from tests.system.conftest import Gateway
from tests.system.wire import head, send

EVIL = b"evil.example"
UPGRADE = (
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (b"/api/v1/open/whoami", ()),
        (b"/api/v1/", ()),
        (b"/events?topics=service:open", ()),
        (b"/api/v1/open/whoami", (b"Accept: text/html", b"Cookie: sessionid=x")),
    ],
    ids=["a service", "the index", "events", "the view"],
)
def test_is_misdirected(single: Gateway, path: bytes, fields: tuple[bytes, ...]) -> None:
    for host in (EVIL, EVIL + b":80", b"10.1.2.3:8000"):
        response = send(single.server, head(path, *fields, host=host))
        assert response.status == 421
        assert json.loads(response.body)["code"] == "misdirected_request"
        assert "ALLOWED_HOSTS" in json.loads(response.body)["detail"]
    assert send(single.server, head(path, *fields, host=b"LocalHost.:1")).status != 421


@pytest.mark.parametrize("path", [b"/api/v1/open/whoami", b"/ws/events/", b"/nothing"])
def test_a_websocket_is_misdirected_too(single: Gateway, path: bytes) -> None:
    request = head(path, *UPGRADE, host=EVIL).replace(b"Connection: close", b"Connection: Upgrade")
    assert send(single.server, request).status == 421


def test_a_websocket_to_nothing_is_not_found(single: Gateway) -> None:
    request = head(b"/nothing", *UPGRADE).replace(b"Connection: close", b"Connection: Upgrade")
    response = send(single.server, request)
    assert (response.status, json.loads(response.body)["detail"]) == (404, "there is nothing at this path")
    malformed = send(single.server, request.replace(b"Host: ", b"Host: user@"))
    assert (malformed.status, json.loads(malformed.body)["detail"]) == (400, "the Host field is malformed")


@pytest.mark.parametrize("path", [b"/health", b"/health/ready", b"/health/deep"])
def test_health_is_answered_by_address(single: Gateway, path: bytes) -> None:
    assert send(single.server, head(path, host=b"10.1.2.3:8000")).status == 200


@pytest.mark.parametrize("path", [b"/admin/", b"/metrics", b"/portal/"])
def test_pages_name_the_host_and_what_to_set(single: Gateway, path: bytes) -> None:
    response = send(single.server, head(path, host=EVIL))
    assert response.status == 400
    assert b"evil.example is not served here" in response.body
    assert b"ALLOWED_HOSTS" in response.body
    assert b"localhost" not in response.body  # nothing of what is allowed
    assert b"script" not in send(single.server, head(path, host=b"<script>alert(1)</script>")).body


def test_health_needs_no_host_field(single: Gateway) -> None:
    with single.server.connect() as client:
        client.sendall(b"GET /health/ready HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")

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
    assert send(single.server, head(path, *fields, host=b"LocalHost.:1")).status != 421


@pytest.mark.parametrize("path", [b"/api/v1/open/whoami", b"/ws/events/"])
def test_a_websocket_is_misdirected_too(single: Gateway, path: bytes) -> None:
    request = head(path, *UPGRADE, host=EVIL).replace(b"Connection: close", b"Connection: Upgrade")
    assert send(single.server, request).status == 421


@pytest.mark.parametrize("path", [b"/health", b"/health/ready", b"/health/deep"])
def test_health_is_answered_by_address(single: Gateway, path: bytes) -> None:
    assert send(single.server, head(path, host=b"10.1.2.3:8000")).status == 200

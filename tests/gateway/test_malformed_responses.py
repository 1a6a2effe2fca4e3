"""Responses that are not valid HTTP/1.1, through each entry point: 502, nothing stored, and a reason for staff."""

import pytest

from resilience.cache.policy import CachePolicy, Scope
from routing.router.policy import Auth, Retries, RoutePolicy
from tests.clock import FakeClock
from tests.gateway.conftest import QUICK, World
from tests.gateway.test_nine_steps import ok
from tests.gateway.websocket_world import client_of, closed_with, proxy_of, websocket_world
from tests.origin import Peer, ScriptedOrigin

POLICY = RoutePolicy(
    timeout=QUICK,
    auth=Auth.OPTIONAL,
    retries=Retries(attempts=1),
    cache=CachePolicy(ttl=60, scope=Scope.SHARED),
)
BARE_LF = "a line ends with LF without CR (RFC 9112 section 2.2)"
SPLIT = (
    b"HTTP/1.1 200 OK\r\nX-Name: ann\nCache-Control: max-age=600\nContent-Length: 0\n\n"
    b"HTTP/1.1 200 OK\nContent-Length: 4\n\nevil\r\nContent-Length: 5\r\n\r\nhello"
)
"""An application has put the text of a client into X-Name, without CR and with LF."""


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", BARE_LF),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello", BARE_LF),
        (SPLIT, BARE_LF),
        (b"HTTP/1.1 999 Request denied\r\nContent-Length: 5\r\n\r\nhello", "the status 999 is not valid"),
        (b"HTTP/1.1 600 Odd\r\nContent-Length: 5\r\n\r\nhello", "the status 600 is not valid"),
    ],
    ids=["LF", "LF before the body", "a split response", "999", "600"],
)
async def test_a_malformed_response_is_a_502_and_staff_see_why(world: World, response: bytes, reason: str) -> None:
    origin = await world.serve(response, ok(b"good"), policy=POLICY)
    received = await world.request("GET", "/api/v1/crm/x", [("X-Gateway-Debug", "1")])
    assert (received.status, received.json()["code"]) == (502, "bad_gateway")
    assert reason not in received.body.decode()
    assert reason in (received.get("x-gateway-debug") or "")
    assert reason in world.observer.requests[-1].reason
    anonymous = await world.request("GET", "/api/v1/crm/x", key="")
    assert (anonymous.status, anonymous.body, anonymous.get("x-cache")) == (200, b"good", "MISS")
    assert len(origin.requests) == 2


async def test_a_chunk_that_ends_with_lf_alone_cuts_the_response_short(world: World) -> None:
    async def respond(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await peer.send(b"5\nworld\r\n0\r\n\r\n")

    await world.serve(respond, ok(b"good"), policy=POLICY)
    received = await world.request("GET", "/api/v1/crm/x")
    assert received.status == 502 or not received.complete
    assert BARE_LF in world.observer.requests[-1].reason
    assert (await world.request("GET", "/api/v1/crm/x")).body == b"good"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n\n", "invalid handshake: line without CRLF"),
        (b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", "invalid handshake: invalid status code"),
        (b"HTTP/1.1 200 OK\r\nSecret Name: token\r\n\r\n", "invalid handshake: invalid HTTP header name"),
    ],
)
async def test_a_malformed_handshake_is_refused_and_staff_see_why(response: bytes, reason: str) -> None:
    async with ScriptedOrigin(response) as origin:
        world = websocket_world(origin.port, policy=RoutePolicy(websocket=True, retries=Retries(attempts=1)))
        assert await closed_with(client_of(proxy_of(world, FakeClock()), world)) == 1014
    assert world.observer.requests[-1].reason == reason

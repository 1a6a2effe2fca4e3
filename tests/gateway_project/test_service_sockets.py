"""WebSockets to services, from a client's side."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.gateway_project.served import Served, close_code, read


async def test_messages_pass_both_ways_and_the_backend_receives_the_caller(served: Served) -> None:
    headers = {"X-API-Key": served.key, "X-Gateway-Caller": "key:forged", "Cookie": "sessionid=1; a=b"}
    async with served.socket("/api/v1/live/room/7?x=1", additional_headers=headers) as ws:
        handshake = await read(ws)
        assert handshake["path"] == "/base/room/7?x=1"
        fields = handshake["fields"]
        assert fields["x-gateway-caller"] == f"key:{served.key.split('_')[1]}"
        assert fields["x-inside"] == "secret"
        assert fields["cookie"] == "a=b"
        assert served.key not in str(fields)
        for message in ("text", b"\x00\xff", "x" * 500_000):
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send("bye")
        assert await close_code(ws) == 4123


async def test_the_backend_selects_the_subprotocol_and_receives_no_token(served: Served) -> None:
    ws = await served.socket("/api/v1/live/", additional_headers={}, subprotocols=["bearer", served.key, "chat"])
    assert ws.subprotocol == "chat"
    assert served.key not in str(await read(ws))
    await ws.close()


@pytest.mark.parametrize("target", ["/room?", "/room", "/room??", "/room?a=1?", "/?"])
async def test_the_backend_receives_the_query_as_it_was_sent(served: Served, target: str) -> None:
    fields = f"Host: live.test\r\nX-API-Key: {served.key}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    fields += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"GET {target} HTTP/1.1\r\n{fields}".encode())
    received = await asyncio.wait_for(reader.readuntil(b'"fields"'), 20)
    writer.close()
    assert f'{{"path":"/base{target}"'.encode() in received


async def test_a_message_over_the_limit_closes_the_socket(served: Served) -> None:
    async with served.socket("/api/v1/live/", max_size=None) as ws:
        await read(ws)
        await ws.send("x" * 1_100_000)
        assert await close_code(ws) == 1009


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/api/v1/crm/", {}),
        ("/api/v1/nope/", {}),
        ("/api/v1/live/", {"origin": "http://evil.test"}),
        ("/api/v1/live/%2e%2e/x", {}),
        ("/elsewhere/", {}),
    ],
)
async def test_a_handshake_that_is_not_allowed_is_refused(served: Served, path: str, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidStatus):
        await served.socket(path, **more)


async def test_a_service_requires_permission(served: Served) -> None:
    with pytest.raises(InvalidStatus):
        await served.socket("/api/v1/live/", additional_headers={"X-API-Key": served.unprivileged_key})
    async with served.socket("/api/v1/live/", additional_headers={}) as ws:
        assert await close_code(ws) == 4401


async def test_an_unreachable_or_redirecting_backend_is_a_bad_gateway(served: Served) -> None:
    for path in ("/api/v1/gone/", "/api/v1/live/elsewhere"):
        async with served.socket(path) as ws:
            assert await close_code(ws) == 1014


@pytest.mark.parametrize("path", ["/ws/events/", "/ws/dashboard/", "/ws/dashboard/requests/", "/api/v1/crm/x", "/"])
async def test_all_paths_of_a_services_own_host_are_the_services(served: Served, path: str) -> None:
    headers = {"X-API-Key": served.key}
    async with connect(f"ws://live.test{path}", host="127.0.0.1", port=served.port, additional_headers=headers) as ws:
        assert (await read(ws))["path"] == f"/base{path}"

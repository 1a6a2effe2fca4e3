"""WebSockets to services, from outside."""

from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.gateway_project.served import Served, close_code, read


async def test_messages_pass_both_ways_and_the_backend_learns_who_asks(served: Served) -> None:
    headers = {"X-API-Key": served.key, "X-Gateway-Caller": "key:forged", "Cookie": "sessionid=1; a=b"}
    async with served.socket("/api/v1/live/room/7?x=1", additional_headers=headers) as ws:
        said = await read(ws)
        assert said["path"] == "/base/room/7?x=1"
        fields = said["fields"]
        assert fields["x-gateway-caller"] == f"key:{served.key.split('_')[1]}"
        assert fields["x-inside"] == "secret"
        assert fields["cookie"] == "a=b"
        assert served.key not in str(fields)
        for message in ("text", b"\x00\xff", "x" * 500_000):
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send("bye")
        assert await close_code(ws) == 4123


async def test_a_subprotocol_is_settled_with_the_backend_and_a_token_is_not_passed_on(served: Served) -> None:
    ws = await served.socket("/api/v1/live/", additional_headers={}, subprotocols=["bearer", served.key, "chat"])
    assert ws.subprotocol == "chat"
    assert served.key not in str(await read(ws))
    await ws.close()


async def test_a_message_over_the_limit_ends_it(served: Served) -> None:
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
async def test_what_may_not_pass_is_refused(served: Served, path: str, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidStatus):
        await served.socket(path, **more)


async def test_without_rights_a_service_takes_no_socket(served: Served) -> None:
    with pytest.raises(InvalidStatus):
        await served.socket("/api/v1/live/", additional_headers={"X-API-Key": served.poor})
    async with served.socket("/api/v1/live/", additional_headers={}) as ws:
        assert await close_code(ws) == 4401


async def test_a_backend_that_is_not_there_or_leads_elsewhere_is_a_bad_gateway(served: Served) -> None:
    for path in ("/api/v1/gone/", "/api/v1/live/elsewhere"):
        async with served.socket(path) as ws:
            assert await close_code(ws) == 1014

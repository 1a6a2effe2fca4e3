"""A socket's handshake: judged as a request's is, and what is refused is counted."""

import asyncio
from typing import Any

import pytest

from gateway_project.sockets import application as socket
from resilience.ratelimit.policy import RatePolicy
from routing import runtime
from routing.authentication.authenticator import Authenticator
from routing.pipeline import GatewayRules
from routing.realtime.log import MemoryLog
from routing.realtime.realtime import Realtime
from tests.gateway.conftest import World, make_world


class _Opened:
    """A gateway and its realtime part, and no more."""

    def __init__(self, world: World) -> None:
        self.gateway = world.gateway
        self.realtime = Realtime(MemoryLog(world.clock), world.live, Authenticator(lambda: world.live.keys))

    async def close(self) -> None:
        await self.realtime.close()


@pytest.fixture
async def opened() -> Any:
    world = make_world("asgi", GatewayRules(rate=RatePolicy(3, 60)))

    async def open_parts() -> Any:
        parts = _Opened(world)
        parts.realtime.start()
        return parts

    runtime.install(runtime.Runtime(open_parts))
    await runtime.current().start()
    yield world
    await runtime.current().stop()
    await world.backend.close()


async def knock(path: str = "/ws/events/", *fields: tuple[bytes, bytes]) -> list[dict[str, Any]]:
    """What the server is told in answer to a handshake whose client then leaves."""
    said: list[dict[str, Any]] = []
    messages = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]
    scope = {
        "type": "websocket",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"gateway.test"), *fields],
        "client": ("192.0.2.1", 50_000),
        "subprotocols": [],
    }

    async def receive() -> Any:
        return messages.pop(0) if messages else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        said.append(message)

    await socket(scope, receive, send)
    return said


async def test_who_is_let_in_is_counted_and_leaves_nothing_behind(opened: World) -> None:
    said = await knock("/ws/events/", (b"x-api-key", opened.key.encode()), (b"origin", b"http://gateway.test"))
    assert said[0]["type"] == "websocket.accept"
    assert (opened.seen.requests[-1].status, opened.seen.requests[-1].path) == (101, "/ws/events/")
    assert len(runtime.current().realtime.hub) == 0


async def test_a_forged_origin_is_refused_and_counted(opened: World) -> None:
    said = await knock("/ws/events/", (b"x-api-key", opened.key.encode()), (b"origin", b"http://evil.test"))
    assert said == [{"type": "websocket.close"}]
    assert (opened.seen.requests[-1].status, opened.seen.requests[-1].code) == (403, "forbidden")


async def test_junk_credentials_are_told_counted_and_limited_by_address(opened: World) -> None:
    said = [await knock("/ws/events/", (b"authorization", b"Bearer junk%d" % number)) for number in range(5)]
    assert [messages[-1].get("code") for messages in said] == [4401, 4401, 4401, None, None]
    assert [request.status for request in opened.seen.requests] == [401, 401, 401, 429, 429]
    assert (await knock("/ws/events/", (b"x-api-key", opened.key.encode())))[0]["type"] == "websocket.accept"


async def test_nothing_is_elsewhere(opened: World) -> None:
    assert await knock("/ws/nothing/") == [{"type": "websocket.close", "code": 4404}]

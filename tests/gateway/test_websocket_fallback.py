"""The handshake of a WebSocket whose service has another service as its fallback."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from resilience.breaker.policy import BreakerPolicy
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.api_keys import ApiKeys, KeyRecord, generate_api_key
from routing.configuration.warnings import warnings
from routing.messages.cors import CorsPolicy
from routing.networks import AddressPolicy, NetworkSet
from routing.realtime.proxy import SocketProxy
from routing.router.policy import Fallback, Retries, RoutePolicy, Target, Timeout
from routing.router.table import RoutePattern, Service
from tests.clock import FakeClock
from tests.gateway.conftest import World
from tests.gateway.websocket_world import client_of, closed_with, proxy_of, websocket_world
from tests.origin import Peer, ScriptedOrigin
from tests.resilience.waiting import until
from tests.system.echo import websocket_server
from tests.websocket import Socket

STANDBY = Fallback(service="standby", has_response=False)
CHAT = RoutePolicy(
    websocket=True,
    fallback=STANDBY,
    timeout=Timeout(connect=2, read=5, total=10),
    retries=Retries(attempts=1),
    breaker=BreakerPolicy(failure_threshold=2),
)
OTHER = RoutePolicy(websocket=True, headers=((b"x-place", b"standby"),))


@contextmanager
def unreachable() -> Iterator[int]:
    """A port that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def standby() -> Iterator[int]:
    """A backend that sends its path and fields and closes when the client does."""

    async def serve(ws: ServerConnection) -> None:
        assert ws.request is not None
        await ws.send(f"{ws.request.path} {ws.request.headers.get('X-Place')} {ws.subprotocol}")
        await ws.wait_closed()

    def select(_ws: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return offered[0] if offered else None

    with websocket_server(serve, select_subprotocol=select) as port:
        yield port


@contextmanager
def refusing(status: int) -> Iterator[int]:
    def refuse(ws: ServerConnection, _request: Request) -> Response:
        return ws.respond(HTTPStatus(status), "no")

    async def never(ws: ServerConnection) -> None:
        raise AssertionError(ws)

    with websocket_server(never, process_request=refuse) as port:
        yield port


def world_of(
    first: int,
    second: int,
    *,
    policy: RoutePolicy = CHAT,
    other: RoutePolicy = OTHER,
    routes: tuple[RoutePattern, ...] = (),
) -> World:
    world = websocket_world(first, policy=policy)
    world.add(Service("standby", (Target(f"http://127.0.0.1:{second}"),), policy=other, routes=routes))
    return world


async def opened(client: Socket) -> tuple[dict[bytes, bytes], str]:
    """The header fields of the gateway's own with which the handshake is accepted, and the first message."""
    await client._peer.send_input({"type": "websocket.connect"})
    accepted = await client.receive()
    assert accepted["type"] == "websocket.accept"
    own = {name: value for name, value in accepted["headers"] if name.startswith(b"x-gateway-")}
    return own, (await client.receive())["text"]


async def test_a_handshake_goes_to_the_fallback_while_no_target_connects_and_while_the_circuit_is_open() -> None:
    with unreachable() as first, standby() as second:
        world = world_of(first, second)
        proxy = proxy_of(world, FakeClock())
        for _ in range(4):
            client = client_of(proxy, world, "/api/v1/chat/rooms/7", query=b"a=1", subprotocols=["chat.v2"])
            headers, text = await opened(client)
            assert headers == {b"x-gateway-fallback": b"standby"}
            assert text == "/rooms/7?a=1 standby chat.v2"
            await client.disconnect()
    assert world.observer.circuits == [("chat", "CLOSED", "OPEN")]
    requests = world.observer.requests
    assert {(each.service, each.status, each.code, each.fallback) for each in requests} == {
        ("chat", 101, "", "standby")
    }
    codes = [each.call for each in requests]
    assert codes == ["bad_gateway"] * 2 + ["circuit_open"] * 2
    assert requests[0].reason == "connection refused"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_handshake_that_fails_goes_to_the_fallback(status: int) -> None:
    with refusing(status) as first, standby() as second:
        world = world_of(first, second)
        headers, _ = await opened(client := client_of(proxy_of(world, FakeClock()), world))
        await client.disconnect()
    assert headers == {b"x-gateway-fallback": b"standby"}
    assert world.observer.requests[-1].reason == f"handshake refused with {status}"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426])
async def test_a_refusal_that_is_no_failure_does_not(status: int) -> None:
    with refusing(status) as first, standby() as second:
        world = world_of(first, second)
        assert await closed_with(client_of(proxy_of(world, FakeClock()), world)) == 1014


async def test_a_service_that_accepts_is_not_replaced() -> None:
    with standby() as first, unreachable() as second:
        world = world_of(first, second)
        headers, _ = await opened(client := client_of(proxy_of(world, FakeClock()), world))
        await client.disconnect()
    assert headers == {}
    assert world.observer.requests[-1].fallback == ""


def key_for(world: World, *scopes: str) -> str:
    key = generate_api_key()
    world.live.keys = ApiKeys([KeyRecord(prefix=key.prefix, digest=key.digest, scopes=frozenset(scopes), name="k")])
    return key.key


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        (RoutePolicy(), "does not accept WebSockets"),
        (RoutePolicy(websocket=True, enabled=False), "service_disabled"),
        (RoutePolicy(websocket=True, scopes=("secret",)), "forbidden"),
        (
            RoutePolicy(websocket=True, ip=(AddressPolicy(allow=NetworkSet(["192.0.2.0/24"])),)),
            "address_not_allowed",
        ),
        (RoutePolicy(websocket=True, rate_limit=RatePolicy(1, 60.0)), "rate_limited"),
    ],
    ids=["no WebSockets", "disabled", "scopes", "network", "rate"],
)
async def test_the_rules_of_the_fallback_hold(other: RoutePolicy, verdict: str) -> None:
    with unreachable() as first, standby() as second:
        world = world_of(first, second, other=other)
        proxy = proxy_of(world, FakeClock())
        if verdict == "rate_limited":
            await opened(client := client_of(proxy, world))
            await client.disconnect()
        assert await closed_with(client_of(proxy, world)) == 1014
    last = world.observer.requests[-1]
    assert (last.code, last.fallback) == ("bad_gateway", "")


async def test_a_key_for_the_service_alone_does_not_reach_the_fallback() -> None:
    with unreachable() as first, standby() as second:
        world = world_of(first, second)
        proxy = proxy_of(world, FakeClock())
        assert await closed_with(client_of(proxy, world, key=key_for(world, "chat"))) == 1014
        await opened(client := client_of(proxy, world, key=key_for(world, "chat", "standby")))
        await client.disconnect()


async def test_a_page_that_the_fallback_does_not_admit_does_not_reach_it() -> None:
    pages = CorsPolicy(origins=("https://app.example.com", "https://other.example.com"))
    policy = msgspec.structs.replace(CHAT, cors=pages)
    other = msgspec.structs.replace(OTHER, cors=CorsPolicy(origins=("https://app.example.com",)))
    with unreachable() as first, standby() as second:
        world = world_of(first, second, policy=policy, other=other)
        proxy = proxy_of(world, FakeClock())
        await opened(client := page(proxy, world, b"https://app.example.com"))
        await client.disconnect()
        assert await closed_with(page(proxy, world, b"https://other.example.com")) == 1014


def page(proxy: SocketProxy, world: World, origin: bytes) -> Socket:
    headers = [(b"host", b"gateway"), (b"x-api-key", world.key.encode()), (b"origin", origin)]
    scope: dict[str, Any] = {"client": ("127.0.0.1", 5), "http_version": "1.1", "raw_path": b"/api/v1/chat/"}
    return Socket(proxy.answer, "/api/v1/chat/", headers, **scope)


async def test_a_fallback_that_fails_too_is_not_shown_and_no_slot_is_lost() -> None:
    with unreachable() as first, refusing(503) as second:
        policy = msgspec.structs.replace(CHAT, max_concurrency=1)
        other = msgspec.structs.replace(OTHER, max_concurrency=1)
        world = world_of(first, second, policy=policy, other=other)
        proxy = proxy_of(world, FakeClock())
        codes = [await closed_with(client_of(proxy, world)) for _ in range(3)]
    assert codes == [1014, 1014, 1013]
    last = world.observer.requests[-1]
    assert (last.code, last.fallback) == ("circuit_open", "")


async def test_a_route_without_a_fallback_has_none_and_a_fallback_s_own_is_not_called() -> None:
    with unreachable() as first, unreachable() as second, standby() as third:
        other = msgspec.structs.replace(OTHER, fallback=Fallback(service="third", has_response=False))
        world = world_of(first, second, other=other)
        world.add(Service("third", (Target(f"http://127.0.0.1:{third}"),), policy=OTHER))
        assert await closed_with(client_of(proxy_of(world, FakeClock()), world)) == 1014
        world = world_of(first, third, policy=msgspec.structs.replace(CHAT, fallback=None))
        assert await closed_with(client_of(proxy_of(world, FakeClock()), world)) == 1014


async def test_it_is_closed_once_the_fallback_may_not_be_called_from_its_address_any_more() -> None:
    with unreachable() as first, standby() as second:
        world = world_of(first, second)
        await opened(client := client_of(proxy_of(world, FakeClock()), world))
        denied = msgspec.structs.replace(OTHER, ip=(AddressPolicy(deny=NetworkSet(["127.0.0.0/8"])),))
        world.add(Service("standby", (Target(f"http://127.0.0.1:{second}"),), policy=denied))
        assert (await client.receive())["code"] == 4401
        await client.disconnect()  # wait until the tunnel has closed the backend too


async def test_a_client_that_leaves_meanwhile_leaves_nothing_behind() -> None:
    """Its task is cancelled while the fallback does not respond."""

    async def hang(peer: Peer) -> None:
        await peer.wait_closed()

    with unreachable() as first:
        async with ScriptedOrigin(hang, b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n") as silent:
            world = world_of(first, silent.port, other=msgspec.structs.replace(OTHER, max_concurrency=1))
            proxy = proxy_of(world, FakeClock())
            client = client_of(proxy, world)
            await client._peer.send_input({"type": "websocket.connect"})
            await until(lambda: bool(silent.requests))
            client._peer.future.cancel()
            await until(client._peer.future.done)
            assert await closed_with(client_of(proxy, world)) == 1014
            assert len(silent.requests) == 2


def test_a_fallback_without_websockets_is_warned_of() -> None:
    target = (Target("http://127.0.0.1:1"),)
    chat = Service("chat", target, policy=CHAT)
    found = [*warnings([chat, Service("standby", target, policy=RoutePolicy())])]
    assert [(fault.path, fault.message) for fault in found] == [
        (
            ("services", "chat", "fallback"),
            "WebSockets have no fallback: standby does not accept them (websocket: true)",
        )
    ]
    assert not [*warnings([chat, Service("standby", target, policy=OTHER)])]

"""A socket's handshake: judged as a request's is, and what is refused is counted."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from gateway_project.sockets import application as socket
from metrics.dashboard import events
from resilience.cache.policy import CachePolicy
from resilience.cache.store import holds
from resilience.ratelimit.policy import RatePolicy
from routing import runtime
from routing.authentication.authenticator import Authenticator
from routing.pipeline import GatewayRules
from routing.realtime.consumer import EventsConsumer
from routing.realtime.log import MemoryLog
from routing.realtime.service import Realtime
from routing.router.policy import RoutePolicy, Target
from routing.router.table import Route, RouteTable, Service
from tests.gateway.cache_steps import reply
from tests.gateway.conftest import World, make_world
from tests.websocket import Socket


class _Opened:
    """A gateway and its realtime part, and no more."""

    def __init__(self, world: World) -> None:
        self.gateway = world.gateway
        self.realtime = Realtime(
            MemoryLog(world.clock),
            world.live,
            Authenticator(lambda: world.live.keys),
            is_cached=partial(holds, world.cache._store),
        )

    async def close(self) -> None:
        await self.realtime.close()


def running() -> Realtime:
    realtime = runtime.current().realtime
    assert isinstance(realtime, Realtime)
    return realtime


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
    await world.close()


async def handle(path: str = "/ws/events/", *fields: tuple[bytes, bytes]) -> list[dict[str, Any]]:
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
    said = await handle("/ws/events/", (b"x-api-key", opened.key.encode()), (b"origin", b"http://gateway.test"))
    assert said[0]["type"] == "websocket.accept"
    assert (opened.observer.requests[-1].status, opened.observer.requests[-1].path) == (101, "/ws/events/")
    assert len(running().hub) == 0


async def test_a_forged_origin_is_refused_and_counted(opened: World) -> None:
    said = await handle("/ws/events/", (b"x-api-key", opened.key.encode()), (b"origin", b"http://evil.test"))
    assert said == [{"type": "websocket.close"}]
    assert (opened.observer.requests[-1].status, opened.observer.requests[-1].code) == (403, "forbidden")


async def test_junk_credentials_are_told_counted_and_limited_by_address(opened: World) -> None:
    said = [await handle("/ws/events/", (b"authorization", b"Bearer junk%d" % number)) for number in range(5)]
    assert [messages[-1].get("code") for messages in said] == [4401, 4401, 4401, None, None]
    assert [request.status for request in opened.observer.requests] == [401, 401, 401, 429, 429]
    assert (await handle("/ws/events/", (b"x-api-key", opened.key.encode())))[0]["type"] == "websocket.accept"


async def test_nothing_is_elsewhere(opened: World) -> None:
    assert await handle("/ws/nothing/") == [{"type": "websocket.close", "code": 4404}]


ORDERS = Route("/orders/{id}", policy=RoutePolicy(cache=CachePolicy(tags=("order:{id}",))))


async def test_a_resource_that_names_nobody_is_heard_by_those_the_backend_gave_it_to(opened: World) -> None:
    """Each has its own answer: that it is void is told to who has one, and to nobody else."""
    await opened.serve(
        reply(200, cache_control="max-age=60"),
        reply(404, cache_control="max-age=60"),
        name="shop",
        routes=(ORDERS,),
    )
    await opened.request("GET", "/api/v1/shop/orders/7?x=1")
    await opened.request("GET", "/api/v1/shop/orders/8")
    ours, theirs = events_of(opened.key), events_of(opened.other_key)
    wanted = [f"resource:/api/v1/shop/orders/{rest}" for rest in ("7?x=1", "7", "8")]
    subscribe = json.dumps({"type": "subscribe", "topics": [*wanted, "tag:order:7"]})
    granted = []
    for each in (ours, theirs):
        assert await each.connect() is None
        await each.send(subscribe)
        granted.append((await each.receive_json())["topics"])
    assert granted == [wanted[:1], []]
    running().invalidated("shop", "order:7")
    said = await ours.receive_json()
    assert (said["type"], said["topic"], said["data"]["tag"]) == ("invalidated", wanted[0], "order:7")
    running().live.table = RouteTable(opened.live.table.services.values())
    running().tick()
    running().invalidated("shop", "order:7")
    assert (await ours.receive_json())["type"] == "invalidated"
    for each in (ours, theirs):
        await each.disconnect()


def events_of(key: str) -> Socket:
    fields = [(b"host", b"gateway.test"), (b"x-api-key", key.encode())]
    return Socket(EventsConsumer.as_asgi(), "/ws/events/", fields, **WIRE)


STAFF = User(username="ada", is_staff=True)
OWN_PAGE = (b"origin", b"http://gateway.test")


async def test_staff_hear_of_services_in_the_dashboards_own_page_without_a_token(opened: World) -> None:
    opened.add(Service("app", (Target("http://127.0.0.1:1"),)))
    socket = staff(STAFF, OWN_PAGE)
    assert await socket.connect() is None
    await socket.send('{"type":"subscribe","topics":["service:app","caller:firebase:bob"]}')
    said = await socket.receive_json()
    assert said["topics"] == ["service:app"]
    assert [refused["code"] for refused in said["refused"]] == ["forbidden"]
    running().circuit_changed("app", "CLOSED", "OPEN", "a test")
    assert (await socket.receive_json())["topic"] == "service:app"
    await socket.disconnect()
    assert len(running().hub) == 0


@pytest.mark.parametrize("user", [AnonymousUser(), User(username="eve"), User(is_staff=True, is_active=False)])
async def test_who_is_not_staff_is_refused_and_counted(opened: World, user: Any) -> None:
    assert await staff(user, OWN_PAGE).connect() == 1000
    assert (opened.observer.requests[-1].status, opened.observer.requests[-1].code) == (403, "forbidden")


@pytest.mark.parametrize("fields", [[(b"origin", b"http://evil.test")], [(b"origin", b"null")], []])
async def test_a_page_of_somebody_elses_gains_nothing_by_the_cookie_it_rides_on(opened: World, fields: Any) -> None:
    running().origins = ("http://evil.test",)  # CORS_ORIGINS is for those who bring a token
    assert await staff(STAFF, *fields).connect() == 1000
    assert (opened.observer.requests[-1].status, opened.observer.requests[-1].code) == (403, "forbidden")


async def test_the_events_own_door_does_not_look_at_the_session(opened: World) -> None:
    socket = Socket(EventsConsumer.as_asgi(), "/ws/events/", [(b"host", b"gateway.test"), OWN_PAGE], user=STAFF, **WIRE)
    assert await socket.connect() is None
    await socket.send('{"type":"subscribe","topics":["service:app"]}')
    assert (await socket.receive_json())["code"] == "unauthenticated"
    await socket.disconnect()


async def test_a_session_that_ended_ends_its_socket(opened: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(_: Any) -> Any:
        return AnonymousUser()

    monkeypatch.setattr(events, "RECHECK_SECONDS", 0.01)
    monkeypatch.setattr(events, "get_user", gone)
    socket = staff(STAFF, OWN_PAGE)
    assert await socket.connect() is None
    assert (await socket.receive())["code"] == 4401


WIRE: dict[str, Any] = {"scheme": "ws", "raw_path": b"/ws/", "client": ("192.0.2.1", 50_000)}


def staff(user: Any, *fields: tuple[bytes, bytes]) -> Socket:
    consumer = events.StaffEventsConsumer.as_asgi()
    return Socket(consumer, "/ws/dashboard/events/", [(b"host", b"gateway.test"), *fields], user=user, **WIRE)

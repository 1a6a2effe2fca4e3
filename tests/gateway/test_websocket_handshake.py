"""WebSocket handshakes: admitted like requests, and accounted if rejected."""

import asyncio
import json
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from gateway_project.sockets import application as socket
from metrics.dashboard import events
from resilience.cache.policy import CachePolicy
from resilience.ratelimit.policy import RatePolicy
from routing import runtime
from routing.authentication.authenticator import Authenticator
from routing.gateway_rules import GatewayRules
from routing.realtime.consumer import EventsConsumer
from routing.realtime.log import MemoryLog
from routing.realtime.service import Realtime
from routing.rights import Grant
from routing.router.policy import RoutePolicy, Target
from routing.router.table import RoutePattern, RouteTable, Service
from routing.steps.cache.cache_key import CacheKeys
from routing.steps.cache.held_responses import holds_response
from tests.gateway.cache_steps import reply
from tests.gateway.conftest import COOKIES, World, make_world
from tests.websocket import Socket

# Channels looks at the database before each message that a consumer handles.
pytestmark = pytest.mark.django_db


class _Parts:
    """A gateway and its realtime service."""

    def __init__(self, world: World) -> None:
        self.gateway = world.gateway
        self.realtime = Realtime(
            MemoryLog(world.clock),
            world.live,
            Authenticator(lambda: world.live.keys),
            is_cached=partial(holds_response, world.cache._store, CacheKeys(COOKIES)),
        )

    async def close(self) -> None:
        await self.realtime.close()


def current_realtime() -> Realtime:
    realtime = runtime.current().realtime
    assert isinstance(realtime, Realtime)
    return realtime


@pytest.fixture
async def world() -> Any:
    world = make_world("asgi", GatewayRules(rate=RatePolicy(3, 60)))

    async def open_parts() -> Any:
        parts = _Parts(world)
        parts.realtime.start()
        return parts

    runtime.install(runtime.Runtime(open_parts))
    await runtime.current().start()
    yield world
    await runtime.current().stop()
    await world.close()


async def shake_hands(path: str = "/ws/events/", *fields: tuple[bytes, bytes]) -> list[dict[str, Any]]:
    """The messages sent to the server for a handshake whose client then disconnects."""
    sent: list[dict[str, Any]] = []
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
        sent.append(message)

    await socket(scope, receive, send)
    return sent


async def test_an_accepted_handshake_is_accounted_and_its_session_ends_with_it(world: World) -> None:
    sent = await shake_hands("/ws/events/", (b"x-api-key", world.key.encode()), (b"origin", b"http://gateway.test"))
    assert sent[0]["type"] == "websocket.accept"
    assert (world.observer.requests[-1].status, world.observer.requests[-1].path) == (101, "/ws/events/")
    assert len(current_realtime().hub) == 0


async def test_a_foreign_origin_is_rejected_and_accounted(world: World) -> None:
    sent = await shake_hands("/ws/events/", (b"x-api-key", world.key.encode()), (b"origin", b"http://evil.test"))
    assert sent == [{"type": "websocket.close"}]
    assert (world.observer.requests[-1].status, world.observer.requests[-1].code) == (403, "forbidden")


async def test_invalid_credentials_are_rejected_and_limited_by_address(world: World) -> None:
    handshakes = [
        await shake_hands("/ws/events/", (b"authorization", b"Bearer junk%d" % number)) for number in range(5)
    ]
    assert [messages[-1].get("code") for messages in handshakes] == [4401, 4401, 4401, None, None]
    assert [request.status for request in world.observer.requests] == [401, 401, 401, 429, 429]
    assert (await shake_hands("/ws/events/", (b"x-api-key", world.key.encode())))[0]["type"] == "websocket.accept"


async def test_an_unknown_path_is_closed(world: World) -> None:
    assert await shake_hands("/ws/nothing/") == [{"type": "websocket.close", "code": 4404}]


ORDERS = RoutePattern("/orders/{id}", policy=RoutePolicy(cache=CachePolicy(tags=("order:{id}",))))


async def test_a_resource_without_an_owner_in_its_path_is_for_callers_with_a_cached_response(world: World) -> None:
    """Of a private response, only callers that have one cached are notified of the invalidation."""
    await world.serve(
        reply(200, cache_control="max-age=60"),
        reply(404, cache_control="max-age=60"),
        name="shop",
        routes=(ORDERS,),
    )
    await world.request("GET", "/api/v1/shop/orders/7?x=1")
    await world.request("GET", "/api/v1/shop/orders/8")
    ours, theirs = events_socket(world.key), events_socket(world.other_key)
    wanted = [f"resource:/api/v1/shop/orders/{rest}" for rest in ("7?x=1", "7", "8")]
    subscribe = json.dumps({"type": "subscribe", "topics": [*wanted, "tag:order:7"]})
    granted = []
    for each in (ours, theirs):
        assert await each.connect() is None
        await each.send(subscribe)
        granted.append((await each.receive_json())["topics"])
    assert granted == [wanted[:1], []]
    current_realtime().invalidated("shop", "order:7")
    message = await ours.receive_json()
    assert (message["type"], message["topic"], message["data"]["tag"]) == ("invalidated", wanted[0], "order:7")
    current_realtime().live.table = RouteTable(world.live.table.services.values())
    current_realtime().tick()
    current_realtime().invalidated("shop", "order:7")
    assert (await ours.receive_json())["type"] == "invalidated"
    for each in (ours, theirs):
        await each.disconnect()


@pytest.mark.parametrize("by_script", [False, True])
@pytest.mark.parametrize("host", ["shop.test", "shop.test:81"])
async def test_a_response_that_was_requested_at_the_services_own_host_counts_too(
    world: World, host: str, by_script: bool
) -> None:
    await world.serve(reply(200, cache_control="max-age=60"), name="shop", hosts=("shop.test",), routes=(ORDERS,))
    headers = [("X-Requested-With", "XMLHttpRequest")] if by_script else []
    assert (await world.request("GET", "/orders/7", headers, host=host)).get("x-cache") == "MISS"
    wanted = [f"resource:/api/v1/shop/orders/{number}" for number in (7, 8)]
    granted = []
    for key in (world.key, world.other_key):
        socket = events_socket(key, "gateway.test:81")
        assert await socket.connect() is None
        await socket.send(json.dumps({"type": "subscribe", "topics": wanted}))
        granted.append((await socket.receive_json())["topics"])
        await socket.disconnect()
    assert granted == [wanted[:1], []]


def events_socket(key: str, host: str = "gateway.test") -> Socket:
    fields = [(b"host", host.encode()), (b"x-api-key", key.encode())]
    return Socket(EventsConsumer.as_asgi(), "/ws/events/", fields, **SCOPE)


STAFF = User(username="ada", is_staff=True, is_superuser=True)
OWN_PAGE = (b"origin", b"http://gateway.test")


async def test_staff_subscribe_from_the_dashboard_without_a_token(world: World) -> None:
    world.add(Service("app", (Target("http://127.0.0.1:1"),)))
    socket = staff_socket(STAFF, OWN_PAGE)
    assert await socket.connect() is None
    await socket.send('{"type":"subscribe","topics":["service:app","caller:firebase:bob"]}')
    message = await socket.receive_json()
    assert message["topics"] == ["service:app"]
    assert [refused["code"] for refused in message["refused"]] == ["forbidden"]
    current_realtime().circuit_changed("app", "CLOSED", "OPEN", "a test")
    assert (await socket.receive_json())["topic"] == "service:app"
    await socket.disconnect()
    assert len(current_realtime().hub) == 0


@pytest.mark.parametrize(("services", "topics"), [({"app"}, ["service:app"]), ({"crm"}, [])])
async def test_staff_with_roles_for_services_follow_these_alone(
    world: World, services: set[str], topics: list[str]
) -> None:
    grants = (Grant("Viewer", frozenset(services), {}),)
    user = SimpleNamespace(is_active=True, is_staff=True, has_perm=lambda _: False, _service_grants=grants)
    user.get_username = lambda: "eve"
    world.add(Service("app", (Target("http://127.0.0.1:1"),)))
    socket = staff_socket(user, OWN_PAGE)
    assert await socket.connect() is None
    await socket.send('{"type":"subscribe","topics":["service:app","gateway:keys"]}')
    message = await socket.receive_json()
    assert message["topics"] == topics, message
    await socket.disconnect()


@pytest.mark.parametrize("user", [AnonymousUser(), User(username="eve"), User(is_staff=True, is_active=False)])
async def test_a_user_who_is_not_staff_is_rejected_and_accounted(world: World, user: Any) -> None:
    assert await staff_socket(user, OWN_PAGE).connect() == 1000
    assert (world.observer.requests[-1].status, world.observer.requests[-1].code) == (403, "forbidden")


@pytest.mark.parametrize("fields", [[(b"origin", b"http://evil.test")], [(b"origin", b"null")], []])
async def test_a_foreign_page_cannot_use_the_session_cookie(world: World, fields: Any) -> None:
    current_realtime().origins = ("http://evil.test",)  # CORS_ORIGINS applies to requests with a token
    assert await staff_socket(STAFF, *fields).connect() == 1000
    assert (world.observer.requests[-1].status, world.observer.requests[-1].code) == (403, "forbidden")


async def test_the_public_events_socket_ignores_the_session(world: World) -> None:
    socket = Socket(
        EventsConsumer.as_asgi(), "/ws/events/", [(b"host", b"gateway.test"), OWN_PAGE], user=STAFF, **SCOPE
    )
    assert await socket.connect() is None
    await socket.send('{"type":"subscribe","topics":["service:app"]}')
    assert (await socket.receive_json())["code"] == "unauthenticated"
    await socket.disconnect()


async def test_the_end_of_a_session_closes_its_socket(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def anonymous_user(_: Any) -> Any:
        return AnonymousUser()

    monkeypatch.setattr(events, "RECHECK_SECONDS", 0.01)
    monkeypatch.setattr(events, "get_user", anonymous_user)
    socket = staff_socket(STAFF, OWN_PAGE)
    assert await socket.connect() is None
    assert (await socket.receive())["code"] == 4401


SCOPE: dict[str, Any] = {"scheme": "ws", "raw_path": b"/ws/", "client": ("192.0.2.1", 50_000)}


def staff_socket(user: Any, *fields: tuple[bytes, bytes]) -> Socket:
    consumer = events.StaffEventsConsumer.as_asgi()
    return Socket(consumer, "/ws/dashboard/events/", [(b"host", b"gateway.test"), *fields], user=user, **SCOPE)

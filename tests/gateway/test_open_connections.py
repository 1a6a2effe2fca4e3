"""Open WebSockets of callers with certificates, signatures and keys when these are revoked."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from routing.authentication.api_keys import ApiKeys, KeyRecord, digest
from routing.authentication.authenticator import Authenticator
from routing.consumers.policy import Plan, ServiceAccess
from routing.consumers.table import ConsumerData, ConsumerRecord, ConsumerTable
from routing.errors import AddressNotAllowed
from routing.http import Request
from routing.networks import Addresses, AddressPolicy, NetworkSet
from routing.realtime import handshake, tunnel
from routing.realtime.http import EventsEndpoint
from routing.realtime.log import MemoryLog
from routing.realtime.service import Realtime
from routing.router.policy import Auth, RoutePolicy, Target
from routing.router.route_tree import RoutePattern
from routing.router.table import RouteTable, Service
from tests.clock import FakeClock
from tests.gateway import test_client_certificates as certificates
from tests.gateway import test_signatures as signatures
from tests.gateway.conftest import World, make_world
from tests.gateway.websocket_world import proxy_of
from tests.system.echo import echo
from tests.websocket import Socket

pytestmark = pytest.mark.slow
PATH = "/api/v1/chat/"
EVENTS = "/ws/events/"
ELSEWHERE = "192.0.2.7"


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(tunnel, "CHECK_SECONDS", 0.01)
    with echo() as port:
        made = make_world("asgi", certificates.rules())
        made.add(Service("chat", (Target(f"http://127.0.0.1:{port}"),), policy=RoutePolicy(websocket=True)))
        certificates.know(made)
        yield made
        await made.close()


def scope(fields: list[tuple[str, str]], path: str = PATH, client: str = certificates.PROXY) -> dict[str, Any]:
    headers = [(b"host", b"gateway.test"), *((name.lower().encode(), value.encode()) for name, value in fields)]
    more = {"client": (client, 5), "http_version": "1.1", "raw_path": path.encode(), "query_string": b""}
    return {"type": "websocket", "path": path, "headers": headers, "scheme": "ws", "subprotocols": [], **more}


async def connected(world: World, fields: list[tuple[str, str]]) -> Socket:
    asked = scope(fields)
    socket = Socket(proxy_of(world, FakeClock()).answer, asked.pop("path"), asked.pop("headers"), **asked)
    assert await socket.connect() is None
    await socket.send("hello")
    assert (await socket.receive())["text"] == "hello"
    return socket


async def end_of(socket: Socket) -> tuple[int, str]:
    end = await socket.receive()
    assert end["type"] == "websocket.close"
    await socket.disconnect()
    return end["code"], end["reason"]


def listens(world: World) -> Realtime:
    return Realtime(MemoryLog(world.clock), world.live, Authenticator(lambda: world.live.keys), clock=world.clock)


async def test_a_certificate_that_is_no_consumers_any_more(world: World) -> None:
    socket = await connected(world, certificates.shown())
    other = await connected(world, [("X-API-Key", world.key)])
    record = KeyRecord(prefix="ours", digest=digest(world.key), name="ours", scopes=frozenset({"*"}))
    world.live.keys = ApiKeys([record], ConsumerTable(ConsumerData()))
    assert await end_of(socket) == (4401, "the credential is no longer valid")
    await other.send("still open")
    assert (await other.receive())["text"] == "still open"
    await other.disconnect()


async def test_a_signing_key_that_is_revoked(world: World) -> None:
    signatures.accept(world)
    sent = signatures.fields(world, uri=f"http://gateway.test{PATH}")
    socket = await connected(world, sent)
    world.live.table = RouteTable(world.live.table.services.values(), signing_keys=[signatures.secret_key()])
    assert await end_of(socket) == (4401, "the credential is no longer valid")


async def test_a_key_that_loses_its_scope(world: World) -> None:
    socket = await connected(world, [("X-API-Key", world.key)])
    record = KeyRecord(prefix="ours", digest=digest(world.key), name="ours", scopes=frozenset({"crm"}))
    world.live.keys = ApiKeys([record])
    assert await end_of(socket) == (4401, "the credential may no longer be used for this service")


NOBODY = (AddressPolicy(allow=NetworkSet(["192.0.2.0/24"])),)


def keys(world: World, plan: Plan, consumer: int = 1, tenant: str | None = None) -> ApiKeys:
    record = KeyRecord(
        prefix="ours", digest=digest(world.key), name="ours", scopes=frozenset({"*"}), consumer=consumer, tenant=tenant
    )
    consumers = {number: ConsumerRecord(number, f"c{number}", True, 0.0, plan="plan") for number in (1, 2)}
    return ApiKeys([record], ConsumerTable(ConsumerData(plans={"plan": plan}, consumers=consumers)))


@pytest.mark.parametrize(
    ("services", "ip", "reason"),
    [
        (None, NOBODY, "the plan may no longer be used from this address"),
        ((ServiceAccess("chat", ("POST",)),), (), "the plan no longer includes this method of the service"),
        ((ServiceAccess("crm"),), (), "the credential may no longer be used for this service"),
    ],
)
async def test_a_plan_that_would_refuse_the_handshake(
    world: World, services: tuple[ServiceAccess, ...] | None, ip: Addresses, reason: str
) -> None:
    world.live.keys = keys(world, Plan(name="plan"))
    socket = await connected(world, [("X-API-Key", world.key)])
    world.live.keys = keys(world, Plan(name="plan", services=(ServiceAccess("chat", ("GET",)),)))
    await asyncio.sleep(0.1)
    await socket.send("still open")
    assert (await socket.receive())["text"] == "still open"
    world.live.keys = keys(world, Plan(name="plan", services=services, ip=ip))
    assert await end_of(socket) == (4401, reason)


@pytest.mark.parametrize(("consumer", "tenant"), [(2, None), (1, "acme")])
async def test_a_key_that_is_given_another_consumer_or_tenant(world: World, consumer: int, tenant: str | None) -> None:
    world.live.keys = keys(world, Plan(name="plan"))
    socket = await connected(world, [("X-API-Key", world.key)])
    world.live.keys = keys(world, Plan(name="plan"), consumer, tenant)
    assert await end_of(socket) == (4401, "the credential is no longer valid")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ip": NOBODY}, "the service may no longer be called from this address"),
        ({"scopes": ("staff",)}, "the credential may no longer be used for this service"),
    ],
)
async def test_a_route_decides_instead_of_its_service(world: World, changes: dict[str, Any], reason: str) -> None:
    chat = world.live.table.services["chat"]
    policy = RoutePolicy(websocket=True)
    strict = msgspec.structs.replace(policy, **changes)
    wide = msgspec.structs.replace(chat, policy=strict, routes=(RoutePattern("/*", (), policy),))
    world.live.table = RouteTable([wide])
    socket = await connected(world, [("X-API-Key", world.key)])
    await asyncio.sleep(0.1)
    await socket.send("still open")
    assert (await socket.receive())["text"] == "still open"
    world.live.table = RouteTable([msgspec.structs.replace(chat, routes=(RoutePattern("/*", (), strict),))])
    assert await end_of(socket) == (4401, reason)


@pytest.mark.parametrize(
    ("policy", "end"),
    [
        (None, (1001, "the path is no longer served")),
        (RoutePolicy(auth=Auth.NONE, websocket=True, enabled=False), (1013, "the service is disabled")),
        (RoutePolicy(auth=Auth.NONE), (1008, "the service no longer accepts WebSockets")),
        (RoutePolicy(websocket=True), (4401, "the service requires a credential now")),
    ],
)
async def test_a_service_that_would_not_accept_the_websocket_any_more(
    world: World, policy: RoutePolicy | None, end: tuple[int, str]
) -> None:
    chat = world.live.table.services["chat"]
    public = msgspec.structs.replace(chat, policy=RoutePolicy(auth=Auth.NONE, websocket=True))
    world.live.table = RouteTable([public])
    socket = await connected(world, [])
    world.live.table = RouteTable([public, Service("other", chat.targets)])
    await socket.send("still open")
    assert (await socket.receive())["text"] == "still open"
    world.live.table = RouteTable([] if policy is None else [msgspec.structs.replace(chat, policy=policy)])
    assert await end_of(socket) == end


async def test_a_connection_for_events_closes_with_its_certificate_or_key(world: World) -> None:
    """And the nonce of its handshake's signature is used up."""
    realtime = listens(world)
    signatures.accept(world)
    consumers = world.live.keys.consumers.data
    certificates.know(world)
    both = msgspec.structs.replace(world.live.keys.consumers.data, consumers=consumers.consumers)
    world.live.keys = ApiKeys((), ConsumerTable(both))
    signed = signatures.fields(world, uri=f"http://gateway.test{EVENTS}")
    sessions = []
    for fields in (certificates.shown(), signed):
        exchange = handshake.begin(world.gateway, scope(fields, EVENTS)).exchange
        await world.gateway.admit(exchange, anonymous=True)
        assert exchange.caller is not None
        sessions.append(realtime.open(lambda: None, exchange.request, exchange.caller, exchange.proof))
    realtime.tick()
    assert [session.subscriber.closing for session in sessions] == [None, None]

    repeated = handshake.begin(world.gateway, scope(signed, EVENTS)).exchange
    with pytest.raises(Exception, match="nonce has been used before"):
        await world.gateway.admit(repeated, anonymous=True)
    forged = [*signatures.fields(world, uri="http://gateway.test/elsewhere")]
    anonymous = handshake.begin(world.gateway, scope(forged, EVENTS)).exchange
    await world.gateway.admit(anonymous, anonymous=True)  # it may authenticate in its first message
    assert anonymous.caller is None

    world.live.table = RouteTable(world.live.table.services.values())
    realtime.tick()
    assert [session.subscriber.closing is not None for session in sessions] == [False, True]
    world.live.keys = ApiKeys(())
    realtime.tick()
    closing = sessions[0].subscriber.closing
    assert closing is not None
    assert (closing.code, closing.reason) == (4401, "the credential was revoked")
    await realtime.close()


@pytest.mark.parametrize("begins_anonymous", [False, True])
async def test_a_connection_for_events_closes_where_the_plan_may_no_longer_be_used(
    world: World, begins_anonymous: bool
) -> None:
    realtime = listens(world)
    world.live.keys = keys(world, Plan(name="plan"))
    fields = [] if begins_anonymous else [("X-API-Key", world.key)]
    exchange = handshake.begin(world.gateway, scope(fields, EVENTS)).exchange
    await world.gateway.admit(exchange, anonymous=True)
    session = realtime.open(lambda: None, exchange.request, exchange.caller, exchange.proof)
    if begins_anonymous:
        await session.authenticate(world.key)
    world.live.keys = keys(world, Plan(name="plan", ip=(AddressPolicy(allow=NetworkSet([certificates.PROXY])),)))
    realtime.tick()
    assert session.subscriber.closing is None
    world.live.keys = keys(world, Plan(name="plan", ip=NOBODY))
    realtime.tick()
    closing = session.subscriber.closing
    assert closing is not None
    assert (closing.code, closing.reason) == (4401, "the plan may not be used from this address")
    await realtime.close()


async def test_a_plan_that_may_not_be_used_from_an_address_opens_no_connection_for_events(world: World) -> None:
    realtime = listens(world)
    world.live.keys = keys(world, Plan(name="plan", ip=NOBODY))
    exchange = handshake.begin(world.gateway, scope([("X-API-Key", world.key)], EVENTS)).exchange
    with pytest.raises(AddressNotAllowed, match="the plan may not be used from this address"):
        await world.gateway.admit(exchange, anonymous=True)
    allowed = handshake.begin(world.gateway, scope([("X-API-Key", world.key)], EVENTS, ELSEWHERE)).exchange
    await world.gateway.admit(allowed, anonymous=True)
    anonymous = handshake.begin(world.gateway, scope([], EVENTS)).exchange
    await world.gateway.admit(anonymous, anonymous=True)
    session = realtime.open(lambda: None, anonymous.request, anonymous.caller, anonymous.proof)
    await session.authenticate(world.key)
    closing = session.subscriber.closing
    assert closing is not None
    assert (closing.code, closing.reason) == (4401, "the plan may not be used from this address")
    await realtime.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_plan_that_may_not_be_used_from_an_address_neither_reads_nor_publishes_events(
    world: World, method: str
) -> None:
    realtime = listens(world)
    endpoint = EventsEndpoint(world.gateway, realtime)
    world.live.keys = keys(world, Plan(name="plan", ip=NOBODY))
    fields = [(b"host", b"gateway.test"), (b"x-api-key", world.key.encode()), (b"content-type", b"application/json")]

    async def is_refused(client: str) -> bool:
        response = await endpoint.answer(Request(method, b"/events", b"topics=news", list(fields), client))
        if isinstance(response.body, bytes):
            return b"address_not_allowed" in response.body
        await response.body.aclose()
        return False

    assert await is_refused(certificates.PROXY)
    assert not await is_refused(ELSEWHERE)
    await realtime.close()

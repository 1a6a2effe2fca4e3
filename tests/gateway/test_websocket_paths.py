"""Routes hold for every spelling of their paths on WebSocket handshakes, as they do for requests."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from websockets.asyncio.server import ServerConnection

from routing.router.policy import Auth, PathPolicy, RoutePolicy, Spelling, Target
from routing.router.table import RoutePattern, Service
from tests.clock import FakeClock
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.test_paths import SPELLINGS
from tests.gateway.websocket_world import client_of, proxy_of
from tests.system.echo import websocket_server

MORE_SPELLINGS = [
    b"/x/../admin/users",
    b"/x/%2e%2e/admin/users",
    b"/x/..%2fadmin/users",
    b"/./admin/users",
    b"/x;/../admin/users",
    b"/admin;/users",
    b"/admin%00/users",
    b"/admin%20/users",
    b"/admin%3Bv=1/users",
    b"/x//..//admin/users",
]
"""Most of them have dot segments, which are refused whatever the service's settings."""
OPEN = RoutePolicy(auth=Auth.NONE, websocket=True, timeout=QUICK)
PASSING = PathPolicy(encoded_slash=Spelling.PASS, empty_segments=Spelling.PASS)


@dataclass
class Backend:
    """A backend at `port` that greets, and the paths of the handshakes that it received."""

    port: int
    paths: list[str]


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    paths: list[str] = []

    async def record(ws: ServerConnection) -> None:
        assert ws.request is not None
        paths.append(ws.request.path)
        await ws.send("hello")

    with websocket_server(record) as port:
        yield Backend(port, paths)


def world_with(backend: Backend, guard: RoutePolicy, paths: PathPolicy, policy: RoutePolicy = OPEN) -> World:
    """An open service whose `/admin/*` is guarded."""
    world = make_world("asgi")
    target = Target(f"http://127.0.0.1:{backend.port}")
    world.add(Service("crm", (target,), policy=policy, routes=(RoutePattern("/admin/*", (), guard),), paths=paths))
    return world


async def both(world: World, path: bytes, key: str) -> tuple[str, str]:
    """The error code of a WebSocket handshake, and of a GET, to the same path."""
    await client_of(proxy_of(world, FakeClock()), world, path.decode(), key).connect()
    handshake = world.observer.requests[-1].code
    response = await world.request("GET", path, key=key)
    return handshake, response.json()["code"]


@pytest.mark.parametrize("path", [*SPELLINGS, *MORE_SPELLINGS])
@pytest.mark.parametrize("paths", [PathPolicy(), PASSING, PathPolicy(case_sensitive=False)])
async def test_a_guard_holds_in_every_spelling(backend: Backend, path: bytes, paths: PathPolicy) -> None:
    """Its scope, that WebSockets are allowed at all, and that a credential is needed."""
    path = b"/api/v1/crm" + path
    scoped = world_with(backend, RoutePolicy(scopes=("admin",), websocket=True, timeout=QUICK), paths)
    handshake, request = await both(scoped, path, scoped.key)
    assert handshake == request
    assert handshake in {"forbidden", "bad_request"}
    guarded = world_with(backend, RoutePolicy(websocket=True, timeout=QUICK), paths)
    handshake, request = await both(guarded, path, "")
    assert handshake == request
    assert handshake in {"unauthenticated", "bad_request"}
    closed = world_with(backend, RoutePolicy(auth=Auth.NONE, timeout=QUICK), paths)
    await client_of(proxy_of(closed, FakeClock()), closed, path.decode(), "").connect()
    assert closed.observer.requests[-1].code in {"forbidden", "bad_request"}
    assert backend.paths == []


@pytest.mark.parametrize("path", [b"/Admin/users", b"/ADMIN/users", b"/%41dmin/users"])
async def test_a_guard_of_a_service_that_ignores_case_holds_in_upper_case(backend: Backend, path: bytes) -> None:
    guard = RoutePolicy(scopes=("admin",), websocket=True, timeout=QUICK)
    ignoring = world_with(backend, guard, PathPolicy(case_sensitive=False))
    assert await both(ignoring, b"/api/v1/crm" + path, ignoring.key) == ("forbidden", "forbidden")
    assert backend.paths == []
    observing = world_with(backend, guard, PathPolicy())
    client = client_of(proxy_of(observing, FakeClock()), observing, f"/api/v1/crm{path.decode()}")
    assert await client.connect() is None
    assert (await client.receive())["text"] == "hello"
    assert backend.paths == [path.decode()]
    await client.disconnect()


async def test_a_path_that_is_not_guarded_is_sent_as_it_is(backend: Backend) -> None:
    world = world_with(backend, RoutePolicy(scopes=("admin",), websocket=True, timeout=QUICK), PASSING)
    for path in ("/users", "/us%65rs", "/x%2Fy", "/a//b", "/a;v=1", "/adminer/x", "/x?path=/admin/users"):
        raw, _, query = path.partition("?")
        client = client_of(proxy_of(world, FakeClock()), world, f"/api/v1/crm{raw}", query=query.encode())
        assert await client.connect() is None, path
        await client.receive()
        assert backend.paths[-1] == path
        await client.disconnect()


@pytest.mark.parametrize("prefix", ["/%61pi/v1/crm", "//api/v1/crm", "/api//v1/crm", "/api/v1//crm", "/api/v1%2Fcrm"])
async def test_another_spelling_of_the_gateways_own_prefix_reaches_no_service(backend: Backend, prefix: str) -> None:
    world = world_with(backend, OPEN, PASSING)
    assert await client_of(proxy_of(world, FakeClock()), world, f"{prefix}/users").connect() is not None
    assert world.observer.requests[-1].code in {"unknown_service", "bad_request"}
    assert backend.paths == []

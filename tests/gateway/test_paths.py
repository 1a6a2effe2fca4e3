"""Routes hold for every spelling of their paths, at every entry point."""

import asyncio

import pytest

from routing.router.policy import Auth, PathPolicy, RoutePolicy, Spelling
from routing.router.table import RoutePattern
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.test_nine_steps import ok
from tests.http1_client import Client, Worker

ADMIN = RoutePattern("/admin/*", (), RoutePolicy(timeout=QUICK, scopes=("admin",)))
SPELLINGS = [
    b"/admin/users",
    b"/%61dmin/users",
    b"/admin%2Fusers",
    b"/admin%5cusers",
    b"/admin\\users",
    b"/admin;v=1/users",
    b"//admin/users",
    b"/%2561dmin/users",
    b"/admin%252Fusers",
    b"/admin./users",
    b"/admin",
    b"/admin/",
    b"/admin#a",
    b"/admin#?a",
]


@pytest.mark.parametrize("path", SPELLINGS)
@pytest.mark.parametrize("passing", [False, True])
async def test_no_spelling_evades_a_guarded_route(world: World, path: bytes, passing: bool) -> None:
    paths = PathPolicy(encoded_slash=Spelling.PASS, empty_segments=Spelling.PASS) if passing else PathPolicy()
    origin = await world.serve(ok(), routes=(ADMIN,), paths=paths)
    response = await world.request("GET", b"/api/v1/crm" + path)
    assert response.status in ({403} if passing else {400, 403})
    assert origin.requests == []


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "Script-Name", "PATH_INFO", "X-Script-Name"])
async def test_no_field_takes_a_path_below_a_guarded_route(world: World, name: str) -> None:
    origin = await world.serve(ok(), routes=(ADMIN,))
    response = await world.request("GET", "/api/v1/crm/open/admin/users", [(name, "/open")])
    assert response.status == 200
    assert b"/open" not in dict(origin.requests[0].fields).values()


@pytest.mark.parametrize("path", SPELLINGS)
async def test_a_guarded_route_of_an_open_service_needs_a_credential_in_every_spelling(
    world: World, path: bytes
) -> None:
    guard = RoutePattern("/admin/*", (), RoutePolicy(timeout=QUICK))
    origin = await world.serve(ok(), policy=RoutePolicy(auth=Auth.NONE, timeout=QUICK), routes=(guard,))
    response = await world.request("GET", b"/api/v1/crm" + path, key="")
    assert response.status in (400, 401)
    assert origin.requests == []


@pytest.mark.parametrize("auth", [Auth.NONE, Auth.OPTIONAL])
async def test_an_ambiguous_path_of_an_open_service_is_400_without_a_credential(world: World, auth: Auth) -> None:
    await world.serve(ok(), policy=RoutePolicy(auth=auth, timeout=QUICK), routes=(ADMIN,))
    response = await world.request("GET", "/api/v1/crm/x%2Fy", key="")
    assert (response.status, response.json()["code"], response.json()["service"]) == (400, "bad_request", "crm")
    assert (await world.request("GET", "/api/v1/crm/x", key="")).status == 200


async def test_a_service_says_that_its_paths_hold_encoded_slashes(world: World) -> None:
    queue = RoutePattern("/api/queues/{vhost}/{queue}", ("GET", "PUT"))
    origin = await world.serve(ok(), ok(), routes=(queue,), paths=PathPolicy(encoded_slash=Spelling.PASS))
    for path in (b"/api/queues/%2F/q", b"/sites/https%3A%2F%2Fexample.com%2F/searchAnalytics/query"):
        assert (await world.request("GET", b"/api/v1/crm" + path)).status == 200
        assert origin.requests[-1].line == b"GET %b HTTP/1.1" % path


async def test_a_service_without_routes_gets_paths_as_they_are(world: World) -> None:
    origin = await world.serve(*[ok()] * 3)
    for path in (b"/api/queues/%2F/q", b"/a\\b;c", b"/a%5Cb%2f"):
        assert (await world.request("GET", b"/api/v1/crm" + path)).status == 200
        assert origin.requests[-1].line == b"GET %b HTTP/1.1" % path


@pytest.mark.parametrize(
    ("target", "sent"), [(b"/a#b", b"/a"), (b"/a#b?c", b"/a"), (b"/a?b#c", b"/a?b"), (b"/a?b%23c", b"/a?b%23c")]
)
async def test_a_fragment_is_removed(world: World, target: bytes, sent: bytes) -> None:
    origin = await world.serve(ok())
    assert (await world.request("GET", b"/api/v1/crm" + target)).status == 200
    assert origin.requests[0].line == b"GET %b HTTP/1.1" % sent


async def test_a_write_invalidates_its_resource_in_every_spelling(world: World) -> None:
    await world.serve(*[ok(b"1", b"Cache-Control: max-age=60")] * 2, ok(b"2"), ok(b"3"), ok(b"4"))
    for path in ("/api/v1/crm/a%62c", "/api/v1/crm/abc/"):
        await world.request("GET", path)
        assert (await world.request("GET", path)).get("x-cache") == "HIT"
    await world.request("PUT", "/api/v1/crm/abc")
    for path in ("/api/v1/crm/a%62c", "/api/v1/crm/abc/"):
        assert (await world.request("GET", path)).get("x-cache") == "MISS"


@pytest.mark.parametrize(
    ("base", "path", "sent"),
    [
        ("/v1/graphql", "", b"/v1/graphql"),
        ("/v1/graphql", "?q=1", b"/v1/graphql?q=1"),
        ("/v1/graphql", "/", b"/v1/graphql/"),
        ("/v1/graphql/", "", b"/v1/graphql/"),
        ("/v1/graphql/", "/x", b"/v1/graphql/x"),
        ("", "", b"/"),
        ("", "?q", b"/?q"),
    ],
)
async def test_without_a_path_the_targets_own_is_sent_as_it_is(world: World, base: str, path: str, sent: bytes) -> None:
    origin = await world.serve(ok(), name="other")
    target = type(origin.target)(origin.target.url + base)
    world.add(type(world.live.table.services["other"])("gql", (target,), policy=RoutePolicy(timeout=QUICK)))
    assert (await world.request("POST", f"/api/v1/gql{path}")).status == 200
    assert origin.requests[0].line == b"POST %b HTTP/1.1" % sent


@pytest.mark.parametrize(
    ("path", "sent"), [(b"/x?", b"/x?"), (b"?", b"/?"), (b"/x??", b"/x??"), (b"/x", b"/x"), (b"/x?#a", b"/x?")]
)
async def test_an_empty_query_is_sent_on(path: bytes, sent: bytes) -> None:
    world = make_world("http1")
    origin = await world.serve(*[ok()] * 3)
    for name in (b"a", b"a", b"b"):  # parsed, remembered as a whole, and by its fields
        client = Client(Worker(world.gateway.answer))
        fields = b"Host: gateway\r\nCache-Control: no-store\r\nX-API-Key: %b\r\n\r\n" % world.key.encode()
        client.send(b"GET /api/v1/crm%b HTTP/1.1\r\n%b" % (path.replace(b"x", b"x" + name), fields))
        while client.worker.tasks:
            await asyncio.wait(client.worker.tasks)
        assert client.received.startswith(b"HTTP/1.1 200")
        assert origin.requests[-1].line == b"GET %b HTTP/1.1" % sent.replace(b"x", b"x" + name)
    await world.close()


async def test_an_empty_query_has_a_response_of_its_own_and_one_resource() -> None:
    world = make_world("http1")
    await world.serve(*[ok(b"1", b"Cache-Control: max-age=60")] * 2, ok(), ok())
    worker = Worker(world.gateway.answer)
    for line, outcome in (
        (b"GET /api/v1/crm/x?", b"MISS"),
        (b"GET /api/v1/crm/x", b"MISS"),
        (b"GET /api/v1/crm/x?", b"HIT"),
        (b"DELETE /api/v1/crm/x?", b"BYPASS"),
        (b"GET /api/v1/crm/x", b"MISS"),
    ):
        client = Client(worker)
        client.send(b"%b HTTP/1.1\r\nHost: gateway\r\nX-API-Key: %b\r\n\r\n" % (line, world.key.encode()))
        while worker.tasks:
            await asyncio.wait(worker.tasks)
        assert b"\r\nx-cache: %b\r\n" % outcome in client.received
    await world.close()

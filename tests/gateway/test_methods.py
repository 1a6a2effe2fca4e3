"""Methods and Max-Forwards, through each entry point."""

import pytest

from resilience.cache.policy import CachePolicy, Scope
from routing.router.policy import Auth, RoutePolicy, Target
from routing.router.table import RoutePattern, Service
from tests.gateway.conftest import QUICK, World
from tests.origin import ScriptedOrigin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nok"
ALL = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


@pytest.mark.parametrize("method", ["FOO", "VERSION-CONTROL", "PROPFIND", "M-SEARCH"])
async def test_any_method_is_passed_on_and_its_response_not_stored(world: World, method: str) -> None:
    origin = await world.serve(OK, OK)
    for _ in range(2):
        response = await world.request(method, "/api/v1/crm/x", body=[b"abc"])
        assert (response.status, response.body, response.get("x-cache")) == (200, b"ok", "BYPASS")
    assert [request.line.split(b" ")[0] for request in origin.requests] == [method.encode()] * 2
    assert origin.requests[0].body == b"abc"


async def test_an_unknown_method_invalidates_what_it_succeeds_on(world: World) -> None:
    policy = RoutePolicy(timeout=QUICK, cache=CachePolicy(ttl=60, scope=Scope.SHARED))
    await world.serve(OK, OK, OK, policy=policy)
    for method, expected in (("GET", "MISS"), ("GET", "HIT"), ("FOO", "BYPASS"), ("GET", "MISS")):
        assert (await world.request(method, "/api/v1/crm/x")).get("x-cache") == expected


async def test_an_unknown_method_is_not_sent_twice(world: World) -> None:
    origin = await world.serve(OK, lambda peer: peer.close())  # type: ignore[arg-type, return-value]
    await world.request("GET", "/api/v1/crm/a")
    assert (await world.request("FOO", "/api/v1/crm/b")).status == 502
    assert len(origin.requests) == 2


async def test_routes_name_the_methods_that_are_allowed(world: World) -> None:
    await world.serve(OK, routes=(RoutePattern("/x", ("GET", "POST")),))
    for method in ("FOO", "VERSION-CONTROL", "OPTIONS"):
        response = await world.request(method, "/api/v1/crm/x")
        assert (response.status, response.get("allow")) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize(
    ("auths", "status", "bad"),
    [
        ((Auth.NONE, Auth.NONE), 405, 405),
        ((Auth.NONE, Auth.OPTIONAL), 405, 401),
        ((Auth.NONE, Auth.REQUIRED), 401, 401),
        ((Auth.REQUIRED, Auth.REQUIRED), 401, 401),
    ],
)
async def test_callers_without_a_credential_learn_the_methods_of_public_routes(
    world: World, auths: tuple[Auth, ...], status: int, bad: int
) -> None:
    routes = [
        RoutePattern("/x", (method,), RoutePolicy(auth=auth))
        for method, auth in zip(("GET", "POST"), auths, strict=True)
    ]
    await world.serve(OK, routes=tuple(routes))
    response = await world.request("PUT", "/api/v1/crm/x", key=None)
    assert (response.status, response.get("allow")) == (status, "GET, HEAD, POST" if status == 405 else None)
    assert (await world.request("PUT", "/api/v1/crm/x", key="gw_bad_bad")).status == bad


@pytest.mark.parametrize(("method", "status", "code"), [("TRACE", 405, "method_not_allowed"), ("get", 501, "")])
async def test_methods_that_are_refused(world: World, method: str, status: int, code: str) -> None:
    origin = await world.serve(OK)
    response = await world.request(method, "/api/v1/crm/x", [("Max-Forwards", "0")])
    assert (response.status, response.json()["code"]) == (status, code or "not_implemented")
    assert response.get("allow") == (ALL if status == 405 else None)
    assert origin.requests == []


async def test_max_forwards_is_counted_down(world: World) -> None:
    """RFC 9110 section 7.6.2."""
    origin = await world.serve(OK, OK)
    for sent in ("3", "0003"):
        assert (await world.request("OPTIONS", "/api/v1/crm/x", [("Max-Forwards", sent)])).status == 200
    assert [dict(request.fields)[b"max-forwards"] for request in origin.requests] == [b"2", b"2"]


async def test_at_zero_the_gateway_responds_itself(world: World) -> None:
    origin = await world.serve(routes=(RoutePattern("/some", ("GET", "OPTIONS")), RoutePattern("/any")))
    for path, allow in (("/some", "GET, HEAD, OPTIONS"), ("/any", ALL), ("/none", ALL)):
        response = await world.request("OPTIONS", "/api/v1/crm" + path, [("Max-Forwards", "0")])
        assert (response.status, response.body, response.get("allow")) == (204, b"", allow)
    assert (await world.request("OPTIONS", "/api/v1/crm/x", [("Max-Forwards", "0")], key="")).status == 401
    assert origin.requests == []


@pytest.mark.parametrize("value", ["", "-1", "+1", "1.5", "a", "1, 1", "9" * 19, "\xb2"])
async def test_max_forwards_must_be_a_number(world: World, value: str) -> None:
    await world.serve()
    response = await world.request("OPTIONS", "/api/v1/crm/x", [("Max-Forwards", value.encode("latin-1"))])
    assert (response.status, response.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_other_methods_ignore_max_forwards(world: World, method: str) -> None:
    origin = await world.serve(OK)
    assert (await world.request(method, "/api/v1/crm/x", [("Max-Forwards", "0")])).status == 200
    assert dict(origin.requests[0].fields)[b"max-forwards"] == b"0"


async def test_options_of_the_server_reaches_the_target_as_such(world: World) -> None:
    """RFC 9112 section 3.2.4. The target's base path is no part of it."""
    async with ScriptedOrigin(OK, OK) as origin:
        target = Target(f"{origin.url}/base")
        routes = (RoutePattern("/{id}", ("GET",)), RoutePattern("/", ("GET",)))
        world.add(Service("web", (target,), ("web.test",), RoutePolicy(timeout=QUICK), routes))
        response = await world.request("OPTIONS", b"*", host="web.test")
        assert response.status == 200
        assert origin.requests[0].line == b"OPTIONS * HTTP/1.1"
        for method, path in (("GET", b"*"), ("OPTIONS", b"*?a"), ("OPTIONS", b"*/a")):
            assert (await world.request(method, path, host="web.test")).status == 400
        assert (await world.request("OPTIONS", b"*", [("Max-Forwards", "0")], host="web.test")).status == 204
        assert len(origin.requests) == 1


async def test_a_route_for_all_paths_holds_for_the_server_too(world: World) -> None:
    async with ScriptedOrigin(OK) as origin:
        routes = (RoutePattern("/*", (), RoutePolicy(timeout=QUICK, scopes=("own",))),)
        world.add(Service("web", (origin.target,), ("web.test",), RoutePolicy(timeout=QUICK), routes))
        assert (await world.request("OPTIONS", b"*", host="web.test", key=world.other_key)).status == 403
        assert origin.requests == []

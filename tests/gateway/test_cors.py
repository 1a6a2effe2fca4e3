"""CORS of services: preflight requests, and the fields of responses and errors, through each entry point."""

import pytest

from resilience.cache.policy import CachePolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.gateway_rules import GatewayRules
from routing.messages.cors import CorsPolicy
from routing.router.policy import Auth, RoutePolicy, Target
from routing.router.table import RoutePattern, Service
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.entry_points import ReceivedResponse

APP = ("Origin", "https://app.example.com")
OTHER = ("Origin", "https://other.example.com")
EVIL = ("Origin", "https://evil.test")
POLICY = CorsPolicy(origins=("https://*.example.com",))


def answer(body: bytes, *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join([*lines, b"", body])


def policy(cors: CorsPolicy | None = POLICY, **settings: object) -> RoutePolicy:
    return RoutePolicy(timeout=QUICK, cors=cors, **settings)  # type: ignore[arg-type]


async def preflight(world: World, path: str, method: str = "PUT", origin: tuple[str, str] = APP) -> ReceivedResponse:
    sent = [origin, ("Access-Control-Request-Method", method), ("Access-Control-Request-Headers", "x-api-key")]
    return await world.request("OPTIONS", path, sent, key="")


async def preflight_of(world: World, path: str, host: str) -> ReceivedResponse:
    sent = [APP, ("Access-Control-Request-Method", "GET")]
    return await world.request("OPTIONS", path, sent, key="", host=host)


def allowed(response: ReceivedResponse) -> str | None:
    return response.get("access-control-allow-origin")


async def test_a_preflight_is_answered_once_and_by_the_gateway(world: World) -> None:
    origin = await world.serve(answer(b"x"), policy=policy())
    response = await preflight(world, "/api/v1/crm/x")
    assert (response.status, allowed(response)) == (204, "https://app.example.com")
    assert response.get("access-control-allow-methods") == "PUT"
    assert response.get("access-control-allow-headers") == "x-api-key"
    assert response.get("access-control-expose-headers")
    assert origin.requests == []


async def test_a_preflight_of_an_unlisted_origin_is_allowed_nothing(world: World) -> None:
    origin = await world.serve(answer(b"x"), policy=policy())
    response = await preflight(world, "/api/v1/crm/x", origin=EVIL)
    assert (response.status, allowed(response)) == (204, None)
    assert response.get("access-control-allow-methods") is None
    assert origin.requests == []


async def test_a_preflight_never_reaches_a_backend_without_a_policy_either(world: World) -> None:
    origin = await world.serve(answer(b"x"), policy=policy(None))
    assert allowed(await preflight(world, "/api/v1/crm/x")) is None
    assert origin.requests == []


async def test_a_preflight_gets_the_policy_of_the_route_that_it_announces(world: World) -> None:
    writes = policy(CorsPolicy(origins=("https://app.example.com",), methods=("POST",)))
    routes = (RoutePattern("/x", ("GET",), policy()), RoutePattern("/x", ("POST",), writes))
    await world.serve(answer(b"x"), policy=policy(None), routes=routes)
    assert (await preflight(world, "/api/v1/crm/x", "POST")).get("access-control-allow-methods") == "POST"
    assert allowed(await preflight(world, "/api/v1/crm/x", "POST", OTHER)) is None
    assert allowed(await preflight(world, "/api/v1/crm/x", "GET", OTHER)) == OTHER[1]
    assert allowed(await preflight(world, "/api/v1/crm/y", "GET", OTHER)) is None


async def test_a_services_own_host_has_its_policy(world: World) -> None:
    origin = await world.serve(answer(b"x"), policy=policy(), hosts=("crm.example.com",))
    sent = [APP, ("Access-Control-Request-Method", "GET")]
    response = await world.request("OPTIONS", "/x", sent, key="", host="crm.example.com")
    assert (response.status, allowed(response)) == (204, "https://app.example.com")
    assert origin.requests == []
    response = await world.request("GET", "/x", [APP], host="crm.example.com")
    assert (response.status, allowed(response)) == (200, "https://app.example.com")


async def test_a_stored_response_is_for_each_origin_its_own(world: World) -> None:
    cached = policy(cache=CachePolicy(ttl=60, scope=Scope.SHARED))
    backend = answer(
        b"x", b"Vary: Origin", b"Access-Control-Allow-Origin: *", b"Access-Control-Expose-Headers: X-Total"
    )
    await world.serve(backend, policy=cached)
    for sent, expected in ((APP, APP[1]), (OTHER, OTHER[1]), (APP, APP[1]), (OTHER, OTHER[1]), (EVIL, None)):
        response = await world.request("GET", "/api/v1/crm/x", [sent])
        assert (response.status, allowed(response)) == (200, expected)
        assert response.get("vary") == "Origin"
        if expected:
            assert "X-Total" in (response.get("access-control-expose-headers") or "")
    response = await world.request("GET", "/api/v1/crm/x", [APP, ("If-None-Match", "*")])
    assert allowed(response) == APP[1]


async def test_errors_can_be_read_by_pages_too(world: World) -> None:
    limited = policy(rate_limit=RatePolicy(1, 60))
    routes = (
        RoutePattern("/limited", (), limited),
        RoutePattern("/get", ("GET",), policy()),
        RoutePattern("/off", (), policy(enabled=False)),
    )
    await world.serve(answer(b"x"), policy=policy(), routes=routes)
    await world.request("GET", "/api/v1/crm/limited", [APP])
    world.add(Service("gone", (Target("http://127.0.0.1:1"),), policy=policy()))
    expected = {
        401: await world.request("GET", "/api/v1/crm/x", [APP], key="gw_bad_bad"),
        405: await world.request("DELETE", "/api/v1/crm/get", [APP]),
        413: await world.request("POST", "/api/v1/crm/x", [APP], body=[b"x" * 2_000]),
        429: await world.request("GET", "/api/v1/crm/limited", [APP]),
        502: await world.request("GET", "/api/v1/gone/x", [APP]),
        503: await world.request("GET", "/api/v1/crm/off", [APP]),
    }
    for status, response in expected.items():
        assert (response.status, allowed(response)) == (status, APP[1])
        assert "Retry-After" in (response.get("access-control-expose-headers") or "")


async def test_an_anonymous_page_reads_from_a_public_service(world: World) -> None:
    await world.serve(answer(b"x"), policy=policy(CorsPolicy(origins=("*",)), auth=Auth.NONE))
    response = await world.request("GET", "/api/v1/crm/x", [EVIL], key="")
    assert (response.status, allowed(response), response.get("vary")) == (200, "*", None)


@pytest.mark.parametrize("field", ["Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true"])
async def test_a_backend_does_not_decide(world: World, field: str) -> None:
    await world.serve(answer(b"x", field.encode()), policy=policy())
    response = await world.request("GET", "/api/v1/crm/x", [EVIL])
    assert [name for name, _ in response.headers if name.startswith(b"access-control-allow")] == []


async def test_a_page_can_read_that_its_request_is_malformed() -> None:
    rules = GatewayRules(rate=RatePolicy(1_000, 60), cors_origins=(APP[1],))
    world = make_world("http1", rules)
    response = await preflight(world, "/api/v1/crm/%00", "GET")
    assert (response.status, allowed(response)) == (204, APP[1])
    response = await world.request("GET", "/api/v1/crm/%00", [APP])
    assert (response.status, allowed(response)) == (400, APP[1])
    await world.close()


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [("/%00", (), 400), ("/x", (("X-Big", "x" * 40_000),), 431), ("/" + "x" * 40_000, (), 414)],
)
async def test_a_page_can_read_that_its_request_is_malformed_by_the_services_own_policy(
    path: str, fields: tuple[tuple[str, str], ...], status: int
) -> None:
    world = make_world("http1", GatewayRules(rate=RatePolicy(1_000, 60), cors_origins=("https://of.the.gateway",)))
    await world.serve(answer(b"x"), policy=policy(), hosts=("crm.test",))
    for target, host in ((f"/api/v1/crm{path}", "gateway.test"), (path, "crm.test")):
        response = await world.request("GET", target, [APP, *fields], host=host)
        assert (response.status, allowed(response)) == (status, APP[1])
    assert allowed(await preflight(world, "/api/v1/crm/%00")) == APP[1]
    assert allowed(await preflight(world, "/api/v1/none/%00")) is None
    await world.close()


@pytest.mark.parametrize("path", ["/a//b", "/%zz", "/a%2Fb", "/a%25252Fb"])
async def test_a_page_can_read_that_its_path_is_refused(world: World, path: str) -> None:
    """As the policy of the service says, which has origins of its own."""
    await world.serve(
        answer(b"x"), policy=policy(), routes=(RoutePattern("/guarded", (), policy()),), hosts=("crm.test",)
    )
    for target, host in ((f"/api/v1/crm{path}", "gateway.test"), (path, "crm.test")):
        if host == "crm.test" and world.entry_point.__class__.__name__ == "AsgiEntryPoint":
            continue  # which is given requests for the gateway alone
        assert allowed(await preflight_of(world, target, host)) == APP[1]
        response = await world.request("GET", target, [APP], host=host)
        assert (response.status, allowed(response)) == (400, APP[1])
        assert allowed(await world.request("GET", target, [EVIL], host=host)) is None

"""Responses of services on the origin of staff's pages, and elsewhere, through each entry point."""

from collections.abc import AsyncIterator

import pytest

from resilience.cache.policy import CachePolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing import runtime
from routing.gateway_rules import GatewayRules
from routing.messages.staff_origin import PortalOrigin, StaffOrigin
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import RouteTable
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.entry_points import ReceivedResponse, install
from tests.gateway.test_nine_steps import ok

OPEN = RoutePolicy(timeout=QUICK, auth=Auth.NONE, cache=CachePolicy(ttl=60, scope=Scope.SHARED))
DANGEROUS = {
    "service-worker-allowed": "/",
    "clear-site-data": '"*"',
    "strict-transport-security": "max-age=1",
    "public-key-pins": "x",
    "alt-svc": 'h3="evil.test:443"',
    "nel": "{}",
    "report-to": "{}",
    "secure-session-registration": '(ES256);path="/api/v1/crm/x"',
    "shared-storage-write": "clear",
    "use-as-dictionary": 'match="/*"',
}
FIELDS = [f"{name}: {value}".encode() for name, value in DANGEROUS.items()]
PAGE = ok(b"<script>", *FIELDS, b"Content-Security-Policy: sandbox allow-scripts allow-same-origin")
COOKIES = ok(
    b"x",
    b"Set-Cookie: theme=dark; Path=/",
    b"Set-Cookie: wide=1; Path=/; DOMAIN = example.com",
    b"Set-Cookie: sessionid=evil",
    b"Set-Cookie: =sessionid=evil",
    b"Set-Cookie: csrftoken =evil",
)


@pytest.fixture(params=["http1", "asgi", "django"])
async def staff_world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """With staff's pages on a host of their own."""
    rules = GatewayRules(rate=RatePolicy(1_000, 60), staff=StaffOrigin("staff.test"))
    made = make_world(request.param, rules)
    install(made.gateway)
    await runtime.current().start()
    yield made
    await runtime.current().stop()
    await made.close()


def is_sandboxed(response: ReceivedResponse) -> bool:
    nosniff = response.get("x-content-type-options") == "nosniff"
    return nosniff and "sandbox" in response.all("content-security-policy")


def dangerous(response: ReceivedResponse) -> set[str]:
    return {name for name in DANGEROUS if response.all(name)}


async def test_a_services_page_is_confined_stored_or_not(world: World) -> None:
    await world.serve(PAGE, policy=OPEN)
    for expected in ("MISS", "HIT", "HIT"):
        response = await world.request("GET", "/api/v1/crm/page", key="")
        assert (response.status, response.get("x-cache")) == (200, expected)
        assert is_sandboxed(response)
        assert dangerous(response) == set()
    assert is_sandboxed(await world.request("POST", "/api/v1/crm/page", key="", body=[b"x"]))


async def test_a_service_sets_cookies_for_itself_only(world: World) -> None:
    await world.serve(COOKIES, policy=OPEN)
    response = await world.request("GET", "/api/v1/crm/page", key="")
    assert [cookie.partition(";")[0] for cookie in response.all("set-cookie")] == ["theme=dark"]


async def test_a_services_own_host_has_an_origin_of_its_own(world: World) -> None:
    await world.serve(PAGE, COOKIES, policy=OPEN, hosts=("crm.test",))
    response = await world.request("GET", "/page", key="", host="crm.test")
    assert not is_sandboxed(response)
    assert dangerous(response) == set(DANGEROUS)
    assert is_sandboxed(await world.request("GET", "/api/v1/crm/page", key=""))
    response = await world.request("GET", "/cookies", key="", host="crm.test")
    names = [cookie.partition(";")[0] for cookie in response.all("set-cookie")]
    assert names == ["theme=dark", "wide=1", "sessionid=evil", "=sessionid=evil", "csrftoken =evil"]


async def test_with_a_host_for_staff_others_are_not_confined(staff_world: World) -> None:
    await staff_world.serve(PAGE, policy=OPEN)
    for _ in range(3):
        response = await staff_world.request("GET", "/api/v1/crm/page", key="", host="gateway.test")
        assert not is_sandboxed(response)
        assert dangerous(response) == set(DANGEROUS)
        for host in ("staff.test", "STAFF.test:8000", "staff.test."):
            response = await staff_world.request("GET", "/api/v1/crm/page", key="", host=host)
            assert is_sandboxed(response)
            assert dangerous(response) == set()


async def test_from_the_first_member_on_services_are_confined_where_the_portal_is(staff_world: World) -> None:
    await staff_world.serve(PAGE, policy=OPEN)
    response = await staff_world.request("GET", "/api/v1/crm/page", key="", host="gateway.test")
    assert not is_sandboxed(response)
    staff_world.gateway.live.table = RouteTable(staff_world.gateway.live.table.services.values(), has_members=True)
    for _ in range(2):
        assert is_sandboxed(await staff_world.request("GET", "/api/v1/crm/page", key="", host="gateway.test"))
    response = await staff_world.request("POST", "/api/v1/crm/page", key="", host="gateway.test", body=[b"x"])
    assert is_sandboxed(response)
    assert dangerous(response) == set()


@pytest.mark.parametrize(
    ("origin", "port", "shared"),
    [
        (PortalOrigin(), {80: True, 9000: True}, {"a.test": True, "b.test": True}),
        (PortalOrigin(StaffOrigin("a.test")), {80: True}, {"a.test": False, "b.test": True}),
        (PortalOrigin(StaffOrigin(None, 9000)), {80: True, 9000: False}, {"a.test": True}),
        (PortalOrigin(StaffOrigin("a.test", 9000)), {9000: False}, {"a.test": False, "b.test": True}),
        (PortalOrigin(host="b.test"), {80: True}, {"a.test": False, "b.test": True}),
        (PortalOrigin(enabled=False), {80: False}, {"a.test": False, "b.test": False}),
    ],
)
def test_the_portal_is_where_staff_are_not(
    origin: PortalOrigin, port: dict[int, bool], shared: dict[str, bool]
) -> None:
    assert {number: origin.serves("b.test", number) for number in port} == port
    assert {domain: origin.shares(domain) for domain in shared} == shared


async def test_a_dropped_cookie_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.serve(COOKIES, policy=OPEN, hosts=("crm.test",))
    for _ in range(2):
        await world.request("GET", "/login", key="", host="crm.test")
    assert "COOKIE_PREFIX" not in caplog.text
    for _ in range(3):
        await world.request("GET", "/api/v1/crm/login", key="")
    assert caplog.text.count("crm set a cookie with the name of one of the gateway's own") == 1

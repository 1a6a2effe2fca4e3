"""What trusted proxies say of a request, through each entry point: where it is routed, and what backends are told."""

from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network

import msgspec
import pytest
from django.conf import settings
from django.test import Client, override_settings

from gateway_project.included import asgi as included
from resilience.ratelimit.policy import RatePolicy
from routing import asgi, runtime
from routing.errors import Forbidden
from routing.gateway_rules import GatewayRules
from routing.realtime import handshake
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import RoutePattern
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.entry_points import install, send_request
from tests.gateway.test_nine_steps import ok

NETWORKS = (ip_network("10.0.0.0/8"),)
PROXY = "10.0.0.1"
OPEN = RoutePolicy(timeout=QUICK, auth=Auth.NONE, cache=None)
FIELDS = (
    ("X-Forwarded-For", "203.0.113.8:51234"),
    ("X-Forwarded-Proto", "HTTPS"),
    ("X-Forwarded-Host", "crm.example.com:8443"),
)


@pytest.fixture(params=["http1", "asgi", "django"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    rules = GatewayRules(rate=RatePolicy(1_000, 60), trusted_proxies=NETWORKS)
    with override_settings(CONFIG=msgspec.structs.replace(settings.CONFIG, trusted_proxies=NETWORKS)):
        made = make_world(request.param, rules)
        install(made.gateway)
        await runtime.current().start()
        yield made
        await runtime.current().stop()
        await made.close()


def forwarded(world: World) -> dict[bytes, bytes]:
    """The fields of the last request to the backend that describe the client's."""
    fields = dict(world.origins[0].requests[-1].fields)
    return {name: value for name, value in fields.items() if name.startswith(b"x-forwarded-") or name == b"forwarded"}


async def test_the_backend_is_told_the_clients_address_scheme_and_host(world: World) -> None:
    await world.serve(ok(), policy=OPEN)
    await world.request("GET", "/api/v1/crm/x", FIELDS, client=PROXY)
    assert forwarded(world)[b"x-forwarded-for"] == b"203.0.113.8"
    assert forwarded(world)[b"x-forwarded-proto"] == b"https"
    assert forwarded(world)[b"x-forwarded-host"] == b"crm.example.com:8443"
    assert world.observer.requests[-1].client == "203.0.113.8"


async def test_a_port_in_a_field_is_the_hosts(world: World) -> None:
    """In what backends are told, and in what is rewritten for the client."""
    fields = (("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "8443"))
    location = b"Location: https://gateway.test:8443/login"
    script = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n" + location + b"\r\n\r\n"
    await world.serve(script, policy=OPEN)
    response = await world.request("GET", "/api/v1/crm/x", fields, client=PROXY)
    assert forwarded(world)[b"x-forwarded-host"] == b"gateway.test:8443"
    assert forwarded(world)[b"x-forwarded-port"] == b"8443"
    assert response.get("location") == "/api/v1/crm/login"
    response = await world.request("GET", "/api/v1/crm/x", fields, client="192.0.2.1")
    assert forwarded(world)[b"x-forwarded-host"] == b"gateway.test"
    assert forwarded(world)[b"x-forwarded-port"] == b"80"
    assert response.get("location") == "https://gateway.test:8443/login"


async def test_the_backend_is_told_the_prefix_except_under_its_own_host(world: World) -> None:
    await world.serve(ok(), policy=OPEN, hosts=("crm.test",))
    await world.request("GET", "/api/v1/crm/x", [("X-Forwarded-Prefix", "/evil")])
    assert forwarded(world)[b"x-forwarded-prefix"] == b"/api/v1/crm"
    await world.request("GET", "/x", [("X-Forwarded-Prefix", "/evil")], host="crm.test")
    assert b"x-forwarded-prefix" not in forwarded(world)


async def test_the_host_of_the_client_is_kept_on_wish(world: World) -> None:
    kept = msgspec.structs.replace(OPEN, preserve_host=True)
    routes = (RoutePattern("/kept", (), kept),)
    origin = await world.serve(ok(), policy=OPEN, routes=routes)
    await world.request("GET", "/api/v1/crm/kept", FIELDS, client=PROXY)
    assert (b"host", b"crm.example.com:8443") in origin.requests[-1].fields
    await world.request("GET", "/api/v1/crm/x", FIELDS, client=PROXY)
    assert (b"host", f"127.0.0.1:{origin.port}".encode()) in origin.requests[-1].fields


async def test_an_untrusted_client_is_not_believed_even_after_a_proxy_sent_the_same(world: World) -> None:
    await world.serve(ok(), policy=OPEN)
    for _ in range(3):
        await world.request("GET", "/api/v1/crm/x", FIELDS, client=PROXY)
        assert forwarded(world)[b"x-forwarded-proto"] == b"https"
        await world.request("GET", "/api/v1/crm/x", FIELDS, client="192.0.2.1")
        assert forwarded(world)[b"x-forwarded-for"] == b"192.0.2.1"
        assert forwarded(world)[b"x-forwarded-proto"] == b"http"
        assert forwarded(world)[b"x-forwarded-host"] == b"gateway.test"


async def test_a_services_own_host_may_be_named_by_the_proxy(world: World) -> None:
    await world.serve(ok(), policy=OPEN, hosts=("crm.example.com",))
    if world.entry_point.__class__.__name__ == "AsgiEntryPoint":
        return  # serves whatever it is given
    assert (await world.request("GET", "/x", FIELDS, client=PROXY)).status == 200
    assert forwarded(world)[b"x-forwarded-host"] == b"crm.example.com:8443"


class ProjectEntryPoint:
    """A Django project that includes the gateway."""

    def __init__(self) -> None:
        self.project: list[str] = []
        self._application = included.Gateway(self._project)

    async def handle(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await self._application(scope, receive, send)

    async def _project(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        self.project.append(scope["path"])
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def test_a_services_own_host_may_be_named_by_the_proxy_of_a_project(world: World) -> None:
    await world.serve(ok(), policy=OPEN, hosts=("crm.example.com",))
    entry_point = ProjectEntryPoint()
    assert (await send_request(entry_point, "GET", "/x", FIELDS, client=PROXY)).status == 200
    assert forwarded(world)[b"x-forwarded-host"] == b"crm.example.com:8443"
    assert (await send_request(entry_point, "GET", "/y", FIELDS)).status == 404  # not from a proxy
    assert entry_point.project == ["/y"]


async def test_forwarded_is_read_and_never_passed_on(world: World) -> None:
    await world.serve(ok(), policy=OPEN)
    fields = [("Forwarded", 'for="[2001:db8::1]:4711";proto=https;host="a.test"')]
    await world.request("GET", "/api/v1/crm/x", fields, client=PROXY)
    assert forwarded(world)[b"x-forwarded-for"] == b"2001:db8::1"
    assert forwarded(world)[b"x-forwarded-host"] == b"a.test"
    assert b"forwarded" not in forwarded(world)


async def test_a_malformed_host_from_a_proxy_is_rejected(world: World) -> None:
    await world.serve(ok(), policy=OPEN)
    response = await world.request("GET", "/api/v1/crm/x", [("X-Forwarded-Host", "a b")], client=PROXY)
    assert response.status == 400


async def test_a_websocket_of_a_page_on_the_proxys_port_is_of_the_same_origin(world: World) -> None:
    headers = [(b"host", b"a.test"), (b"origin", b"https://a.test:8443")]
    proxied = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-port", b"8443")]
    scope: asgi.Scope = {"scheme": "ws", "path": "/ws/events/", "query_string": b"", "headers": headers + proxied}
    begun = handshake.begin(world.gateway, {**scope, "client": (PROXY, 1)})
    handshake.check_origin(begun.exchange.request.headers, ())


async def test_a_websocket_comes_from_the_page_that_the_browser_shows(world: World) -> None:
    headers = [(b"host", b"gateway.internal"), (b"origin", b"https://a.test"), (b"x-forwarded-host", b"a.test")]
    scope: asgi.Scope = {"scheme": "ws", "path": "/ws/events/", "query_string": b"", "headers": headers}
    begun = handshake.begin(world.gateway, {**scope, "client": (PROXY, 1)})
    handshake.check_origin(begun.exchange.request.headers, ())
    begun = handshake.begin(world.gateway, {**scope, "client": ("192.0.2.1", 1)})
    with pytest.raises(Forbidden):
        handshake.check_origin(begun.exchange.request.headers, ())


@pytest.fixture
def staff_client() -> Iterator[Client]:
    with override_settings(
        CONFIG=msgspec.structs.replace(settings.CONFIG, trusted_proxies=NETWORKS), ALLOWED_HOSTS=["a.test"]
    ):
        yield Client(REMOTE_ADDR=PROXY, enforce_csrf_checks=True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "proxied",
    [{"Origin": "https://a.test"}, {"Origin": "https://a.test:8443", "X-Forwarded-Port": "8443"}],
    ids=["the default port", "another port"],
)
def test_djangos_pages_are_secure_behind_a_proxy_with_tls(
    staff_client: Client, django_user_model: type, proxied: dict[str, str]
) -> None:
    """Under WSGI, which Django's test client speaks."""
    django_user_model.objects.create_superuser("ada", password="for tests alone")  # type: ignore[attr-defined]
    proxied |= {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.test"}
    token = staff_client.get("/admin/login/", headers=proxied).cookies["csrftoken"].value
    form = {"username": "ada", "password": "for tests alone", "csrfmiddlewaretoken": token}
    response = staff_client.post("/admin/login/", form, headers=proxied)
    assert (response.status_code, response.headers.get("Location")) == (302, "/admin/")
    untrusted = Client(REMOTE_ADDR="192.0.2.1", enforce_csrf_checks=True)
    untrusted.cookies = staff_client.cookies
    assert untrusted.post("/admin/login/", form, headers={**proxied, "Host": "a.test"}).status_code == 403

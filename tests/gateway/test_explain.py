"""The gateway responds as Explain predicts."""

import pytest

from resilience.breaker.machine import Snapshot
from resilience.ratelimit.policy import RatePolicy
from routing.explain.explainer import Explainer
from routing.http import Request
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import RoutePattern
from tests.gateway.conftest import World

CASES = [
    ("GET", "/api/v1/crm/contacts", True),
    ("DELETE", "/api/v1/crm/contacts", True),
    ("GET", "/api/v1/crm/hidden", True),
    ("GET", "/api/v1/crm/hidden", False),
    ("GET", "/api/v1/crm/open", False),
    ("GET", "/api/v1/crm/off", True),
    ("GET", "/api/v1/crm/%2e%2e/x", True),
    ("GET", "/api/v1/CRM/contacts", True),
    ("GET", "/api/v1/CRM/contacts", False),
]


@pytest.mark.parametrize(("method", "path", "authenticated"), CASES)
async def test_the_gateway_responds_as_explained(world: World, method: str, path: str, authenticated: bool) -> None:
    await world.serve(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        routes=(
            RoutePattern("/contacts", ("GET",)),
            RoutePattern("/hidden", (), RoutePolicy(scopes=("secret",))),
            RoutePattern("/open", (), RoutePolicy(auth=Auth.NONE)),
            RoutePattern("/off", (), RoutePolicy(enabled=False)),
        ),
    )
    caller = world.live.keys.find(world.key, world.clock()) if authenticated else None
    explainer = Explainer(
        world.live.table, rate=RatePolicy(1_000, 60), circuits=lambda _: Snapshot(), now=world.clock()
    )
    explanation = explainer.explain(
        Request(method, path.encode(), b"", [(b"host", b"gateway.test")], "192.0.2.1"), caller
    )
    response = await world.request(method, path, key=world.key if authenticated else "")
    assert (explanation.verdict.status or 200) == response.status
    if explanation.verdict.code:
        assert response.json()["code"] == explanation.verdict.code

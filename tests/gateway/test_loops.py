"""Requests that go round, since a target leads back to the gateway."""

import pytest

from routing.messages.via import MAX_GATEWAYS
from routing.router.policy import Retries, RoutePolicy
from tests.gateway.conftest import QUICK, World
from tests.origin import Peer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PLAIN = RoutePolicy(timeout=QUICK, cache=None)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ((), b"1.1 gateway"),
        (("1.0 fred, 1.1 p.example.net",), b"1.1 gateway"),
        (("1.1 gateway",), b"1.1 gateway, 1.1 gateway"),
        (("1.1 cdn, 1.1 gateway", "1.1 gateway"), b"1.1 gateway, 1.1 gateway, 1.1 gateway"),
    ],
)
async def test_via_tells_how_many_gateways_a_request_has_passed(
    world: World, sent: tuple[str, ...], told: bytes
) -> None:
    origin = await world.serve(OK, policy=PLAIN)
    assert (await world.request("GET", "/api/v1/crm/x", [("Via", value) for value in sent])).status == 200
    assert [value for name, value in origin.requests[0].fields if name == b"via"] == [told]


async def test_a_request_that_goes_round_is_ended_and_is_no_failure(world: World) -> None:
    """Whoever forges the field ends nothing but the own request."""
    origin = await world.serve(OK, policy=PLAIN)
    for _ in range(2 * PLAIN.breaker.failure_threshold):
        refused = await world.request("GET", "/api/v1/crm/x", [("Via", ", ".join(["1.1 gateway"] * 5))])
        assert (refused.status, refused.json()["code"]) == (503, "service_misconfigured")
        assert "leads back" in refused.json()["detail"]
    assert (await world.request("GET", "/api/v1/crm/x")).status == 200
    assert len(origin.requests) == 1


async def test_a_request_that_goes_round_does_not_wait_for_itself(world: World) -> None:
    """The cache is on, and the target is the gateway: the first request's fetch is what the second would wait for."""

    async def go_round(peer: Peer) -> None:
        via = [("Via", value.decode()) for name, value in peer.request.fields if name == b"via"]
        nested = await world.request("GET", "/api/v1/crm/x", via)
        await peer.send(b"HTTP/1.1 %d Nested\r\nContent-Length: 0\r\n\r\n" % nested.status)

    origin = await world.serve(go_round, policy=RoutePolicy(timeout=QUICK, retries=Retries(attempts=1)))
    assert (await world.request("GET", "/api/v1/crm/x")).status == 503
    assert len(origin.requests) == MAX_GATEWAYS

"""Two tenants that gave one uid to two users: nothing of one is the other's."""

import pytest

from resilience.cache.policy import CachePolicy
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.id_token import caller_from_claims
from routing.caller import Caller
from routing.gateway_rules import GatewayRules
from routing.http import Request, Response
from routing.realtime.topics import TopicRefused, subscription_keys
from routing.router.policy import RoutePolicy
from routing.router.table import RoutePattern
from tests.gateway.cache_steps import PATH, reply
from tests.gateway.conftest import QUICK, World, make_world
from tests.origin import Peer


def user(tenant: str | None) -> Caller:
    return caller_from_claims({"sub": "ann", "exp": 1 << 40, "firebase": {"tenant": tenant}})


USERS = [user("acme"), user("globex"), user(None)]


async def send(world: World, method: str, caller: Caller, *headers: tuple[bytes, bytes]) -> Response:
    request = Request(method, f"{PATH}/a".encode(), b"", [(b"host", b"gateway.test"), *headers], "192.0.2.1")
    request.caller = caller
    return await world.gateway.handle(request)


async def echo(peer: Peer) -> None:
    await peer.read_body()
    await peer.send(reply(200, dict(peer.request.fields)[b"x-gateway-caller"], cache_control="max-age=60"))


async def test_they_share_no_response(cache_world: World) -> None:
    await cache_world.serve(echo)
    for verdict in (b"MISS", b"HIT"):
        responses = [await send(cache_world, "GET", caller) for caller in USERS]
        assert [response.body for response in responses] == [
            b"firebase+acme:ann",
            b"firebase+globex:ann",
            b"firebase:ann",
        ]
        assert [dict(response.headers)[b"x-cache"] for response in responses] == [verdict] * 3


async def test_they_share_no_idempotency_key(cache_world: World) -> None:
    await cache_world.serve(echo, policy=RoutePolicy(timeout=QUICK, idempotency=True))
    key = (b"idempotency-key", b"one")
    responses = [await send(cache_world, "POST", caller, key) for caller in USERS * 2]
    assert [response.body for response in responses[:3]] == [response.body for response in responses[3:]]
    assert len({response.body for response in responses}) == 3


async def test_they_share_no_limit() -> None:
    world = make_world("asgi", GatewayRules(rate=RatePolicy(2, 60)))
    await world.serve(echo)
    statuses = [(await send(world, "GET", caller)).status for caller in USERS for _ in range(3)]
    assert statuses == [200, 200, 429] * 3
    await world.close()


async def test_they_share_no_topic(cache_world: World) -> None:
    boxes = RoutePattern("/boxes/{user}", policy=RoutePolicy(cache=CachePolicy(tags=("box:{user}", "mine:{caller}"))))
    await cache_world.serve(echo, routes=(boxes,))
    table, (acme, globex, alone) = cache_world.live.table, USERS
    for own in USERS:
        assert subscription_keys(f"caller:{own.id}", own, table)
        for other in USERS:
            if other is not own:
                for topic in (f"caller:{own.id}", f"tag:mine:{own.id}", f"tag:box:{own.id}"):
                    with pytest.raises(TopicRefused):
                        subscription_keys(topic, other, table)
    assert subscription_keys("tag:box:ann", alone, table)
    for caller in (acme, globex):  # which ann it is, the path does not say
        with pytest.raises(TopicRefused):
            subscription_keys("tag:box:ann", caller, table)

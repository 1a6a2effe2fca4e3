"""The gateway's API keys in the fields of SDKs that can send them in no other."""

import pytest

from resilience.cache.policy import CachePolicy, Scope
from routing.router.policy import Auth, RoutePolicy
from tests.gateway.conftest import QUICK, World
from tests.gateway.test_nine_steps import ok

FIELDS = ("api-key", "X-Goog-Api-Key")
FRESH = b"Cache-Control: max-age=60"


async def answered(world: World, *fields: tuple[str, str], target: str = "/api/v1/crm/x") -> tuple[int, str | None]:
    response = await world.request("GET", target, fields, key="")
    return response.status, response.get("x-cache")


@pytest.mark.parametrize("name", FIELDS)
async def test_a_key_identifies_its_caller_and_stays_at_the_gateway(world: World, name: str) -> None:
    origin = await world.serve(ok())
    assert await answered(world, (name, world.key)) == (200, "MISS")
    sent = dict(origin.requests[0].fields)
    assert sent[b"x-gateway-caller"].startswith(b"key:")
    assert world.key.encode() not in origin.requests[0].head
    assert name.lower().encode() not in sent


@pytest.mark.parametrize("name", FIELDS)
async def test_each_callers_responses_are_his_own_whichever_field_has_the_key(world: World, name: str) -> None:
    origin = await world.serve(ok(b"ours", FRESH, b"Vary: api-key, x-goog-api-key"))
    assert await answered(world, (name, world.key)) == (200, "MISS")
    assert await answered(world, ("X-API-Key", world.key)) == (200, "HIT")
    assert await answered(world, (name, world.key)) == (200, "HIT")
    assert await answered(world, (name, world.other_key)) == (200, "MISS")
    assert len(origin.requests) == 2


@pytest.mark.parametrize("name", FIELDS)
async def test_another_value_is_the_backends(world: World, name: str) -> None:
    """It is sent on, and without a route that names it, nothing is stored of the response."""
    origin = await world.serve(ok(b"", FRESH), policy=RoutePolicy(timeout=QUICK, cache=CachePolicy(scope=Scope.SHARED)))
    for _ in range(2):
        assert await answered(world, ("X-API-Key", world.key), (name, "AIzaSy-of-the-backend")) == (200, "BYPASS")
    assert dict(origin.requests[1].fields)[name.lower().encode()] == b"AIzaSy-of-the-backend"
    assert (await answered(world, (name, "AIzaSy-of-the-backend")))[0] == 401


async def test_a_mistyped_key_is_refused_and_not_sent_on(world: World) -> None:
    origin = await world.serve(ok(), policy=RoutePolicy(timeout=QUICK, auth=Auth.NONE))
    strict = await world.serve(ok(), name="strict")
    for value in (world.key[:-3], f"Bearer {world.key}", f"{world.key},{world.key}"):
        assert (await answered(world, ("api-key", value), target="/api/v1/strict/x"))[0] == 401
        assert (await answered(world, ("api-key", value)))[0] == 200
        assert b"gw_" not in origin.requests[-1].head
    assert strict.requests == []


async def test_two_keys_are_refused_and_one_may_be_repeated(world: World) -> None:
    await world.serve(ok())
    key, other = world.key, world.other_key
    assert (await answered(world, ("X-API-Key", key), ("api-key", key), ("x-goog-api-key", key)))[0] == 200
    assert (await answered(world, ("Authorization", f"Bearer {key}"), ("api-key", key)))[0] == 200
    assert (await answered(world, ("Authorization", f"Bearer {other}"), ("api-key", key)))[0] == 401
    assert (await answered(world, ("X-API-Key", other), ("api-key", key)))[0] == 401
    assert (await answered(world, ("api-key", key), ("api-key", other)))[0] == 401


async def test_beside_the_backends_own_authorization(world: World) -> None:
    origin = await world.serve(ok(), policy=RoutePolicy(timeout=QUICK, forward_authorization=True))
    user = ("Authorization", "Bearer user.of.the-backend")
    assert (await answered(world, user, ("api-key", world.key)))[0] == 200
    assert dict(origin.requests[0].fields)[b"authorization"] == user[1].encode()

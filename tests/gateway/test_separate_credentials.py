"""X-API-Key for the gateway beside Authorization for the backend."""

from typing import Any

import pytest

from resilience.cache.policy import CachePolicy, Scope
from routing.router.policy import RoutePolicy
from tests.gateway.conftest import QUICK, World
from tests.gateway.test_nine_steps import ok

ANN = ("Authorization", "Basic YW5uOnNlY3JldA==")
BOB = ("Authorization", "Bearer bob.of.the-backend")
FRESH = b"Cache-Control: max-age=60"


def policy(**more: Any) -> RoutePolicy:
    return RoutePolicy(timeout=QUICK, forward_authorization=True, **more)


@pytest.mark.parametrize("authorization", [ANN, BOB])
async def test_the_key_is_the_gateways_and_the_other_goes_on(world: World, authorization: tuple[str, str]) -> None:
    origin = await world.serve(*[ok()] * 2, policy=policy())
    for target in ("/api/v1/crm/x", "/api/v1/crm/y"):
        response = await world.request("POST", target, [authorization])
        assert response.status == 200
        sent = dict(origin.requests[-1].fields)
        assert sent[b"authorization"] == authorization[1].encode()
        assert b"x-api-key" not in sent
        assert sent[b"x-gateway-caller"].startswith(b"key:")


async def test_on_other_routes_two_credentials_are_refused(world: World) -> None:
    await world.serve(ok(), policy=policy())
    origin = await world.serve(ok(), name="strict", policy=RoutePolicy(timeout=QUICK))
    for _ in range(2):
        assert (await world.request("POST", "/api/v1/crm/x", [BOB])).status == 200
        assert (await world.request("POST", "/api/v1/strict/x", [BOB])).status == 401
    assert origin.requests == []


async def test_a_bad_key_is_not_replaced_by_the_other_credential(world: World) -> None:
    origin = await world.serve(ok(), policy=policy())
    for key in ("gw_none_none", "not a key"):
        assert (await world.request("POST", "/api/v1/crm/x", [ANN], key=key)).status == 401
    assert (await world.request("POST", "/api/v1/crm/x", [ANN, BOB])).status == 401
    assert origin.requests == []


async def test_no_api_key_in_authorization_reaches_the_backend(world: World) -> None:
    origin = await world.serve(*[ok()] * 2, policy=policy())
    for value in (f"Bearer {world.other_key}", f"Token {world.key}"):
        assert (await world.request("POST", "/api/v1/crm/x", [("Authorization", value)])).status == 200
        assert b"authorization" not in dict(origin.requests[-1].fields)


@pytest.mark.parametrize("scope", list(Scope))
async def test_users_behind_one_key_have_responses_of_their_own(world: World, scope: Scope) -> None:
    origin = await world.serve(ok(b"ann"), ok(b"bob"), policy=policy(cache=CachePolicy(scope=scope)))
    assert [(await world.request("GET", "/api/v1/crm/x", [user])).body for user in (ANN, BOB)] == [b"ann", b"bob"]
    assert len(origin.requests) == 2


async def test_a_user_gets_the_cached_response_again_unless_it_is_shared(world: World) -> None:
    await world.serve(ok(b"ann", FRESH), ok(b"bob", FRESH), policy=policy())
    for user, body, outcome in (
        (ANN, b"ann", "MISS"),
        (BOB, b"bob", "MISS"),
        (ANN, b"ann", "HIT"),
        (BOB, b"bob", "HIT"),
    ):
        response = await world.request("GET", "/api/v1/crm/x", [user])
        assert (response.body, response.get("x-cache")) == (body, outcome)

"""`cache.invalidate_own`: a response that says that what its caller has stored is out of date ends just that."""

from typing import Any

import msgspec
import pytest

from resilience.cache.policy import CachePolicy, OwnInvalidation, Scope
from routing.configuration.conditions import conditions
from routing.messages.outcome import OutcomePolicy
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import RoutePattern, RouteTable
from tests.gateway.cache_steps import reply
from tests.gateway.conftest import QUICK, World
from tests.origin import Peer

JSON: dict[str, str] = {"content_type": "application/json"}
GONE = b'{"error": {"code": 410, "errors": [{"reason": "fullSyncRequired"}]}}'


def rule(condition: Any, *tags: str) -> OwnInvalidation:
    return OwnInvalidation(conditions(condition), tags)


BOXES = CachePolicy(ttl=600, tags=("mailbox:{user}",))
HISTORY = CachePolicy(ttl=0, invalidate_own=rule({"status": 404}, "mailbox:{user}", "mailbox:me"))


async def serve(
    world: World, history: CachePolicy = HISTORY, *, boxes: CachePolicy = BOXES, answer: bytes = b"", **policy: Any
) -> None:
    """Mailboxes, and a history that is gone."""

    async def respond(peer: Peer) -> None:
        await peer.read_body()
        gone = answer or reply(404, GONE, **JSON)
        await peer.send(gone if b"/history" in peer.request.line else reply(200, peer.request.line, **JSON))

    own = RoutePolicy(timeout=QUICK, cache=boxes, **policy)
    routes = (
        RoutePattern("/users/{user}/history", (), RoutePolicy(timeout=QUICK, cache=history, **policy)),
        RoutePattern("/users/{user}/*", (), own),
    )
    await world.serve(respond, policy=RoutePolicy(timeout=QUICK, **policy), routes=routes)


async def look(world: World, path: str, key: str | None = None) -> str:
    response = await world.request("GET", f"/api/v1/crm/users/{path}", **({} if key is None else {"key": key}))
    return response.get("x-cache") or str(response.status)


async def fill(world: World, *paths: str, keys: tuple[str, ...]) -> None:
    for key in keys:
        for path in paths:
            assert await look(world, path, key) == "MISS"
            assert await look(world, path, key) == "HIT"


async def test_it_ends_the_callers_own_responses_of_the_resource_and_nobody_elses(world: World) -> None:
    await serve(world)
    keys = world.key, world.other_key
    await fill(world, "me/messages", "me/labels", "ann/messages", "ben/messages", keys=keys)
    response = await world.request("GET", "/api/v1/crm/users/ann/history?start=1", [("X-Gateway-Debug", "1")])
    assert (response.status, response.body) == (404, GONE)
    assert "own-invalidation" in (response.get("x-gateway-debug") or "")
    assert [await look(world, path) for path in ("me/messages", "me/labels", "ann/messages")] == ["MISS"] * 3
    assert await look(world, "ben/messages") == "HIT"
    for path in ("me/messages", "me/labels", "ann/messages", "ben/messages"):
        assert await look(world, path, world.other_key) == "HIT"


async def test_the_names_of_resources_do_not_reach_into_other_callers(world: World) -> None:
    """Whatever a caller puts into the path is after its own id in the tag."""
    await serve(world)
    keys = world.key, world.other_key
    await fill(world, "me/messages", keys=keys)
    theirs = world.other_key.split("_")[1]
    for user in (f"me%2Fkey:{theirs}", f"own:key:{theirs}%2Fmailbox:me", "me%2F..", "%7Bcaller%7D", "*"):
        await world.request("GET", f"/api/v1/crm/users/{user}/history")
    assert await look(world, "me/messages", world.other_key) == "HIT"


@pytest.mark.parametrize("status", [200, 401, 403, 410, 429, 500, 503])
async def test_other_responses_end_nothing(world: World, status: int) -> None:
    await serve(world, answer=reply(status, b"{}", **JSON))
    await fill(world, "me/messages", keys=(world.key,))
    await look(world, "me/history")
    assert await look(world, "me/messages") == "HIT"


@pytest.mark.parametrize(("reason", "expected"), [("fullSyncRequired", "MISS"), ("deleted", "HIT"), (None, "HIT")])
async def test_the_body_may_decide(world: World, reason: str | None, expected: str) -> None:
    condition = {"status": 410, "body": {"error.errors.0.reason": ["fullSyncRequired", "updatedMinTooLongAgo"]}}
    body = GONE.replace(b"fullSyncRequired", (reason or "").encode()) if reason else b"not json"
    await serve(
        world, CachePolicy(ttl=0, invalidate_own=rule(condition, "mailbox:{user}")), answer=reply(410, body, **JSON)
    )
    await fill(world, "me/messages", keys=(world.key,))
    response = await world.request("GET", "/api/v1/crm/users/me/history")
    assert (response.status, response.body) == (410, body)
    assert await look(world, "me/messages") == expected


async def test_a_class_of_the_service_ends_nothing_and_one_of_the_caller_does(world: World) -> None:
    for name, expected in (("failed", "HIT"), ("ours", "HIT"), ("limited", "HIT"), ("callers", "MISS")):
        await serve(world, outcome=OutcomePolicy(**{name: conditions({"status": 404})}), hold_off=None)
        assert await look(world, "me/messages") == "MISS"
        await look(world, "me/history")
        assert await look(world, "me/messages") == expected, name


async def test_what_is_shared_and_what_anonymous_requests_have_stored_stays(world: World) -> None:
    shared = CachePolicy(ttl=600, scope=Scope.SHARED, tags=("mailbox:{user}",))
    await serve(world, boxes=shared)
    assert await look(world, "me/messages") == "MISS"
    await look(world, "me/history")
    assert await look(world, "me/messages") == "HIT"
    lost = CachePolicy(ttl=0, scope=Scope.TENANT, invalidate_own=HISTORY.invalidate_own)
    await serve(world, lost, boxes=CachePolicy(ttl=600, scope=Scope.TENANT, tags=("mailbox:{user}",)))
    assert await look(world, "me/messages") == "MISS"
    await look(world, "me/history")
    assert await look(world, "me/messages") == "HIT"
    await serve(world, auth=Auth.OPTIONAL)
    await world.request("GET", "/api/v1/crm/users/me/messages", key="")
    await look(world, "me/messages")
    assert (await world.request("GET", "/api/v1/crm/users/me/history", key="")).status == 404
    assert await look(world, "me/messages") == "HIT"


async def test_the_response_that_ends_them_is_not_stored_and_does_so_each_time(world: World) -> None:
    """Its own route stores with the same tags, as Calendar's list of events does."""
    await serve(world, CachePolicy(ttl=600, tags=("mailbox:{user}",), invalidate_own=HISTORY.invalidate_own))
    for _ in range(3):
        assert await look(world, "me/messages") == "MISS"
        assert await look(world, "me/history") == "MISS"


async def test_a_service_without_such_a_rule_stores_no_further_tags(world: World) -> None:
    await serve(world, CachePolicy(ttl=0))
    await look(world, "me/messages")
    plain = await world.cache.usage("crm", "mailbox:me")
    own = await world.cache.usage("crm", f"own:key:{world.key.split('_')[1]}/mailbox:me")
    assert (plain.entries, own.entries) == (1, 0)
    await serve(world)
    await look(world, "me/labels")
    assert (await world.cache.usage("crm", f"own:key:{world.key.split('_')[1]}/mailbox:me")).entries == 1


async def test_what_was_stored_before_the_rule_existed_is_not_served(cache_world: World) -> None:
    """It lacks the tags by which the rule would find it."""
    await serve(cache_world, CachePolicy(ttl=0))
    await fill(cache_world, "ann/messages", keys=(cache_world.key,))
    (service,) = cache_world.live.table.services.values()
    history, boxes = service.routes
    changed = msgspec.structs.replace(history.policy, cache=HISTORY)
    routes = (msgspec.structs.replace(history, policy=changed), boxes)
    cache_world.live.table = RouteTable([msgspec.structs.replace(service, routes=routes)])
    assert await look(cache_world, "ann/messages", cache_world.key) == "MISS"

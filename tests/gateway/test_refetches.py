"""Whether a response that is fetched again has changed: what observers are told."""

from typing import Any

import pytest

from tests.gateway.cache_steps import NOT_MODIFIED, Step, get, policy, reply, run_steps
from tests.gateway.conftest import World

PLAIN = {"ttl": 60, "stale_if_error": 0}


def fetches(*intervals: float, cache: str = "MISS") -> list[Step]:
    return [get("MISS"), *(get(cache, interval) for interval in intervals)]


def seen(world: World) -> list[tuple[float, bool, bool]]:
    assert {event.service for event in world.observer.refetches} <= {"crm"}
    return [(event.interval, event.changed, event.by_policy) for event in world.observer.refetches]


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        # Keys are remembered from their second fetch on.
        ([b"a", b"a", b"a", b"b"], [(100, False, True), (200, True, True)]),
        ([b"a", b"b", b"a", b"a"], [(100, True, True), (200, False, True)]),
    ],
)
async def test_a_response_that_had_expired_is_compared_with_the_one_before(
    world: World, bodies: list[bytes], expected: list[tuple[float, bool, bool]]
) -> None:
    replies = [reply(body=body, cache_control="public") for body in bodies]
    await run_steps(world, replies, fetches(61, 100, 200), policy(**PLAIN))
    assert seen(world) == expected


async def test_a_stale_response_is_compared_itself(world: World) -> None:
    replies = [reply(body=body, etag='"1"', cache_control="public") for body in (b"a", b"b")]
    await run_steps(world, replies, fetches(90), policy(**PLAIN))
    assert seen(world) == [(90, True, True)]


async def test_one_that_was_confirmed_has_not_changed(world: World) -> None:
    replies = [reply(etag='"1"', cache_control="public"), NOT_MODIFIED, NOT_MODIFIED]
    await run_steps(world, replies, fetches(90, 70, cache="REVALIDATED"), policy(**PLAIN))
    assert seen(world) == [(90, False, True), (70, False, True)]


async def test_a_lifetime_that_the_backend_sets_is_told(world: World) -> None:
    replies = [reply(cache_control="public, max-age=10")] * 3
    await run_steps(world, replies, fetches(11, 11), policy(**PLAIN))
    assert seen(world) == [(11, False, False)]


async def test_hits_and_fetches_before_the_expiry_are_no_evidence(world: World) -> None:
    steps = [
        *fetches(61),
        get("HIT", 1),
        get("MISS", 1, cache_control="no-cache", calls=1),
        get("MISS", 61, path="/y"),
    ]
    await run_steps(world, [reply(cache_control="public")], steps, policy(**PLAIN))
    assert seen(world) == []


async def test_responses_that_are_not_stored_are_not_compared(world: World) -> None:
    steps: list[Any] = [get("MISS", 61, calls=1) for _ in range(4)]
    await run_steps(world, [reply(cache_control="no-store")], steps, policy(**PLAIN))
    assert seen(world) == []

"""Limits of the calls to a backend, as seen by clients."""

import asyncio
from typing import Any

import pytest

from tests.gateway.backend_limits import OK, answer, serve
from tests.gateway.conftest import World
from tests.origin import Peer, Script


async def reset_connection(peer: Peer) -> None:
    peer.reset()


PATH = "/api/v1/slack/users.list"
PACED: dict[str, Any] = {"outbound": {"rate": "2/m", "queue": "0s"}, "cache": False}


async def statuses(world: World, number: int, path: str = PATH, **more: Any) -> list[int]:
    return [(await world.request("GET", path, **more)).status for _ in range(number)]


async def test_calls_beyond_the_rate_are_refused_with_the_true_wait(world: World) -> None:
    origin = await serve(world, answer(OK), **PACED)
    assert await statuses(world, 4) == [200, 200, 429, 429]
    response = await world.request("GET", PATH)
    assert response.json()["code"] == "backend_limited"
    assert 55 <= int(response.get("retry-after") or 0) <= 62
    assert len(origin.requests) == 2
    world.clock.advance(int(response.get("retry-after") or 0))
    assert await statuses(world, 1) == [200]


async def test_hits_do_not_count(world: World) -> None:
    origin = await serve(world, answer(OK), outbound=PACED["outbound"])
    assert await statuses(world, 10) == [200] * 10
    assert len(origin.requests) == 1


async def test_a_stale_response_is_better_than_none(world: World) -> None:
    cache = {"ttl": 10, "stale_if_error": 300}
    await serve(world, answer(OK), outbound={"rate": "1/h", "queue": 0}, cache=cache)
    await world.request("GET", PATH)
    world.clock.advance(20)
    response = await world.request("GET", PATH)
    assert (response.status, response.get("x-cache")) == (200, "STALE")


async def test_each_part_has_a_limit_of_its_own(world: World) -> None:
    routes = [{"path": "/a"}, {"path": "/b"}]
    await serve(world, answer(OK), routes=routes, **PACED)
    for path in ("/api/v1/slack/a", "/api/v1/slack/b"):
        assert await statuses(world, 3, path) == [200, 200, 429]
    assert await statuses(world, 3, "/api/v1/slack/a", key=world.other_key) == [200, 200, 429]


async def test_each_model_may_have_a_limit_of_its_own(world: World) -> None:
    outbound = {"rate": "2/m", "per": ["model", "credential"], "queue": "0s"}
    await serve(world, answer(OK), outbound=outbound, cache=False)
    for model in (b"large", b"small"):
        request: dict[str, Any] = {
            "headers": [("Content-Type", "application/json")],
            "body": [b'{"model": "%b"}' % model],
        }
        assert [(await world.request("POST", PATH, **request)).status for _ in range(3)] == [200, 200, 429]


async def test_a_retry_counts(world: World) -> None:
    failing = answer({"error": "fatal"}, 200)
    outcome = {"failed": {"body": {"error": "fatal"}}}
    origin = await serve(world, failing, answer(OK), outcome=outcome, **PACED)
    assert await statuses(world, 2) == [200, 429]
    assert len(origin.requests) == 2


@pytest.mark.parametrize(
    ("failure", "status"),
    [(answer({"error": "fatal"}, 200), 200), (reset_connection, 502)],
    ids=["a response", "a broken connection"],
)
async def test_a_retry_that_is_refused_leaves_the_result_of_the_call(
    world: World, failure: Script, status: int
) -> None:
    """Else a backend that is down would never open its circuit: each of its failures would be a limit of ours."""
    outcome = {"failed": {"body": {"error": "fatal"}}}
    outbound = {"rate": "1/m", "queue": 0, "per": ["path"]}
    origin = await serve(
        world, failure, outcome=outcome, outbound=outbound, breaker={"failure_threshold": 2}, cache=False
    )
    assert await statuses(world, 1, f"{PATH}/1") == [status]
    assert await statuses(world, 1, f"{PATH}/2") == [status]
    assert len(origin.requests) == 2
    assert [record.retries for record in world.observer.requests] == [0, 0]
    assert (await world.request("GET", f"{PATH}/3")).json()["code"] == "circuit_open"


async def test_a_retry_waits_for_its_turn_no_longer_than_the_request_may_take(world: World) -> None:
    await serve(
        world,
        reset_connection,
        outbound={"rate": "1/s", "queue": "5s"},
        timeout={"connect": 0.5, "read": 0.5, "total": 0.5},
        cache=False,
    )
    assert await statuses(world, 1) == [502]


@pytest.mark.parametrize("world", ["asgi"], indirect=True)  # cancelling a call leaves Django's upload open
async def test_a_client_that_leaves_before_a_retry_frees_what_its_call_held(world: World) -> None:
    outcome = {"failed": {"body": {"error": "fatal"}}}
    settings: dict[str, Any] = {"max_concurrency": 1, "outcome": outcome, "cache": False}
    await serve(world, answer({"error": "fatal"}), answer(OK), outbound={"rate": "1/s", "queue": "5s"}, **settings)
    leaving = asyncio.ensure_future(world.request("GET", PATH))
    await asyncio.sleep(0.2)
    leaving.cancel()
    await asyncio.wait([leaving])
    world.clock.advance(5)
    assert await statuses(world, 1) == [200]


async def test_a_refused_call_is_no_failure_and_does_not_count(world: World) -> None:
    gate = asyncio.Event()

    async def late(peer: Peer) -> None:
        await gate.wait()
        await peer.send(answer(OK))

    settings: dict[str, Any] = {"max_concurrency": 1, "outbound": {"rate": "3/m", "queue": 0}, "cache": False}
    origin = await serve(world, late, answer(OK), breaker={"failure_threshold": 1}, **settings)
    calls = [asyncio.ensure_future(world.request("GET", PATH)) for _ in range(3)]
    done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert [(await call).json()["code"] for call in done] == ["overloaded"]
    gate.set()
    assert [(await call).status for call in waiting] == [200, 200]
    assert await statuses(world, 2) == [200, 429], "the overloaded one is not counted"
    assert len(origin.requests) == 3


async def test_a_call_waits_for_its_turn(world: World) -> None:
    """The queue waits by the real clock; the fake one lets the window pass meanwhile."""
    origin = await serve(world, answer(OK), outbound={"rate": "1/s", "queue": "5s"}, cache=False)
    await world.request("GET", PATH)
    waiting = asyncio.ensure_future(world.request("GET", PATH))
    await asyncio.sleep(0.05)
    assert len(origin.requests) == 1
    world.clock.advance(2)
    assert (await waiting).status == 200

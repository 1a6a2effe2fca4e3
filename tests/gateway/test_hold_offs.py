"""After the backend has limited calls, the gateway answers for it until it accepts calls again."""

import asyncio
import json
from email.utils import formatdate
from typing import Any

import pytest

from resilience.breaker.machine import State
from routing.steps import model
from tests.gateway.backend_limits import OK, SLACK, answer, serve
from tests.gateway.conftest import World
from tests.origin import Peer
from tests.resilience.cache.entries import until

PATH = "/api/v1/slack/users.list"
LIMITED: dict[str, Any] = {"limited": {"status": 429}}
OFF: dict[str, Any] = {"cache": False}


def limited(**fields: str) -> bytes:
    return answer({"ok": False, "error": "ratelimited"}, 429, **fields)


async def statuses(world: World, number: int, path: str = PATH, **more: Any) -> list[int]:
    return [(await world.request("GET", path, **more)).status for _ in range(number)]


async def test_no_call_reaches_the_backend_until_the_end(world: World) -> None:
    origin = await serve(world, limited(retry_after="30"), answer(OK), **OFF)
    first = await world.request("GET", PATH)
    assert (first.status, first.get("retry-after"), first.json()["error"]) == (429, "30", "ratelimited")
    for passed, left in ((0, "30"), (10, "20"), (19.5, "1")):
        world.clock.advance(passed)
        response = await world.request("GET", PATH)
        assert (response.status, response.json()["code"]) == (429, "backend_limited")
        assert (response.get("retry-after"), response.json()["retry_after"]) == (left, int(left))
    assert len(origin.requests) == 1
    world.clock.advance(1)
    assert await statuses(world, 3) == [200] * 3
    assert len(origin.requests) == 4


async def test_it_is_no_failure_of_the_service(world: World) -> None:
    await serve(world, limited(retry_after="30"), breaker={"failure_threshold": 1}, **OFF)
    assert await statuses(world, 5) == [429] * 5
    assert world.breakers.of("slack", world.live.table.services["slack"].policy.breaker).state() is State.CLOSED
    assert {request.code for request in world.observer.requests} == {"", "backend_limited"}


async def test_the_same_calls_of_others_are_not_held(world: World) -> None:
    """Where nothing is configured, a limit is only of the same call by the same caller."""
    origin = await serve(world, limited(retry_after="30"), answer(OK), **OFF)
    await world.request("GET", PATH)
    assert await statuses(world, 1, key=world.other_key) == [200]
    assert await statuses(world, 1, "/api/v1/slack/team.info") == [200]
    assert (await world.request("POST", PATH, body=[b"{}"])).status == 200
    assert await statuses(world, 1, PATH + "?cursor=2") == [429]
    assert len(origin.requests) == 4


@pytest.mark.parametrize("name", ["X-Auth-Token", "X-Acme-Token"])
async def test_nor_are_those_of_another_user_of_the_backends(world: World, name: str) -> None:
    origin = await serve(world, limited(retry_after="30"), answer(OK), **OFF)
    assert await statuses(world, 2, headers=[(name, "ann")]) == [429, 429]
    assert await statuses(world, 1, headers=[(name, "bob")]) == [200]
    assert len(origin.requests) == 2


async def test_a_credential_of_the_service_is_limited_for_all_callers(world: World) -> None:
    headers = {"Authorization": "Bearer env:GATEWAY_SECRET_SLACK"}
    origin = await serve(world, limited(retry_after="30"), answer(OK), headers=headers, outcome=LIMITED, **OFF)
    await world.request("GET", PATH)
    assert await statuses(world, 1, key=world.other_key) == [429]
    assert await statuses(world, 1, "/api/v1/slack/team.info") == [429]
    assert len(origin.requests) == 1


@pytest.mark.parametrize(("per", "held"), [(["service"], True), (["route"], False), (["path"], False)])
async def test_what_one_limit_covers_can_be_configured(world: World, per: list[str], held: bool) -> None:
    routes = [{"path": "/users.list"}, {"path": "/team.info"}]
    origin = await serve(world, limited(retry_after="30"), answer(OK), routes=routes, hold_off={"per": per}, **OFF)
    await world.request("GET", PATH)
    assert await statuses(world, 1, key=world.other_key) == [429]
    assert await statuses(world, 1, "/api/v1/slack/team.info") == [429 if held else 200]
    assert len(origin.requests) == (1 if held else 2)


async def test_it_can_be_switched_off(world: World) -> None:
    origin = await serve(world, limited(retry_after="30"), hold_off=False, **OFF)
    assert await statuses(world, 3) == [429] * 3
    assert len(origin.requests) == 3


async def test_a_429_that_names_no_time_is_passed_on_unless_it_is_configured(world: World) -> None:
    origin = await serve(world, limited(), **OFF)
    assert await statuses(world, 3) == [429] * 3
    assert len(origin.requests) == 3
    origin = await serve(world, limited(), limited(), answer(OK), name="other", outcome=LIMITED, **OFF)
    path = "/api/v1/other/x"
    assert await statuses(world, 3, path) == [429] * 3
    world.clock.advance(1.3)
    assert await statuses(world, 3, path) == [429] * 3
    world.clock.advance(1.3)
    assert (len(origin.requests), await statuses(world, 1, path)) == (2, [429]), "the second one is longer"
    world.clock.advance(1.3)
    assert await statuses(world, 2, path) == [200] * 2


async def test_a_limit_may_have_any_status(world: World) -> None:
    body = {"error": {"errors": [{"reason": "userRateLimitExceeded"}]}}
    outcome = {"limited": {"status": 403, "body": {"error.errors.0.reason": ["userRateLimitExceeded"]}}}
    origin = await serve(world, answer(body, 403, retry_after="5"), outcome=outcome, **OFF)
    assert await statuses(world, 3) == [403, 429, 429]
    assert len(origin.requests) == 1


async def test_the_latest_end_wins(world: World) -> None:
    gates = [asyncio.Event(), asyncio.Event()]

    async def late(peer: Peer) -> None:
        index = len(origin.requests) - 1
        await gates[index].wait()
        await peer.send(limited(retry_after=("10", "40")[index]))

    origin = await serve(world, late, late, answer(OK), **OFF)
    calls = [asyncio.ensure_future(world.request("GET", PATH + f"?{index}")) for index in range(2)]
    await until(lambda: len(origin.requests) == 2)
    gates[1].set()
    await calls[1]
    gates[0].set()
    await calls[0]
    world.clock.advance(20)
    response = await world.request("GET", PATH)
    assert (response.status, response.get("retry-after")) == (429, "20")


async def test_one_probe_after_the_end(world: World) -> None:
    gate = asyncio.Event()

    async def late(peer: Peer) -> None:
        await gate.wait()
        await peer.send(answer(OK))

    origin = await serve(world, limited(retry_after="5"), late, answer(OK), **OFF)
    await world.request("GET", PATH)
    world.clock.advance(5)
    calls = [asyncio.ensure_future(world.request("GET", PATH + f"?{index}")) for index in range(10)]
    done, probing = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 9:
        more, probing = await asyncio.wait(probing, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert {(await call).status for call in done} == {429}
    gate.set()
    assert (await probing.pop()).status == 200
    assert len(origin.requests) == 2
    assert await statuses(world, 3) == [200] * 3


async def test_a_probe_that_is_limited_holds_off_again(world: World) -> None:
    origin = await serve(world, limited(retry_after="5"), limited(retry_after="7"), answer(OK), **OFF)
    await world.request("GET", PATH)
    world.clock.advance(5)
    assert await statuses(world, 3) == [429] * 3
    assert len(origin.requests) == 2
    world.clock.advance(6)
    assert await statuses(world, 1) == [429]
    world.clock.advance(1)
    assert await statuses(world, 2) == [200] * 2


async def test_a_probe_that_fails_leaves_its_place_to_the_next_call(world: World) -> None:
    async def broken(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-")
        peer.close()

    await serve(world, limited(retry_after="5"), broken, answer(OK), retries={"attempts": 1}, **OFF)
    await world.request("GET", PATH)
    world.clock.advance(5)
    assert (await statuses(world, 1)) == [502]

    async def is_accepted() -> bool:
        return await statuses(world, 1) == [200]

    await until(is_accepted)


async def test_a_stale_response_comes_first(world: World) -> None:
    cache = {"ttl": 10, "stale_if_error": 300}
    origin = await serve(world, answer(OK), limited(retry_after="30"), cache=cache)
    await world.request("GET", PATH)
    world.clock.advance(20)
    for _ in range(3):
        response = await world.request("GET", PATH)
        assert (response.status, response.get("x-cache"), response.json()) == (200, "STALE", OK)
    assert len(origin.requests) == 2
    assert await statuses(world, 1, "/api/v1/slack/other") == [429]


async def test_the_fallback_service_answers_meanwhile(world: World) -> None:
    origin = await serve(world, limited(retry_after="30"), fallback={"service": "other"}, **OFF)
    await serve(world, answer({"from": "other"}), name="other")
    assert await statuses(world, 3) == [200] * 3
    assert len(origin.requests) == 1


async def test_a_hold_off_is_no_longer_than_configured(world: World) -> None:
    origin = await serve(world, limited(retry_after="999999999"), answer(OK), hold_off={"max": "1m"}, **OFF)
    await world.request("GET", PATH)
    assert (await world.request("GET", PATH)).get("retry-after") == "60"
    world.clock.advance(60)
    assert await statuses(world, 1) == [200]
    assert len(origin.requests) == 2


@pytest.mark.parametrize("value", ["0", "-5", "NaN", "inf", "soon", "1e9", "", "Thu, 01 Jan 1970 00:00:00 GMT", "²"])
async def test_a_time_that_makes_no_sense_is_ignored(world: World, value: str) -> None:
    origin = await serve(world, limited(retry_after=value), **OFF)
    assert await statuses(world, 2) == [429] * 2
    assert len(origin.requests) == 2


async def test_a_date_is_read_by_the_backends_clock(world: World) -> None:
    fields = {"date": formatdate(1_000, usegmt=True), "retry_after": formatdate(1_045, usegmt=True)}
    await serve(world, limited(**fields), **OFF)
    await world.request("GET", PATH)
    assert (await world.request("GET", PATH)).get("retry-after") == "45"


async def test_ratelimited_in_a_200_holds_off(world: World) -> None:
    body = answer({"ok": False, "error": "ratelimited"}, 200, retry_after="30")
    origin = await serve(world, body, outcome=SLACK)
    assert await statuses(world, 3) == [200, 429, 429]
    assert len(origin.requests) == 1


async def test_a_client_that_leaves_ends_no_hold_off(world: World) -> None:
    origin = await serve(world, limited(retry_after="5"), answer(OK), **OFF)
    await world.request("GET", PATH)
    leaving = asyncio.ensure_future(world.request("GET", PATH))
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert await statuses(world, 1) == [429]
    assert len(origin.requests) == 1


BY_MODEL: dict[str, Any] = {
    "hold_off": {"per": ["path", "model", "credential"]},
    "outcome": LIMITED,
    "headers": {"Authorization": "Bearer env:GATEWAY_SECRET_SLACK"},
    **OFF,
}
JSON = [("Content-Type", "application/json")]


def asking(model: str, words: int = 1) -> bytes:
    """As the SDKs send it: the messages come first."""
    return json.dumps({"messages": [{"content": "model " * words}], "model": model}).encode()


async def ask(world: World, body: bytes, headers: Any = JSON, path: str = PATH, **more: Any) -> int:
    return (await world.request("POST", path, headers, body=[body], **more)).status


async def test_each_models_limit_is_its_own(world: World) -> None:
    origin = await serve(world, limited(retry_after="30"), answer(OK), **BY_MODEL)
    assert [await ask(world, asking("large")) for _ in range(2)] == [429, 429]
    assert await ask(world, asking("large"), key=world.other_key) == 429
    assert await ask(world, asking("small")) == 200
    assert await ask(world, asking("large"), path="/api/v1/slack/other") == 200
    assert len(origin.requests) == 3
    world.clock.advance(31)
    assert await ask(world, asking("large")) == 200


async def read_all(peer: Peer) -> None:
    await peer.read_body()
    await peer.send(answer(OK))


async def limit_after_reading(peer: Peer) -> None:
    await peer.read_body()
    await peer.send(limited(retry_after="30"))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"[1]", JSON),
        (b"{", JSON),
        (b'{"model": 5}', JSON),
        (b'{"model": ""}', JSON),
        (b'{"model": "a\\u0000"}', JSON),
        (b'{"model": "a", "x": ' + b"[" * 900, JSON),
        (b'{"model": "\xff"}', JSON),
        (asking("m" * 200), JSON),
        (asking("a"), [*JSON, ("Content-Encoding", "gzip")]),
        (b"model=a", [("Content-Type", "application/x-www-form-urlencoded")]),
        (b"", []),
    ],
)
async def test_requests_whose_model_is_not_known_have_one_limit(world: World, body: bytes, headers: Any) -> None:
    origin = await serve(world, limit_after_reading, limit_after_reading, read_all, **BY_MODEL)
    assert await ask(world, asking("a"), headers=JSON) == 429
    assert await ask(world, body, headers) == 429
    assert len(origin.requests) == 2
    assert origin.requests[-1].body == body
    assert await ask(world, b"[]") == 429
    assert await ask(world, asking("b")) == 200
    assert len(origin.requests) == 3


async def test_of_a_large_body_the_model_is_not_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MAX_BODY", 100)
    origin = await serve(world, limit_after_reading, read_all, **BY_MODEL)
    large = asking("a", 20)
    assert await ask(world, large) == 429
    assert (await world.request("POST", PATH, JSON, body=[large[:90], large[90:]])).status == 429
    assert await ask(world, asking("a")) == 200
    assert origin.requests[0].body == large


async def test_a_body_that_is_sent_in_pieces_and_without_a_length_names_its_model(world: World) -> None:
    origin = await serve(world, limit_after_reading, read_all, **BY_MODEL)
    content = asking("large")
    pieces = [content[:7], content[7:40], content[40:]]
    for expected in (429, 429):
        assert (await world.request("POST", PATH, JSON, body=pieces)).status == expected
    assert origin.requests[0].body == content
    assert await ask(world, asking("small")) == 200


async def test_a_fallback_is_sent_the_whole_request_of_a_model_that_is_held(world: World) -> None:
    other = await serve(world, read_all, name="other", auth="none", **OFF)
    await serve(world, limited(retry_after="30"), fallback={"service": "other"}, **BY_MODEL)
    assert [await ask(world, asking("large")) for _ in range(2)] == [200, 200]
    assert [request.body for request in other.requests] == [asking("large")] * 2


async def test_content_that_is_part_of_a_cache_key_names_its_model(world: World) -> None:
    settings = {**BY_MODEL, "cache": {"ttl": 60, "methods": ["POST"]}}
    origin = await serve(world, limited(retry_after="30"), answer(OK), **settings)
    assert [await ask(world, asking("large")) for _ in range(2)] == [429, 429]
    assert await ask(world, asking("small")) == 200
    assert len(origin.requests) == 2

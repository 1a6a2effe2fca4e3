"""Several targets, calls made again, and one deadline: as a client and a backend see them."""

from collections import Counter

import pytest

from resilience.breaker.policy import BreakerPolicy
from routing.balancing.rules import EJECT_AFTER, EJECT_AFTER_NO_RESPONSE
from routing.observability.events import BackendEventKind
from routing.router.policy import Retries, RoutePolicy, Target, Timeout
from routing.router.table import Service
from tests.gateway.conftest import QUICK, World
from tests.origin import Peer, ScriptedOrigin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PLAIN = RoutePolicy(timeout=QUICK, cache=None)


def failing(status: int) -> bytes:
    return b"HTTP/1.1 %d Oops\r\nContent-Length: 0\r\n\r\n" % status


async def cut(peer: Peer) -> None:
    peer.reset()


async def cut_late(peer: Peer) -> None:
    await peer.read_body()
    peer.reset()


async def two(world: World, first: object, second: object, policy: RoutePolicy = PLAIN) -> list[ScriptedOrigin]:
    """A service over two scripted targets."""
    origins = [await world.serve(script, name=f"t{n}") for n, script in enumerate((first, second))]  # type: ignore[arg-type]
    world.add(Service("crm", tuple(origin.target for origin in origins), policy=policy))
    return origins


async def test_a_call_that_was_cut_is_made_again_on_the_other_target(world: World) -> None:
    await two(world, cut, OK)
    for _ in range(10):
        assert (await world.request("GET", "/api/v1/crm/x")).status == 200
    assert not world.observer.circuits


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_so_is_one_that_another_target_may_answer(world: World, status: int) -> None:
    await two(world, failing(status), OK)
    assert {(await world.request("GET", "/api/v1/crm/x")).status for _ in range(8)} == {200}


async def test_but_a_500_and_the_only_targets_503_are_the_answer(world: World) -> None:
    origin = await world.serve(failing(503), policy=PLAIN)
    assert (await world.request("GET", "/api/v1/crm/x")).status == 503
    assert len(origin.requests) == 1
    origins = await two(world, failing(500), failing(500))
    assert (await world.request("GET", "/api/v1/crm/x")).status == 500
    assert sum(len(origin.requests) for origin in origins) == 1


async def test_a_write_is_made_once_unless_the_client_gives_a_key(world: World) -> None:
    origins = await two(world, cut_late, cut_late)
    assert (await world.request("POST", "/api/v1/crm/x", body=[b"1"])).status == 502
    assert sum(len(origin.requests) for origin in origins) == 1
    assert (await world.request("POST", "/api/v1/crm/x", [("Idempotency-Key", "k1")], body=[b"1"])).status == 502
    assert sum(len(origin.requests) for origin in origins) == 3


async def test_a_put_goes_again_with_all_of_its_body(world: World) -> None:
    origins = await two(world, cut_late, cut_late)
    await world.request("PUT", "/api/v1/crm/x", body=[b"ab", b"c"])
    assert [origin.requests[0].body for origin in origins] == [b"abc", b"abc"]


async def test_a_target_that_fails_is_ejected_and_gets_no_more_calls(world: World) -> None:
    policy = RoutePolicy(
        timeout=QUICK, cache=None, retries=Retries(attempts=1), breaker=BreakerPolicy(failure_threshold=1_000)
    )
    bad, _ = await two(world, failing(500), OK, policy)
    for _ in range(60):
        await world.request("GET", "/api/v1/crm/x")
    assert len(bad.requests) == EJECT_AFTER
    assert [event.target for event in world.observer.events if event.kind is BackendEventKind.EJECTED] == [bad.url]


async def test_one_of_two_killed_under_load_fails_nobody(world: World) -> None:
    """The issue's own scene, in little: idempotent traffic, and a target that goes away in the middle of it."""
    doomed, _ = await two(world, OK, OK)
    statuses = Counter[int]()
    for number in range(200):
        if number == 50:
            await doomed.__aexit__()
        statuses[(await world.request("GET", "/api/v1/crm/x")).status] += 1
    assert statuses == {200: 200}
    kinds = Counter(event.kind for event in world.observer.events)
    assert kinds == {BackendEventKind.RETRIED: EJECT_AFTER_NO_RESPONSE, BackendEventKind.EJECTED: 1}
    assert kinds[BackendEventKind.RETRIED] <= 0.2 * 200


async def test_repeats_end_with_the_budget(world: World) -> None:
    policy = RoutePolicy(timeout=QUICK, cache=None, retries=Retries(attempts=5, budget=0.0))
    origins = await two(world, cut, OK, policy)
    statuses = Counter([(await world.request("GET", "/api/v1/crm/x")).status for _ in range(20)])
    assert statuses[502] == len(origins[0].requests) == EJECT_AFTER_NO_RESPONSE


async def test_no_repeat_goes_into_an_open_circuit(world: World) -> None:
    async def opens(peer: Peer) -> None:
        breaker = world.breakers.of("crm", policy.breaker)
        await breaker.override(breaker.state().FORCED_OPEN, reason="now")
        peer.reset()

    policy = RoutePolicy(timeout=QUICK, cache=None)
    origins = await two(world, opens, opens, policy)
    assert (await world.request("GET", "/api/v1/crm/x")).status == 502
    assert sum(len(origin.requests) for origin in origins) == 1


async def test_a_probe_is_one_call(world: World) -> None:
    policy = RoutePolicy(
        timeout=QUICK, cache=None, retries=Retries(attempts=1), breaker=BreakerPolicy(failure_threshold=1)
    )
    origins = await two(world, cut, cut, policy)
    await world.request("GET", "/api/v1/crm/x")
    again = RoutePolicy(timeout=QUICK, cache=None, retries=Retries(attempts=3), breaker=policy.breaker)
    world.add(Service("crm", tuple(origin.target for origin in origins), policy=again))
    world.clock.advance(60)
    await world.request("GET", "/api/v1/crm/x")
    assert sum(len(origin.requests) for origin in origins) == 2


async def test_a_target_an_operator_rests_gets_nothing_even_when_the_other_is_down(world: World) -> None:
    dead, rested = await world.serve(cut, name="t0"), await world.serve(OK, name="t1")
    world.add(Service("crm", (dead.target, Target(rested.url, 0)), policy=PLAIN))
    for _ in range(4):
        assert (await world.request("GET", "/api/v1/crm/x")).status == 502
    assert rested.requests == []


async def test_when_an_operator_rests_all_it_is_no_failure_of_theirs(world: World) -> None:
    origin = await world.serve(OK, name="t0")
    world.add(Service("crm", (Target(origin.url, 0),), policy=PLAIN))
    answers = [await world.request("GET", "/api/v1/crm/x") for _ in range(8)]
    assert {answer.json()["code"] for answer in answers} == {"service_disabled"}


async def test_a_target_that_hangs_is_left_for_another_within_the_one_deadline(world: World) -> None:
    async def hangs(peer: Peer) -> None:
        await peer.wait_closed()

    policy = RoutePolicy(timeout=Timeout(connect=2, read=0.2, total=10), cache=None)
    origins = await two(world, hangs, OK, policy)
    for _ in range(64):  # which of the two is asked first is chance
        assert (await world.request("GET", "/api/v1/crm/x")).status == 200
        if origins[0].requests:
            break
    left = [int(dict(request.fields)[b"x-gateway-timeout-ms"]) for request in origins[1].requests]
    assert all(0 < milliseconds <= 10_000 for milliseconds in left)
    assert min(left) <= 9_800
    assert (world.observer.requests[-1].target, world.observer.requests[-1].retries) == (origins[1].url, 1)


async def test_the_time_left_is_the_gateways_word_and_seen_by_who_debugs(world: World) -> None:
    origin = await world.serve(OK, policy=PLAIN)
    asked = [("X-Gateway-Timeout-Ms", "1"), ("X_Gateway_Timeout_Ms", "2"), ("X-Gateway-Debug", "1")]
    answer = await world.request("GET", "/api/v1/crm/x", asked)
    fields = [value for name, value in origin.requests[0].fields if name.replace(b"_", b"-") == b"x-gateway-timeout-ms"]
    assert len(fields) == 1
    assert 9_000 < int(fields[0]) <= 10_000
    debug = answer.get("x-gateway-debug") or ""
    assert "attempt-1" in debug
    assert "of 10000 ms left" in debug
    assert str(origin.port) not in debug


async def test_refusals_are_told(world: World) -> None:
    await world.serve(
        failing(500), policy=RoutePolicy(timeout=QUICK, cache=None, breaker=BreakerPolicy(failure_threshold=1))
    )
    for _ in range(3):
        await world.request("GET", "/api/v1/crm/x")
    assert [(event.kind, event.detail) for event in world.observer.events] == [
        (BackendEventKind.REFUSED, "circuit_open")
    ] * 2

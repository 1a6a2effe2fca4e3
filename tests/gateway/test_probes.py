"""What the status of a half-open probe's response says about the backend, as seen by clients."""

import pytest

from resilience.breaker.machine import State
from resilience.breaker.policy import BreakerPolicy
from routing.balancing.rules import EJECT_AFTER
from routing.observability.events import BackendEventKind
from routing.router.policy import Retries, RoutePolicy
from routing.router.table import Service
from tests.gateway.conftest import QUICK, World

BREAKER = BreakerPolicy(failure_threshold=1, success_threshold=2, half_open_permits=1)
POLICY = RoutePolicy(timeout=QUICK, cache=None, breaker=BREAKER)


def responding(status: int) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status


def state(world: World) -> State:
    return world.breakers.of("crm", BREAKER).state()


@pytest.mark.parametrize("status", [200, 304, 401, 403, 404, 409, 422])
async def test_responses_below_500_close_the_circuit(world: World, status: int) -> None:
    await world.serve(responding(500), responding(status), policy=POLICY)
    await world.request("GET", "/api/v1/crm/x")
    world.clock.advance(60)
    statuses = [(await world.request("GET", "/api/v1/crm/x")).status for _ in range(3)]
    assert (statuses, state(world)) == ([status] * 3, State.CLOSED)


@pytest.mark.parametrize("status", [408, 425, 429, 501, 520])
async def test_inconclusive_responses_return_the_permit_and_close_nothing(world: World, status: int) -> None:
    await world.serve(responding(500), *[responding(status)] * 5, responding(200), policy=POLICY)
    await world.request("GET", "/api/v1/crm/x")
    world.clock.advance(60)
    statuses = [(await world.request("GET", "/api/v1/crm/x")).status for _ in range(5)]
    assert (statuses, state(world)) == ([status] * 5, State.HALF_OPEN)
    assert [(await world.request("GET", "/api/v1/crm/x")).status for _ in range(2)] == [200, 200]
    assert state(world) is State.CLOSED


@pytest.mark.parametrize(("status", "ejected"), [(429, True), (404, False)])
async def test_inconclusive_responses_do_not_end_a_targets_row_of_failures(
    world: World, status: int, ejected: bool
) -> None:
    policy = RoutePolicy(
        timeout=QUICK, cache=None, retries=Retries(attempts=1), breaker=BreakerPolicy(failure_threshold=1_000)
    )
    mixed = [responding(500)] * (EJECT_AFTER - 1) + [responding(status), responding(500), responding(200)]
    origins = [await world.serve(*scripts, name=f"t{n}") for n, scripts in enumerate((mixed, [responding(200)]))]
    world.add(Service("crm", tuple(origin.target for origin in origins), policy=policy))
    for _ in range(64):
        await world.request("GET", "/api/v1/crm/x")
        if len(origins[0].requests) == len(mixed) - 1:
            break
    kinds = [event.kind for event in world.observer.events]
    assert (BackendEventKind.EJECTED in kinds) is ejected

"""A circuit costs no command to Redis in normal operation, and reports each transition once in the cluster."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from resilience.breaker.driver import Breaker, Breakers
from resilience.breaker.machine import Outcome, Permit, State
from resilience.breaker.policy import BreakerPolicy
from resilience.breaker.redis import RedisStore
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.waiting import FakeClock, until

POLICY = BreakerPolicy(failure_rate=0.5)


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    """Not started: the heartbeats of its feed would be counted."""
    link = RedisLink(redis_url)
    yield link
    await link.close()


def commands(server: RedisServer) -> int:
    """How many commands the server has processed, including this one."""
    with server.client() as client:
        return int(client.info("stats")["total_commands_processed"])


async def call(breaker: Breaker, outcome: Outcome) -> None:
    verdict = breaker.try_admit() or await breaker.admit()
    assert isinstance(verdict, Permit)
    await breaker.report_and_wait(verdict, outcome)


async def test_successful_calls_in_a_closed_circuit_send_no_command_to_redis(
    link: RedisLink, shared_redis: RedisServer
) -> None:
    breakers = Breakers(RedisStore(link))
    breaker = breakers.of("crm", POLICY)
    await breakers.refresh()
    cost = -commands(shared_redis) + commands(shared_redis)
    before = commands(shared_redis)
    for _ in range(1_000):
        await call(breaker, Outcome.SUCCESS)
        await call(breaker, Outcome.CANCELLED)
    assert commands(shared_redis) - before == cost
    await call(breaker, Outcome.FAILURE)
    assert commands(shared_redis) - before > 2 * cost, "a failure is shared"


async def test_a_refusal_by_an_open_circuit_sends_no_command_to_redis(
    link: RedisLink, shared_redis: RedisServer
) -> None:
    breaker = Breakers(RedisStore(link)).of("crm", POLICY)
    for _ in range(5):
        await call(breaker, Outcome.FAILURE)
    cost = -commands(shared_redis) + commands(shared_redis)
    before = commands(shared_redis)
    for _ in range(1_000):
        assert not isinstance(breaker.try_admit() or await breaker.admit(), Permit)
    assert commands(shared_redis) - before == cost


async def test_each_transition_is_reported_once_in_the_cluster_even_without_traffic(redis_url: str) -> None:
    clock, transitions = FakeClock(), list[tuple[State, State]]()
    links = [RedisLink(redis_url) for _ in range(3)]
    workers = [
        Breakers(
            RedisStore(link), clock=clock, on_change=lambda _, before, after, __: transitions.append((before, after))
        )
        for link in links
    ]
    circuits = [breakers.of("crm", POLICY) for breakers in workers]
    for each in links:
        await each.start()
        await until(lambda each=each: each.feed.alive)  # type: ignore[misc]
    for _ in range(5):
        await call(circuits[0], Outcome.FAILURE)
    for probes in ([Outcome.FAILURE], [Outcome.SUCCESS] * 2):
        await until(lambda: all(circuit.state() is State.OPEN for circuit in circuits))
        clock.now += 60
        await asyncio.gather(*(breakers.refresh() for breakers in workers))
        for outcome in probes:
            await call(circuits[1], outcome)
    for state in (State.FORCED_OPEN, State.DISABLED):
        await circuits[2].override(state, until=clock.now + 30, reason="because")
        clock.now += 30
        await asyncio.gather(*(breakers.refresh() for breakers in workers))
    names = [f"{before} {after}" for before, after in transitions]
    assert names == [
        "CLOSED OPEN",
        "OPEN HALF_OPEN",
        "HALF_OPEN OPEN",
        "OPEN HALF_OPEN",
        "HALF_OPEN CLOSED",
        "CLOSED FORCED_OPEN",
        "FORCED_OPEN CLOSED",
        "CLOSED DISABLED",
        "DISABLED CLOSED",
    ]
    for each in links:
        await each.close()

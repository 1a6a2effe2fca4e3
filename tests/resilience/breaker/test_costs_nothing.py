"""What a circuit costs while all is well: no command to Redis; and each of its moves is told once in the cluster."""

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
    """Not started: its feed would beat, and be counted."""
    link = RedisLink(redis_url)
    yield link
    await link.close()


def commands(server: RedisServer) -> int:
    """How many the server has been given so far, this question among them."""
    with server.client() as client:
        return int(client.info("stats")["total_commands_processed"])


async def call(breaker: Breaker, outcome: Outcome) -> None:
    verdict = breaker.try_admit() or await breaker.admit()
    assert isinstance(verdict, Permit)
    await breaker.report_and_wait(verdict, outcome)


async def test_calls_that_succeed_while_closed_ask_redis_nothing(link: RedisLink, shared_redis: RedisServer) -> None:
    breakers = Breakers(RedisStore(link))
    breaker = breakers.of("crm", POLICY)
    await breakers.refresh()
    asking = -commands(shared_redis) + commands(shared_redis)
    before = commands(shared_redis)
    for _ in range(1_000):
        await call(breaker, Outcome.SUCCESS)
        await call(breaker, Outcome.CANCELLED)
    assert commands(shared_redis) - before == asking
    await call(breaker, Outcome.FAILURE)
    assert commands(shared_redis) - before > 2 * asking, "a failure is shared"


async def test_a_refusal_while_open_asks_redis_nothing(link: RedisLink, shared_redis: RedisServer) -> None:
    breaker = Breakers(RedisStore(link)).of("crm", POLICY)
    for _ in range(5):
        await call(breaker, Outcome.FAILURE)
    asking = -commands(shared_redis) + commands(shared_redis)
    before = commands(shared_redis)
    for _ in range(1_000):
        assert not isinstance(breaker.try_admit() or await breaker.admit(), Permit)
    assert commands(shared_redis) - before == asking


async def test_each_move_is_told_once_in_the_cluster_without_any_traffic(redis_url: str) -> None:
    clock, told = FakeClock(), list[tuple[State, State]]()
    links = [RedisLink(redis_url) for _ in range(3)]
    workers = [
        Breakers(RedisStore(link), clock=clock, on_change=lambda _, before, after, __: told.append((before, after)))
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
    for order in (State.FORCED_OPEN, State.DISABLED):
        await circuits[2].override(order, until=clock.now + 30, reason="because")
        clock.now += 30
        await asyncio.gather(*(breakers.refresh() for breakers in workers))
    names = [f"{before} {after}" for before, after in told]
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

"""Several workers at one circuit in a real Redis, doing anything at all at once: the table and the permits hold."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import pytest

from resilience.breaker.driver import Breaker, Breakers
from resilience.breaker.machine import AUTOMATIC, OPERATOR, TRANSITIONS, Outcome, Permit, Snapshot, State
from resilience.breaker.policy import BreakerPolicy
from resilience.breaker.redis import RedisStore
from resilience.redis import RedisLink
from tests.resilience.waiting import FakeClock

POLICY = BreakerPolicy(failure_threshold=3, half_open_permits=2, permit_lease=20.0, open_for=10.0)
WORKERS = 4
STEPS = 200
REACHED = frozenset((before, after) for before, middle in AUTOMATIC for start, after in OPERATOR if start is middle)
"""What time did just before an order comes in one write with it."""


class Watched:
    """A store that keeps every change it has taken, in the order in which it took them."""

    def __init__(self, store: RedisStore, history: list[tuple[Snapshot, Snapshot]]) -> None:
        self._store = store
        self._history = history

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        return await self._store.load(names)

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        instead = await self._store.swap(name, before, after)
        if instead is None:
            self._history.append((before, after))
        return instead

    def listen(self, listener: Callable[[str, Snapshot], None]) -> None:
        self._store.listen(listener)


async def anything(breaker: Breaker, clock: FakeClock, chance: random.Random) -> None:
    for _ in range(STEPS):
        match chance.randrange(60):
            case 0:
                await breaker.override(State.CLOSED, reason="reset")
            case 1:
                await breaker.override(chance.choice((State.FORCED_OPEN, State.DISABLED)), clock.now + 2.0)
            case 2 | 3 | 4 | 6 | 7:
                clock.now += chance.choice((1.0, 11.0))
            case 5:
                await breaker.advance()
            case _:
                await one_call(breaker, chance)


async def one_call(breaker: Breaker, chance: random.Random) -> None:
    verdict = breaker.try_admit() or await breaker.admit()
    await asyncio.sleep(0)
    if isinstance(verdict, Permit):
        await breaker.report_and_wait(verdict, chance.choices(list(Outcome), (3, 6, 1))[0])


@pytest.mark.parametrize("seed", range(5))
async def test_no_move_is_outside_the_table_and_no_probe_beyond_the_permits(redis_url: str, seed: int) -> None:
    clock, history = FakeClock(), list[tuple[Snapshot, Snapshot]]()
    async with AsyncExitStack() as stack:
        circuits = []
        for number in range(WORKERS):
            link = RedisLink(redis_url)
            breakers = Breakers(Watched(RedisStore(link), history), clock=clock, holder=f"worker-{number}")
            await link.start()
            stack.push_async_callback(link.close)
            stack.push_async_callback(breakers.close)
            circuits.append(breakers.of("crm", POLICY))
        racing = (
            anything(circuit, clock, random.Random(f"{seed}-{number}")) for number, circuit in enumerate(circuits)
        )
        await asyncio.gather(*racing)
    assert {after.state for _, after in history} == set(State)
    for before, after in history:
        moves = after.generation - before.generation
        assert 0 <= moves <= 2
        if moves == 1:
            assert (before.state, after.state) in TRANSITIONS
        if moves == 2:
            assert (before.state, after.state) in REACHED
        assert len(after.leases) <= POLICY.half_open_permits


async def test_every_generation_is_taken_once(redis_url: str) -> None:
    link, other = RedisLink(redis_url), RedisLink(redis_url)
    stores = RedisStore(link), RedisStore(other)
    taken = await asyncio.gather(
        *(store.swap("crm", Snapshot(), Snapshot(state=State.OPEN, generation=1, until=2.0)) for store in stores * 10)
    )
    assert taken.count(None) == 1
    for each in (link, other):
        await each.close()

"""Several workers at one circuit in a real Redis, concurrently in any order: transitions and permits stay legal."""

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
TWO_STEPS = frozenset((before, after) for before, middle in AUTOMATIC for start, after in OPERATOR if start is middle)
"""A transition that was due and an override after it are stored in one write."""


class RecordingStore:
    """A store that records every change in order."""

    def __init__(self, store: RedisStore, history: list[tuple[Snapshot, Snapshot]]) -> None:
        self._store = store
        self._history = history

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        return await self._store.load(names)

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        stored = await self._store.swap(name, before, after)
        if stored is None:
            self._history.append((before, after))
        return stored

    def listen(self, listener: Callable[[str, Snapshot], None]) -> None:
        self._store.listen(listener)


async def act_at_random(breaker: Breaker, clock: FakeClock, chance: random.Random) -> None:
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
async def test_every_transition_is_legal_and_no_probe_exceeds_the_permits(redis_url: str, seed: int) -> None:
    clock, history = FakeClock(), list[tuple[Snapshot, Snapshot]]()
    async with AsyncExitStack() as stack:
        circuits = []
        for number in range(WORKERS):
            link = RedisLink(redis_url)
            breakers = Breakers(RecordingStore(RedisStore(link), history), clock=clock, holder=f"worker-{number}")
            await link.start()
            stack.push_async_callback(link.close)
            stack.push_async_callback(breakers.close)
            circuits.append(breakers.of("crm", POLICY))
        racing = (
            act_at_random(circuit, clock, random.Random(f"{seed}-{number}")) for number, circuit in enumerate(circuits)
        )
        await asyncio.gather(*racing)
    assert {after.state for _, after in history} == set(State)
    for before, after in history:
        steps = after.generation - before.generation
        assert 0 <= steps <= 2
        if steps == 1:
            assert (before.state, after.state) in TRANSITIONS
        if steps == 2:
            assert (before.state, after.state) in TWO_STEPS
        assert len(after.leases) <= POLICY.half_open_permits


async def test_every_generation_is_stored_once(redis_url: str) -> None:
    link, other = RedisLink(redis_url), RedisLink(redis_url)
    stores = RedisStore(link), RedisStore(other)
    stored = await asyncio.gather(
        *(store.swap("crm", Snapshot(), Snapshot(state=State.OPEN, generation=1, until=2.0)) for store in stores * 10)
    )
    assert stored.count(None) == 1
    for each in (link, other):
        await each.close()

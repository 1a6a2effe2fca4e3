"""Several workers at one circuit, concurrently and in any order, over memory and a real Redis, with outages."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from resilience.breaker.driver import Breakers
from resilience.breaker.machine import AUTOMATIC, TRANSITIONS, Outcome, Permit, Snapshot, State
from resilience.breaker.memory import MemoryStore
from resilience.breaker.policy import BreakerPolicy
from resilience.breaker.redis import RedisStore
from resilience.breaker.store import SnapshotListener, Store
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from tests.resilience.waiting import FakeClock

POLICY = BreakerPolicy(
    failure_threshold=2,
    window=30.0,
    open_for=10.0,
    open_factor=2.0,
    open_max=40.0,
    half_open_permits=2,
    permit_lease=20.0,
    failure_rate=0.9,
    minimum_calls=4,
)
WORKERS = 3
OVERRIDES = {"reset": State.CLOSED, "force open": State.FORCED_OPEN, "disable": State.DISABLED}
ACTIONS = ["begin", "begin", *Outcome, "fail", "fail", *["succeed"] * 4, "refresh"]
RACE = st.lists(st.tuples(st.integers(0, WORKERS - 1), st.sampled_from(ACTIONS)), min_size=1, max_size=8)
SETTINGS = settings(
    max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class RecordingStore:
    """A store that records every change in order, and that can become unavailable to one worker."""

    def __init__(self, store: Store, history: list[tuple[Snapshot, Snapshot]]) -> None:
        self.unavailable = False
        self._store = store
        self._history = history

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        return await self._available_store().load(names)

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        stored = await self._available_store().swap(name, before, after)
        if stored is None:
            self._history.append((before, after))
        return stored

    def listen(self, listener: SnapshotListener) -> None:
        self._store.listen(listener)

    def _available_store(self) -> Store:
        if self.unavailable:
            raise StoreUnavailable
        return self._store


@dataclass
class Call:
    """An admitted call. `until` is when its probe's permit expires."""

    worker: int
    permit: Permit
    until: float
    ended: bool = False


class Race(RuleBasedStateMachine):
    """Calls begin and end, workers die, operators override, time passes: every transition is legal in any order."""

    circuits: Iterator[int] = itertools.count()

    def __init__(self, stores: Callable[[], tuple[Store, RedisLink | None]], seen: set[tuple[State, State]]) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.name = f"crm-{next(self.circuits)}"  # another one than the last example's
        self.history: list[tuple[Snapshot, Snapshot]] = []
        self.transitions = seen
        self.calls: list[Call] = []
        self.stores: list[RecordingStore] = []
        self.links: list[RedisLink] = []
        self.workers: list[Breakers] = []
        self.runner.run(self.open(stores))

    async def open(self, stores: Callable[[], tuple[Store, RedisLink | None]]) -> None:
        for number in range(WORKERS):
            store, link = stores()
            self.stores.append(RecordingStore(store, self.history))
            self.workers.append(
                Breakers(
                    self.stores[-1],
                    clock=self.clock,
                    holder=f"worker-{number}",
                    on_change=lambda _name, before, after, _reason: self.transitions.add((before, after)),
                )
            )
            self.workers[-1].of(self.name, POLICY)
            if link:
                self.links.append(link)
                await link.start()

    def teardown(self) -> None:
        async def close() -> None:
            for worker in self.workers:
                await worker.close()
            for link in self.links:
                await link.close()

        self.runner.run(close())
        self.runner.close()

    @initialize()
    def all_begin_closed(self) -> None:
        assert {worker.of(self.name, POLICY).state() for worker in self.workers} == {State.CLOSED}

    @rule(race=RACE)
    def they_race(self, race: list[tuple[int, str]]) -> None:
        async def all_at_once() -> None:
            await asyncio.gather(*(self.act(number, action) for number, action in race))

        self.runner.run(all_at_once())

    async def act(self, number: int, action: str) -> None:
        match action:
            case "begin":
                await self.begin_call(number)
            case "fail" | "succeed":
                call = await self.begin_call(number)
                await asyncio.sleep(0)
                if call is not None:
                    await self.end_call(call, Outcome.FAILURE if action == "fail" else Outcome.SUCCESS)
            case "refresh":
                await self.workers[number].refresh()
            case Outcome():
                in_progress = [call for call in self.calls if call.worker == number and not call.ended]
                if in_progress:
                    await self.end_call(in_progress[-1], action)

    async def begin_call(self, number: int) -> Call | None:
        breaker = self.workers[number].of(self.name, POLICY)
        verdict = breaker.try_admit() or await breaker.admit()
        if not isinstance(verdict, Permit):
            return None
        self.calls.append(Call(number, verdict, self.clock.now + POLICY.permit_lease))
        return self.calls[-1]

    async def end_call(self, call: Call, outcome: Outcome) -> None:
        call.ended = True
        await self.workers[call.worker].of(self.name, POLICY).report_and_wait(call.permit, outcome)

    @rule(number=st.integers(0, WORKERS - 1), name=st.sampled_from(list(OVERRIDES)), race=RACE)
    def an_operator_overrides_during_a_race(self, number: int, name: str, race: list[tuple[int, str]]) -> None:
        until = None if name == "reset" else self.clock.now + 15.0

        async def all_at_once() -> None:
            override = self.workers[number].of(self.name, POLICY).override(OVERRIDES[name], until, reason=name)
            await asyncio.gather(override, *(self.act(*one) for one in race))

        self.runner.run(all_at_once())

    @rule(race=RACE)
    def they_race_when_the_state_ends(self, race: list[tuple[int, str]]) -> None:
        """At the end of an open time or an override, which no worker has seen yet."""
        until = max(worker.of(self.name, POLICY)._snapshot.until or 0.0 for worker in self.workers)
        self.clock.now = max(self.clock.now, until)
        self.they_race(race)

    @rule(seconds=st.sampled_from((0.5, 5.0, 25.0)))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(number=st.integers(0, WORKERS - 1))
    def a_worker_dies_and_another_takes_its_place(self, number: int) -> None:
        """Its calls never report; until their leases expire they may be in progress."""
        for call in self.calls:
            if call.worker == number and not call.ended:
                call.worker = WORKERS

    @rule()
    def all_refresh(self) -> None:
        self.runner.run(self.refresh_all())
        stored = self.runner.run(self.stores[0].load([self.name]))[0]
        assert [worker.of(self.name, POLICY)._snapshot for worker in self.workers] == [stored] * WORKERS

    async def refresh_all(self) -> None:
        for _ in range(2):  # the first refresh may make a transition that is due
            for worker in self.workers:
                await worker.refresh()

    @invariant()
    def every_transition_is_legal(self) -> None:
        assert self.transitions <= TRANSITIONS

    @invariant()
    def no_snapshot_has_more_leases_than_permits(self) -> None:
        assert all(len(after.leases) <= POLICY.half_open_permits for _, after in self.history)


class AnyRace(Race):
    """All workers use one store, so there are never more probes than permits."""

    @invariant()
    def never_more_probes_in_progress_than_permits(self) -> None:
        probing = Counter(
            call.permit.generation
            for call in self.calls
            if call.permit.holder and not call.ended and call.until > self.clock.now
        )
        assert all(number <= POLICY.half_open_permits for number in probing.values())


class AnyOutage(Race):
    """Each worker may lose the store and find it again: alone it grants its own permits, and afterwards all agree."""

    @rule(number=st.integers(0, WORKERS - 1))
    def a_worker_loses_the_store(self, number: int) -> None:
        self.stores[number].unavailable = True

    @rule(number=st.integers(0, WORKERS - 1))
    def a_worker_finds_it_again(self, number: int) -> None:
        self.stores[number].unavailable = False

    @rule()
    def all_refresh(self) -> None:
        for store in self.stores:
            store.unavailable = False
        super().all_refresh()
        assert not any(worker.degraded for worker in self.workers)


def memory() -> Callable[[], tuple[Store, None]]:
    shared = MemoryStore()
    return lambda: (shared, None)


def redis(url: str) -> Callable[[], tuple[Store, RedisLink]]:
    def worker() -> tuple[Store, RedisLink]:
        link = RedisLink(url)
        return RedisStore(link), link

    return worker


def run(made: Callable[[], Race], how: settings) -> None:
    run_state_machine_as_test(made, settings=how)  # type: ignore[arg-type] # any factory, as its documentation says


@pytest.mark.parametrize("machine", [AnyRace, AnyOutage])
def test_in_memory(machine: type[Race]) -> None:
    seen: set[tuple[State, State]] = set()
    run(lambda: machine(memory(), seen), settings(SETTINGS, derandomize=True))
    assert seen >= AUTOMATIC, "every automatic transition has been raced"


@pytest.mark.parametrize("machine", [AnyRace, AnyOutage])
def test_over_redis(machine: type[Race], redis_url: str) -> None:
    run(lambda: machine(redis(redis_url), set()), SETTINGS)

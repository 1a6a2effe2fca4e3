"""Several workers at one circuit, in any order and all at once, over memory and a real Redis, with it and without."""

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
ORDERS = {"reset": State.CLOSED, "force open": State.FORCED_OPEN, "disable": State.DISABLED}
ACTIONS = ["begin", "begin", *Outcome, "fail", "fail", *["succeed"] * 4, "look"]
RACE = st.lists(st.tuples(st.integers(0, WORKERS - 1), st.sampled_from(ACTIONS)), min_size=1, max_size=8)
SETTINGS = settings(
    max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class Watched:
    """A store that keeps every change it took, in that order, and that one worker can lose."""

    def __init__(self, store: Store, history: list[tuple[Snapshot, Snapshot]]) -> None:
        self.unavailable = False
        self._store = store
        self._history = history

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        return await self._there().load(names)

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        instead = await self._there().swap(name, before, after)
        if instead is None:
            self._history.append((before, after))
        return instead

    def listen(self, listener: SnapshotListener) -> None:
        self._store.listen(listener)

    def _there(self) -> Store:
        if self.unavailable:
            raise StoreUnavailable
        return self._store


@dataclass
class Call:
    """One that was let through. `until` is when its probe's permit is over."""

    worker: int
    permit: Permit
    until: float
    ended: bool = False


class Race(RuleBasedStateMachine):
    """Calls begin and end, workers die, operators order, time passes: whatever races, the table holds."""

    circuits: Iterator[int] = itertools.count()

    def __init__(self, stores: Callable[[], tuple[Store, RedisLink | None]], seen: set[tuple[State, State]]) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.name = f"crm-{next(self.circuits)}"  # nothing of the last example's
        self.history: list[tuple[Snapshot, Snapshot]] = []
        self.moves = seen
        self.calls: list[Call] = []
        self.stores: list[Watched] = []
        self.links: list[RedisLink] = []
        self.workers: list[Breakers] = []
        self.runner.run(self.open(stores))

    async def open(self, stores: Callable[[], tuple[Store, RedisLink | None]]) -> None:
        for number in range(WORKERS):
            store, link = stores()
            self.stores.append(Watched(store, self.history))
            self.workers.append(
                Breakers(
                    self.stores[-1],
                    clock=self.clock,
                    holder=f"worker-{number}",
                    on_change=lambda _name, before, after, _reason: self.moves.add((before, after)),
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
            await asyncio.gather(*(self.does(number, action) for number, action in race))

        self.runner.run(all_at_once())

    async def does(self, number: int, action: str) -> None:
        match action:
            case "begin":
                await self.begins(number)
            case "fail" | "succeed":
                call = await self.begins(number)
                await asyncio.sleep(0)
                if call is not None:
                    await self.ends(call, Outcome.FAILURE if action == "fail" else Outcome.SUCCESS)
            case "look":
                await self.workers[number].refresh()
            case Outcome():
                under_way = [call for call in self.calls if call.worker == number and not call.ended]
                if under_way:
                    await self.ends(under_way[-1], action)

    async def begins(self, number: int) -> Call | None:
        breaker = self.workers[number].of(self.name, POLICY)
        verdict = breaker.try_admit() or await breaker.admit()
        if not isinstance(verdict, Permit):
            return None
        self.calls.append(Call(number, verdict, self.clock.now + POLICY.permit_lease))
        return self.calls[-1]

    async def ends(self, call: Call, outcome: Outcome) -> None:
        call.ended = True
        await self.workers[call.worker].of(self.name, POLICY).report_and_wait(call.permit, outcome)

    @rule(number=st.integers(0, WORKERS - 1), word=st.sampled_from(list(ORDERS)), race=RACE)
    def an_operator_orders_amid_a_race(self, number: int, word: str, race: list[tuple[int, str]]) -> None:
        until = None if word == "reset" else self.clock.now + 15.0

        async def all_at_once() -> None:
            order = self.workers[number].of(self.name, POLICY).override(ORDERS[word], until, reason=word)
            await asyncio.gather(order, *(self.does(*one) for one in race))

        self.runner.run(all_at_once())

    @rule(race=RACE)
    def they_race_once_the_state_is_over(self, race: list[tuple[int, str]]) -> None:
        """An open time's end, or an override's: what all of them wait for, and none has seen yet."""
        until = max(worker.of(self.name, POLICY)._snapshot.until or 0.0 for worker in self.workers)
        self.clock.now = max(self.clock.now, until)
        self.they_race(race)

    @rule(seconds=st.sampled_from((0.5, 5.0, 25.0)))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(number=st.integers(0, WORKERS - 1))
    def a_worker_dies_and_another_takes_its_place(self, number: int) -> None:
        """Its calls are never heard of again; until their leases end they may still be under way."""
        for call in self.calls:
            if call.worker == number and not call.ended:
                call.worker = WORKERS

    @rule()
    def all_look(self) -> None:
        self.runner.run(self.everybody_looks())
        stored = self.runner.run(self.stores[0].load([self.name]))[0]
        assert [worker.of(self.name, POLICY)._snapshot for worker in self.workers] == [stored] * WORKERS

    async def everybody_looks(self) -> None:
        for _ in range(2):  # the first to look may change what it finds: an open time that is over
            for worker in self.workers:
                await worker.refresh()

    @invariant()
    def no_move_is_outside_the_table(self) -> None:
        assert self.moves <= TRANSITIONS

    @invariant()
    def no_snapshot_has_more_leases_than_permits(self) -> None:
        assert all(len(after.leases) <= POLICY.half_open_permits for _, after in self.history)


class AnyRace(Race):
    """All over one store: nor are there ever more probes than permits."""

    @invariant()
    def never_more_probes_under_way_than_permits(self) -> None:
        probing = Counter(
            call.permit.generation
            for call in self.calls
            if call.permit.holder and not call.ended and call.until > self.clock.now
        )
        assert all(number <= POLICY.half_open_permits for number in probing.values())


class AnyOutage(Race):
    """Each worker loses the store and finds it again: alone it gives permits of its own, and afterwards all agree."""

    @rule(number=st.integers(0, WORKERS - 1))
    def a_worker_loses_the_store(self, number: int) -> None:
        self.stores[number].unavailable = True

    @rule(number=st.integers(0, WORKERS - 1))
    def a_worker_finds_it_again(self, number: int) -> None:
        self.stores[number].unavailable = False

    @rule()
    def all_look(self) -> None:
        for store in self.stores:
            store.unavailable = False
        super().all_look()
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
    assert seen >= AUTOMATIC, "all of the table's own moves have been raced through"


@pytest.mark.parametrize("machine", [AnyRace, AnyOutage])
def test_over_redis(machine: type[Race], redis_url: str, patient_links: None) -> None:
    run(lambda: machine(redis(redis_url), set()), SETTINGS)

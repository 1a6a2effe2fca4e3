"""The circuits of several workers over one store, in memory and in a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import pytest

from resilience.breaker.driver import Breaker, Breakers
from resilience.breaker.machine import Admission, IllegalTransition, Outcome, Permit, Refusal, Snapshot, State, judge
from resilience.breaker.memory import MemoryStore
from resilience.breaker.policy import BreakerPolicy
from resilience.breaker.redis import RedisStore
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.waiting import FakeClock, until

POLICY = BreakerPolicy()
Worker = Callable[[], Awaitable[Breakers]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def changes() -> list[tuple[str, State, State]]:
    return []


@pytest.fixture(params=["memory", "redis"])
async def worker(
    request: pytest.FixtureRequest, clock: FakeClock, changes: list[tuple[str, State, State]]
) -> AsyncIterator[Worker]:
    memory = MemoryStore()
    async with AsyncExitStack() as stack:

        async def new_worker() -> Breakers:
            if request.param == "memory":
                store: MemoryStore | RedisStore = memory
            else:
                link = RedisLink(request.getfixturevalue("redis_url"))
                store = RedisStore(link)
            breakers = Breakers(
                store, clock=clock, on_change=lambda name, before, after, _: changes.append((name, before, after))
            )
            if request.param == "redis":
                await link.start()
                stack.push_async_callback(link.close)
                await until(lambda: link.feed.alive)
            stack.push_async_callback(breakers.close)
            return breakers

        if request.param == "redis":
            request.getfixturevalue("redis_url")
        yield new_worker


class CountingStore(MemoryStore):
    """Counts loads. While `delay` is set, a load waits for it after reading."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = 0
        self.waiting = False
        self.delay: asyncio.Event | None = None

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        self.loads += 1
        snapshots = await super().load(names)
        if self.delay is not None:
            self.waiting = True
            await self.delay.wait()
        await asyncio.sleep(0)
        return snapshots


async def admitted(breaker: Breaker) -> Permit:
    admission = await admission_by(breaker)
    assert isinstance(admission, Permit)
    return admission


async def admission_by(breaker: Breaker) -> Admission:
    return breaker.try_admit() or await breaker.admit()


async def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        await breaker.report_and_wait(await admitted(breaker), Outcome.FAILURE)


async def test_failures_spread_over_two_workers_open_the_circuit_in_both(
    worker: Worker, changes: list[tuple[str, State, State]]
) -> None:
    first, second = (await worker()).of("slack", POLICY), (await worker()).of("slack", POLICY)
    await asyncio.gather(fail(first, 3), fail(second, 2))
    await until(lambda: first.state() is State.OPEN and second.state() is State.OPEN)
    assert changes == [("slack", State.CLOSED, State.OPEN)]
    assert await admission_by(second) == Refusal(State.OPEN, 60.0)


async def test_concurrent_workers_send_no_more_probes_than_permits(worker: Worker, clock: FakeClock) -> None:
    workers = [(await worker()).of("slack", POLICY) for _ in range(4)]
    await fail(workers[0], 5)
    await until(lambda: all(breaker.state() is State.OPEN for breaker in workers))
    clock.now += 60
    verdicts = await asyncio.gather(*(breaker.admit() for breaker in workers for _ in range(5)))
    assert sum(isinstance(verdict, Permit) for verdict in verdicts) == POLICY.half_open_permits


async def half_open(breaker: Breaker, clock: FakeClock) -> None:
    await fail(breaker, 5)
    clock.now += 60


async def test_after_a_finished_probe_another_worker_admits_the_next_at_once(worker: Worker, clock: FakeClock) -> None:
    policy = BreakerPolicy(half_open_permits=1, success_threshold=3)
    workers = [(await worker()).of("slack", policy) for _ in range(2)]
    await fail(workers[0], 5)
    await until(lambda: all(breaker.state() is State.OPEN for breaker in workers))
    clock.now += 60
    for turn in range(3):
        permit = await admitted(workers[turn % 2])
        refused = await admission_by(workers[(turn + 1) % 2])  # from now on its mirror shows the lease
        assert isinstance(refused, Refusal)
        await workers[turn % 2].report_and_wait(permit, Outcome.SUCCESS)
    await admitted(workers[1])


async def test_a_flood_against_another_workers_probe_reads_the_store_twice_at_most(clock: FakeClock) -> None:
    store = CountingStore()
    policy = BreakerPolicy(half_open_permits=1)
    probing, flooded = (Breakers(store, clock=clock).of("slack", policy) for _ in range(2))
    await half_open(probing, clock)
    await admitted(probing)
    assert isinstance(await admission_by(flooded), Refusal)
    store.loads = 0
    verdicts = await asyncio.gather(*(admission_by(flooded) for _ in range(500)))
    assert all(isinstance(verdict, Refusal) for verdict in verdicts)
    assert store.loads <= 2


async def test_a_refresh_that_began_before_a_probe_ended_does_not_bring_its_lease_back(clock: FakeClock) -> None:
    store = CountingStore()
    breakers = Breakers(store, clock=clock)
    breaker = breakers.of("slack", POLICY)
    await half_open(breaker, clock)
    permit = await admitted(breaker)
    store.delay = asyncio.Event()
    refreshing = asyncio.create_task(breakers.refresh())
    await until(lambda: store.waiting)
    await breaker.report_and_wait(permit, Outcome.SUCCESS)
    store.delay.set()
    await refreshing
    assert not breaker.snapshot.leases


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, Outcome.SUCCESS) for status in (101, 200, 204, 301, 304, 400, 401, 403, 404, 409, 422, 451)),
        *((status, Outcome.CANCELLED) for status in (408, 425, 429, 501, 505, 507, 520, 599)),
        *((status, Outcome.FAILURE) for status in (500, 502, 503, 504)),
    ],
)
def test_what_a_status_says_about_the_backend(status: int, outcome: Outcome) -> None:
    policy = BreakerPolicy(slow_call=1)
    assert judge(policy, status, 0.5) is outcome
    assert judge(policy, status, 1.5) is (Outcome.FAILURE if outcome is Outcome.SUCCESS else outcome)


async def test_two_successful_probes_close_it(worker: Worker, clock: FakeClock) -> None:
    breaker = (await worker()).of("slack", POLICY)
    await half_open(breaker, clock)
    for _ in range(2):
        await breaker.report_and_wait(await admitted(breaker), judge(POLICY, 200, 0.1))
    assert breaker.state() is State.CLOSED


async def test_a_cancelled_probe_returns_its_permit(worker: Worker, clock: FakeClock) -> None:
    breakers = await worker()
    breaker = breakers.of("slack", POLICY)
    await half_open(breaker, clock)
    inside = asyncio.Event()

    async def probe() -> None:
        permit = await admitted(breaker)
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            await breaker.report_and_wait(permit, Outcome.CANCELLED)

    task = asyncio.create_task(probe())
    await inside.wait()
    assert len(breaker.snapshot.leases) == 1
    task.cancel()
    await asyncio.wait([task])
    await breakers.close()
    assert breaker.state() is State.HALF_OPEN
    assert not breaker.snapshot.leases


async def test_a_caller_cancelled_during_admission_holds_no_permit(worker: Worker, clock: FakeClock) -> None:
    breakers = await worker()
    breaker = breakers.of("slack", POLICY)
    await half_open(breaker, clock)
    admission = asyncio.create_task(breaker.admit())
    await asyncio.sleep(0)
    admission.cancel()
    await asyncio.wait([admission])
    await breakers.close()
    assert not breaker.snapshot.leases


async def test_a_dead_workers_permits_return_when_their_lease_ends(worker: Worker, clock: FakeClock) -> None:
    dead, alive = (await worker()).of("slack", POLICY), (await worker()).of("slack", POLICY)
    await half_open(dead, clock)
    for _ in range(2):
        assert isinstance(await dead.admit(), Permit)
    await until(lambda: alive.state() is State.HALF_OPEN)
    assert isinstance(await alive.admit(), Refusal)
    clock.now += POLICY.permit_lease
    assert isinstance(await alive.admit(), Permit)


async def test_an_outcome_of_an_earlier_generation_is_ignored(worker: Worker, clock: FakeClock) -> None:
    breaker = (await worker()).of("slack", POLICY)
    early = breaker.try_admit()
    assert isinstance(early, Permit)
    await half_open(breaker, clock)
    await breaker.report_and_wait(early, Outcome.FAILURE)
    assert breaker.state() is State.HALF_OPEN


async def test_an_override_reaches_every_worker_and_expires(worker: Worker, clock: FakeClock) -> None:
    one, other = await worker(), await worker()
    first, second = one.of("slack", POLICY), other.of("slack", POLICY)
    await first.override(State.FORCED_OPEN, until=clock.now + 30, reason="maintenance")
    await until(lambda: second.state() is State.FORCED_OPEN)
    assert second.snapshot.reason == "maintenance"
    clock.now += 30
    await other.refresh()
    await until(lambda: first.state() is State.CLOSED)
    with pytest.raises(IllegalTransition):
        await first.override(State.HALF_OPEN)


async def test_a_shorter_open_time_holds_for_a_circuit_that_is_open(worker: Worker, clock: FakeClock) -> None:
    one, other = await worker(), await worker()
    first, second = one.of("slack", POLICY), other.of("slack", POLICY)
    await fail(first, 5)
    await until(lambda: second.state() is State.OPEN)
    opened, clock.now = clock.now, clock.now + 10
    for breakers in (one, other):  # each worker loads the configuration for itself
        breakers.of("slack", BreakerPolicy(open_for=5))
        await breakers.refresh()
    assert [breaker.snapshot.until for breaker in (first, second)] == [opened + 15] * 2
    one.of("slack", BreakerPolicy(open_for=600))
    await one.refresh()
    assert first.snapshot.until == opened + 15  # a longer one holds from the next opening on
    clock.now = opened + 15
    assert second.state() is State.HALF_OPEN


async def test_clocks_that_differ_leave_the_open_time_alone(clock: FakeClock) -> None:
    store = MemoryStore()
    first = Breakers(store, clock=clock)
    behind = FakeClock()
    behind.now = clock.now - 1
    late = Breakers(store, clock=behind)
    await fail(first.of("slack", POLICY), 5)
    breaker = late.of("slack", POLICY)
    await late.refresh()
    assert breaker.snapshot.until == clock.now + 60


async def test_a_worker_that_starts_later_loads_the_current_state(worker: Worker) -> None:
    await (await worker()).of("slack", POLICY).override(State.DISABLED)
    late = await worker()
    breaker = late.of("slack", POLICY)
    await late.refresh()
    assert breaker.state() is State.DISABLED


async def test_it_opens_at_the_failure_rate(worker: Worker) -> None:
    policy = BreakerPolicy(failure_threshold=1_000, failure_rate=0.5, slow_call=1.0)
    breaker = (await worker()).of("slack", policy)
    for number in range(20):
        assert breaker.state() is State.CLOSED
        await breaker.report_and_wait(await admitted(breaker), judge(policy, 200, 2.0 if number % 2 else 0.1))
    assert breaker.state() is State.OPEN


async def test_without_redis_each_worker_decides_alone_and_stores_its_transitions_afterwards(
    own_redis: RedisServer, clock: FakeClock
) -> None:
    links = [RedisLink(own_redis.url) for _ in range(2)]
    workers = [Breakers(RedisStore(link), clock=clock) for link in links]
    first, second = (breakers.of("slack", POLICY) for breakers in workers)
    for link in links:
        await link.start()
    await fail(first, 2)
    own_redis.stop()
    await fail(first, 3)
    assert (first.state(), workers[0].degraded, second.state()) == (State.OPEN, True, State.CLOSED)
    own_redis.start()
    await until(lambda: not any(link.unavailable for link in links))
    for breakers in workers:
        await breakers.refresh()
    assert (second.state(), workers[0].degraded) == (State.OPEN, False)
    for link in links:
        await link.close()


class RemoteStore(MemoryStore):
    """A shared store that is away while `away`."""

    away = False

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        self._require()
        return await super().load(names)

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        self._require()
        return await super().swap(name, before, after)

    def _require(self) -> None:
        if self.away:
            raise StoreUnavailable


@pytest.mark.parametrize("first_to_return", [0, 1])
@pytest.mark.parametrize(
    ("decisions", "kept"),
    [
        ([(0, State.FORCED_OPEN), (1, State.CLOSED)], State.CLOSED),
        ([(0, State.FORCED_OPEN), (1, State.DISABLED), (0, State.CLOSED)], State.CLOSED),
        ([(0, State.FORCED_OPEN)], State.FORCED_OPEN),
        ([(0, State.FORCED_OPEN), (0, State.CLOSED), (0, State.FORCED_OPEN), (1, State.DISABLED)], State.DISABLED),
    ],
)
async def test_the_operators_last_decision_is_kept_when_the_store_is_back(
    clock: FakeClock, first_to_return: int, decisions: list[tuple[int, State]], kept: State
) -> None:
    """Whichever worker took it, which returns first, and however often the others' circuits have opened meanwhile."""
    store = RemoteStore()
    workers = [Breakers(store, clock=clock) for _ in range(2)]
    circuits = [breakers.of("slack", POLICY) for breakers in workers]
    store.away = True
    await fail(circuits[1], 5)
    clock.now += POLICY.open_for
    await circuits[1].advance()
    for number, state in decisions:
        clock.now += 1
        await circuits[number].override(state)
    store.away = False
    for breakers in (workers[first_to_return], workers[1 - first_to_return], *workers):
        await breakers.refresh()
    assert [circuit.state() for circuit in circuits] == [kept, kept]


async def test_a_decision_counts_though_the_clock_was_set_back(clock: FakeClock) -> None:
    breaker = Breakers(MemoryStore(), clock=clock).of("slack", POLICY)
    await breaker.override(State.FORCED_OPEN)
    clock.now -= 3_600
    await breaker.override(State.CLOSED)
    assert breaker.state() is State.CLOSED

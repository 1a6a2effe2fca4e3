"""Health checks over real sockets: one worker asks, all go by it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest

from resilience.outage import StoreUnavailable
from routing.backend.client import Backend
from routing.balancing.balancer import Balancers
from routing.balancing.health_checks import HealthChecker
from routing.balancing.memory import MemoryStore
from routing.balancing.rules import HealthVerdict
from routing.balancing.store import Store
from routing.observability.events import BackendEvent, BackendEventKind
from routing.router.policy import HealthCheckPolicy, RoutePolicy, Target
from routing.router.table import Service
from tests.clock import FakeClock
from tests.origin import Peer, Script, ScriptedOrigin

WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ILL = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
ASKED = HealthCheckPolicy(path="/up?deep=1", interval=10, timeout=5, down_after=2, up_after=1)


class Removable:
    """A store that can be taken away."""

    def __init__(self, store: Store) -> None:
        self.unavailable = False
        self._store = store

    def _there(self) -> Store:
        if self.unavailable:
            raise StoreUnavailable
        return self._store

    async def lead(self, holder: str, seconds: float) -> bool:
        return await self._there().lead(holder, seconds)

    async def load(self) -> Mapping[str, HealthVerdict]:
        return await self._there().load()

    async def save(self, holder: str, verdicts: Mapping[str, HealthVerdict]) -> bool:
        return await self._there().save(holder, verdicts)


class Scene:
    """Two workers over one store, and a service of scripted targets."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events: list[BackendEvent] = []
        self.services: list[Service] = []
        self.backend = Backend()
        self.targets = [Balancers(clock=self.clock, emit=self.events.append) for _ in range(2)]
        self.memory = MemoryStore(self.clock)
        self.store = Removable(self.memory)
        self.probers = [
            HealthChecker(
                self.backend, self.store, targets, lambda: self.services, emit=self.events.append, clock=self.clock
            )
            for targets in self.targets
        ]

    async def round(self) -> None:
        """One interval: who leads asks, and both take over what it found."""
        self.clock.advance(10)
        for prober in self.probers:
            await prober.check()
        for prober in self.probers:
            await prober.wait_for_checks()
        for prober in self.probers:
            await prober.check()

    def called(self, worker: int, times: int = 40) -> set[str]:
        balancer = self.targets[worker].of(self.services[0])
        taken = [balancer.pick([]) for _ in range(times)]
        for state in taken:
            balancer.release(state)
        return {state.target.url for state in taken}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def scene(
    stack: AsyncExitStack, *scripts: list[Script], health: HealthCheckPolicy = ASKED
) -> tuple[Scene, list[ScriptedOrigin]]:
    made = Scene()
    stack.push_async_callback(made.backend.close)
    origins = [await stack.enter_async_context(ScriptedOrigin(*script)) for script in scripts]
    policy = RoutePolicy(health=health, headers=((b"authorization", b"Bearer backend"),))
    made.services.append(Service("crm", tuple(origin.target for origin in origins), policy=policy))
    return made, origins


async def test_a_target_that_fails_its_checks_is_left_out_by_every_worker_and_comes_back(stack: AsyncExitStack) -> None:
    made, (well, ill) = await scene(stack, [WELL], [ILL, ILL, WELL])
    await made.round()
    assert made.called(0) == {well.url, ill.url}
    await made.round()
    assert [made.called(worker) for worker in (0, 1)] == [{well.url}] * 2
    await made.round()
    made.clock.advance(60)
    assert [made.called(worker) for worker in (0, 1)] == [{well.url, ill.url}] * 2
    told = [(event.kind, event.service, event.target) for event in made.events]
    assert told == [(BackendEventKind.DOWN, "crm", ill.url), (BackendEventKind.UP, "crm", ill.url)], (
        "by one worker for all"
    )


async def test_one_of_the_workers_asks_with_the_services_own_headers(stack: AsyncExitStack) -> None:
    made, (origin,) = await scene(stack, [WELL])
    for _ in range(3):
        await made.round()
    assert [request.line for request in origin.requests] == [b"GET /up?deep=1 HTTP/1.1"] * 3
    assert (b"authorization", b"Bearer backend") in origin.requests[0].fields


async def test_nobody_is_asked_before_it_is_due(stack: AsyncExitStack) -> None:
    made, (origin,) = await scene(stack, [WELL])
    await made.round()
    made.clock.advance(9.9)
    for prober in made.probers:
        await prober.check()
        await prober.wait_for_checks()
    assert len(origin.requests) == 1


async def test_a_target_that_hangs_holds_up_no_other(stack: AsyncExitStack) -> None:
    async def hangs(peer: Peer) -> None:
        await peer.wait_closed()

    made, (hung, well) = await scene(stack, [hangs], [WELL])
    made.clock.advance(10)
    await made.probers[0].check()
    await hung.requested.wait()
    await well.requested.wait()
    made.clock.advance(10)
    await made.probers[0].check()
    await asyncio.sleep(0)
    assert len(hung.requests) == 1


async def test_a_target_nobody_listens_at_and_a_redirection_are_not_well(stack: AsyncExitStack) -> None:
    elsewhere = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    made, (gone, _, well) = await scene(stack, [WELL], [elsewhere], [WELL])
    await gone.__aexit__()
    for _ in range(2):
        await made.round()
    balancer = made.targets[0].of(made.services[0])
    assert balancer.unhealthy_count == 2
    assert len(made.called(0)) == 3, "fewer than half are well: all are used"
    assert len(well.requests) == 2


async def test_an_operators_word_wins(stack: AsyncExitStack) -> None:
    made, (down, resting) = await scene(stack, [ILL], [WELL])
    rested = Target(resting.url, 0)
    made.services[0] = Service("crm", (down.target, rested), policy=made.services[0].policy)
    for _ in range(2):
        await made.round()
    assert resting.requests == []
    assert made.called(0) == {down.url}


async def test_one_that_an_operator_says_is_up_is_called_and_not_asked(stack: AsyncExitStack) -> None:
    made, (down, well) = await scene(stack, [ILL], [WELL])
    for _ in range(2):
        await made.round()
    assert made.called(0) == {well.url}
    up = Target(down.url, always_up=True)
    made.services[0] = Service("crm", (up, well.target), policy=made.services[0].policy)
    asked = len(down.requests)
    for _ in range(2):
        await made.round()
    assert [made.called(worker) for worker in (0, 1)] == [{down.url, well.url}] * 2
    assert len(down.requests) == asked
    assert [event.kind for event in made.events] == [BackendEventKind.DOWN, BackendEventKind.UP]


async def test_without_the_store_each_asks_and_tells_and_one_of_them_hands_on_what_it_found(
    stack: AsyncExitStack,
) -> None:
    made, (well, _) = await scene(stack, [WELL], [ILL])
    made.store.unavailable = True
    for _ in range(2):
        await made.round()
    assert [made.called(worker) for worker in (0, 1)] == [{well.url}] * 2
    assert [event.kind for event in made.events] == [BackendEventKind.DOWN, BackendEventKind.DOWN]
    made.store.unavailable = False
    for prober in made.probers:
        await prober.check()
    assert [made.called(worker) for worker in (0, 1)] == [{well.url}] * 2
    shared = await made.memory.load()
    assert [verdict.down for verdict in shared.values()] == [False, True]
    assert len(made.events) == 2, "it is no news"


async def test_when_checks_are_switched_off_their_verdicts_are_forgotten(stack: AsyncExitStack) -> None:
    made, (down, well) = await scene(stack, [ILL], [WELL])
    for _ in range(2):
        await made.round()
    assert made.called(0) == {well.url}
    made.services[0] = Service("crm", made.services[0].targets)
    await made.round()
    made.clock.advance(60)
    assert [made.called(worker) for worker in (0, 1)] == [{down.url, well.url}] * 2
    assert await made.memory.load() == {}
    assert [event.detail for event in made.events] == ["health check failed", "no longer checked"]

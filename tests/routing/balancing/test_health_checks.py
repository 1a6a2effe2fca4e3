"""Health checks over real sockets: one worker checks, all apply its verdicts."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest

from resilience.outage import StoreUnavailable
from routing.backend.client import Backend
from routing.balancing.balancer import Balancers
from routing.balancing.health_checks import HealthChecker
from routing.balancing.memory import MemoryStore
from routing.balancing.rules import HealthVerdict, TargetCondition
from routing.balancing.store import Store
from routing.errors import Overloaded
from routing.observability.events import BackendEvent, BackendEventKind
from routing.router.policy import HealthCheckPolicy, RoutePolicy, Target
from routing.router.table import Service
from tests.clock import FakeClock
from tests.origin import Peer, Script, ScriptedOrigin

HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
UNHEALTHY = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
HEALTH_CHECK = HealthCheckPolicy(path="/up?deep=1", interval=10, timeout=5, down_after=2, up_after=1)


class UnreliableStore:
    """A store that can be made unavailable."""

    def __init__(self, store: Store) -> None:
        self.unavailable = False
        self._store = store

    def _available_store(self) -> Store:
        if self.unavailable:
            raise StoreUnavailable
        return self._store

    async def lead(self, holder: str, seconds: float) -> bool:
        return await self._available_store().lead(holder, seconds)

    async def load(self) -> Mapping[str, HealthVerdict]:
        return await self._available_store().load()

    async def save(self, holder: str, verdicts: Mapping[str, HealthVerdict]) -> bool:
        return await self._available_store().save(holder, verdicts)


class Scene:
    """Two workers over one store, and a service of scripted targets."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events: list[BackendEvent] = []
        self.services: list[Service] = []
        self.backend = Backend()
        self.targets = [Balancers(clock=self.clock, emit=self.events.append) for _ in range(2)]
        self.memory = MemoryStore(self.clock)
        self.store = UnreliableStore(self.memory)
        self.checkers = [
            HealthChecker(
                self.backend, self.store, targets, lambda: self.services, emit=self.events.append, clock=self.clock
            )
            for targets in self.targets
        ]

    async def round(self) -> None:
        """One interval: the leader checks, and both workers apply the verdicts."""
        self.clock.advance(10)
        for checker in self.checkers:
            await checker.check()
        for checker in self.checkers:
            await checker.wait_for_checks()
        for checker in self.checkers:
            await checker.check()

    def called(self, worker: int, times: int = 40) -> set[str]:
        balancer = self.targets[worker].of(self.services[0])
        picked = [balancer.pick([]) for _ in range(times)]
        for state in picked:
            balancer.release(state)
        return {state.target.url for state in picked}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def make_scene(
    stack: AsyncExitStack, *scripts: list[Script], health: HealthCheckPolicy = HEALTH_CHECK
) -> tuple[Scene, list[ScriptedOrigin]]:
    scene = Scene()
    stack.push_async_callback(scene.backend.close)
    origins = [await stack.enter_async_context(ScriptedOrigin(*script)) for script in scripts]
    policy = RoutePolicy(health=health, headers=((b"authorization", b"Bearer backend"),))
    scene.services.append(Service("crm", tuple(origin.target for origin in origins), policy=policy))
    return scene, origins


async def test_a_target_that_fails_its_checks_is_down_for_every_worker_and_comes_back(stack: AsyncExitStack) -> None:
    scene, (healthy, unhealthy) = await make_scene(stack, [HEALTHY], [UNHEALTHY, UNHEALTHY, HEALTHY])
    await scene.round()
    assert scene.called(0) == {healthy.url, unhealthy.url}
    await scene.round()
    assert [scene.called(worker) for worker in (0, 1)] == [{healthy.url}] * 2
    await scene.round()
    scene.clock.advance(60)
    assert [scene.called(worker) for worker in (0, 1)] == [{healthy.url, unhealthy.url}] * 2
    events = [(event.kind, event.service, event.target) for event in scene.events]
    assert events == [(BackendEventKind.DOWN, "crm", unhealthy.url), (BackendEventKind.UP, "crm", unhealthy.url)], (
        "emitted by one worker only"
    )


async def test_one_worker_sends_the_checks_with_the_services_headers(stack: AsyncExitStack) -> None:
    scene, (origin,) = await make_scene(stack, [HEALTHY])
    for _ in range(3):
        await scene.round()
    assert [request.line for request in origin.requests] == [b"GET /up?deep=1 HTTP/1.1"] * 3
    assert (b"authorization", b"Bearer backend") in origin.requests[0].fields


async def test_no_target_is_checked_before_its_interval(stack: AsyncExitStack) -> None:
    scene, (origin,) = await make_scene(stack, [HEALTHY])
    await scene.round()
    scene.clock.advance(9.9)
    for checker in scene.checkers:
        await checker.check()
        await checker.wait_for_checks()
    assert len(origin.requests) == 1


async def test_a_target_that_hangs_does_not_delay_others(stack: AsyncExitStack) -> None:
    async def never_responds(peer: Peer) -> None:
        await peer.wait_closed()

    scene, (hanging, healthy) = await make_scene(stack, [never_responds], [HEALTHY])
    scene.clock.advance(10)
    await scene.checkers[0].check()
    await hanging.requested.wait()
    await healthy.requested.wait()
    scene.clock.advance(10)
    await scene.checkers[0].check()
    await asyncio.sleep(0)
    assert len(hanging.requests) == 1


async def test_an_unreachable_target_and_a_redirect_fail_the_check(stack: AsyncExitStack) -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    scene, (unreachable, _, healthy) = await make_scene(stack, [HEALTHY], [redirect], [HEALTHY])
    await unreachable.__aexit__()
    for _ in range(2):
        await scene.round()
    balancer = scene.targets[0].of(scene.services[0])
    assert [*balancer.conditions().values()].count(TargetCondition.DOWN) == 2
    assert len(scene.called(0)) == 3, "fewer than half are healthy: all are used"
    assert len(healthy.requests) == 2


async def test_a_check_that_the_gateway_could_not_make_says_nothing(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise Overloaded("too many open files")

    scene, _ = await make_scene(stack, [HEALTHY], [HEALTHY])
    monkeypatch.setattr(scene.backend, "send", refuse)
    for _ in range(HEALTH_CHECK.down_after + 1):
        await scene.round()
    assert TargetCondition.DOWN not in scene.targets[0].of(scene.services[0]).conditions().values()
    assert scene.events == []


async def test_a_disabled_target_is_neither_checked_nor_called(stack: AsyncExitStack) -> None:
    scene, (down, disabled) = await make_scene(stack, [UNHEALTHY], [HEALTHY])
    disabled_target = Target(disabled.url, 0)
    scene.services[0] = Service("crm", (down.target, disabled_target), policy=scene.services[0].policy)
    for _ in range(2):
        await scene.round()
    assert disabled.requests == []
    assert scene.called(0) == {down.url}


async def test_a_target_an_operator_keeps_up_is_called_and_not_checked(stack: AsyncExitStack) -> None:
    scene, (down, healthy) = await make_scene(stack, [UNHEALTHY], [HEALTHY])
    for _ in range(2):
        await scene.round()
    assert scene.called(0) == {healthy.url}
    up = Target(down.url, always_up=True)
    scene.services[0] = Service("crm", (up, healthy.target), policy=scene.services[0].policy)
    checks = len(down.requests)
    for _ in range(2):
        await scene.round()
    assert [scene.called(worker) for worker in (0, 1)] == [{down.url, healthy.url}] * 2
    assert len(down.requests) == checks
    assert [event.kind for event in scene.events] == [BackendEventKind.DOWN, BackendEventKind.UP]


async def test_without_the_store_each_worker_checks_and_one_saves_its_verdicts_later(
    stack: AsyncExitStack,
) -> None:
    scene, (healthy, _) = await make_scene(stack, [HEALTHY], [UNHEALTHY])
    scene.store.unavailable = True
    for _ in range(2):
        await scene.round()
    assert [scene.called(worker) for worker in (0, 1)] == [{healthy.url}] * 2
    assert [event.kind for event in scene.events] == [BackendEventKind.DOWN, BackendEventKind.DOWN]
    scene.store.unavailable = False
    for checker in scene.checkers:
        await checker.check()
    assert [scene.called(worker) for worker in (0, 1)] == [{healthy.url}] * 2
    shared = await scene.memory.load()
    assert [verdict.down for verdict in shared.values()] == [False, True]
    assert len(scene.events) == 2, "the verdict has not changed"


async def test_verdicts_are_cleared_when_health_checks_are_disabled(stack: AsyncExitStack) -> None:
    scene, (down, healthy) = await make_scene(stack, [UNHEALTHY], [HEALTHY])
    for _ in range(2):
        await scene.round()
    assert scene.called(0) == {healthy.url}
    scene.services[0] = Service("crm", scene.services[0].targets)
    await scene.round()
    scene.clock.advance(60)
    assert [scene.called(worker) for worker in (0, 1)] == [{down.url, healthy.url}] * 2
    assert await scene.memory.load() == {}
    assert [event.detail for event in scene.events] == ["health check failed: status 503", "no longer checked"]

"""Two workers with one Redis and one service."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from resilience.breaker.machine import State
from resilience.breaker.policy import BreakerPolicy
from resilience.breaker.redis import RedisStore
from resilience.redis import RedisLink
from routing.balancing.rules import EJECT_AFTER_NO_RESPONSE
from routing.observability.events import BackendEventKind
from routing.router.policy import RoutePolicy
from routing.router.table import Service
from routing.upstream.registry import RESERVE
from tests.clock import FakeClock
from tests.gateway.conftest import QUICK, World, make_world
from tests.origin import Peer, ScriptedOrigin
from tests.redis_server import RedisServer
from tests.resilience.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAILING = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
POLICY = RoutePolicy(cache=None)


@pytest.fixture
async def workers(own_redis: RedisServer) -> AsyncIterator[list[World]]:
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        worlds = []
        for _ in range(2):
            link = RedisLink(own_redis.url)
            world = make_world("asgi", circuits=RedisStore(link), clock=clock)
            await link.start()
            stack.push_async_callback(link.close)
            stack.push_async_callback(world.backend.close)
            stack.push_async_callback(world.breakers.close)
            await until(lambda link=link: link.feed.alive)  # type: ignore[misc]
            worlds.append(world)
        yield worlds


def state(world: World) -> State:
    return world.breakers.of("crm", BreakerPolicy()).state()


async def request_all(workers: list[World], times: int) -> Counter[int]:
    requests = (workers[number % 2].request("GET", "/api/v1/crm/x") for number in range(times))
    return Counter(response.status for response in await asyncio.gather(*requests))


async def test_both_workers_stop_calling_a_failing_backend_and_then_probe_it_within_the_permits(
    workers: list[World],
) -> None:
    async def hang(peer: Peer) -> None:
        await released.wait()
        await peer.send(OK)

    released = asyncio.Event()
    async with ScriptedOrigin(*[FAILING] * 200, hang) as origin:
        for world in workers:
            world.add(Service("crm", (origin.target,), policy=POLICY))
        assert await request_all(workers, 200) == {500: 200}
        await until(lambda: [state(world) for world in workers] == [State.OPEN] * 2)
        assert [move for world in workers for move in world.observer.circuits] == [("crm", "CLOSED", "OPEN")]

        assert await request_all(workers, 200) == {503: 200}
        assert len(origin.requests) == 200

        workers[0].clock.advance(60)
        pending = [asyncio.create_task(workers[n % 2].request("GET", "/api/v1/crm/x")) for n in range(200)]
        await until(lambda: sum(task.done() for task in pending) == 198)
        released.set()
        assert Counter([(await task).status for task in pending]) == {200: 2, 503: 198}
        assert len(origin.requests) == 202
        await until(lambda: [state(world) for world in workers] == [State.CLOSED] * 2)


async def test_of_sequential_failing_calls_only_five_are_made(workers: list[World]) -> None:
    async with ScriptedOrigin(FAILING) as origin:
        for world in workers:
            world.add(Service("crm", (origin.target,), policy=POLICY))
        statuses = Counter[int]()
        for number in range(200):
            statuses[(await workers[number % 2].request("GET", "/api/v1/crm/x")).status] += 1
            # The other worker receives the reported outcome in a message.
            await until(lambda: state(workers[0]) is state(workers[1]))
        assert statuses == {500: 5, 503: 195}
        assert len(origin.requests) == 5


@pytest.mark.parametrize("permits", [1, 2])
async def test_sequential_requests_after_each_finished_probe_are_not_refused(
    workers: list[World], permits: int
) -> None:
    breaker = BreakerPolicy(half_open_permits=permits, success_threshold=8)
    policy = RoutePolicy(timeout=QUICK, cache=None, breaker=breaker)

    async def respond_while_workers_refresh(peer: Peer) -> None:
        for world in workers:  # as each worker does every second
            await world.breakers.refresh()
        await peer.send(OK)

    async with ScriptedOrigin(*[FAILING] * 5, respond_while_workers_refresh) as origin:
        for world in workers:
            world.add(Service("crm", (origin.target,), policy=policy))
        await request_all(workers, 5)
        await until(lambda: all(state(world) is State.OPEN for world in workers))
        for world in workers:
            world.breakers.of("crm", breaker)
        workers[0].clock.advance(60)
        statuses = [(await workers[number % 2].request("GET", "/api/v1/crm/x")).status for number in range(20)]
        assert statuses == [200] * 20
    assert state(workers[0]) is State.CLOSED


async def test_without_redis_each_worker_decides_alone_and_with_it_they_agree_again(
    workers: list[World], own_redis: RedisServer
) -> None:
    breakers = [world.breakers for world in workers]
    async with ScriptedOrigin(FAILING) as origin:
        for world in workers:
            world.add(Service("crm", (origin.target,), policy=POLICY))
        own_redis.stop()
        statuses = [(await workers[0].request("GET", "/api/v1/crm/x")).status for _ in range(20)]
        assert statuses == [500] * 5 + [503] * 15
        assert [state(world) for world in workers] == [State.OPEN, State.CLOSED]
        assert breakers[0].degraded
        own_redis.start()

        async def all_agree() -> bool:
            for each in breakers:
                await each.refresh()
            return [state(world) for world in workers] == [State.OPEN] * 2 and not any(b.degraded for b in breakers)

        async with asyncio.timeout(20):
            while not await all_agree():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.05)
        assert (await workers[1].request("GET", "/api/v1/crm/x")).json()["code"] == "circuit_open"
        assert len(origin.requests) == 5


async def test_killing_one_of_two_targets_under_load_fails_no_request() -> None:
    world = make_world("asgi")
    async with ScriptedOrigin(OK) as surviving, ScriptedOrigin(OK) as doomed:
        world.add(Service("crm", (surviving.target, doomed.target), policy=POLICY))
        statuses = Counter[int]()

        async def client(times: int) -> None:
            for _ in range(times):
                statuses[(await world.request("GET", "/api/v1/crm/x")).status] += 1

        load = asyncio.gather(*(client(60) for _ in range(8)))
        await until(lambda: len(doomed.requests) >= 50)
        await doomed.__aexit__()
        await load
    assert statuses == {200: 480}
    kinds = Counter(event.kind for event in world.observer.events)
    assert kinds[BackendEventKind.EJECTED] == 1
    assert EJECT_AFTER_NO_RESPONSE <= kinds[BackendEventKind.RETRIED] <= 0.2 * 480 + RESERVE
    assert not world.observer.circuits
    await world.backend.close()


@pytest.mark.alone
async def test_a_hanging_service_does_not_slow_down_another() -> None:
    """Compares latencies on the same machine, and takes the best of several rounds, as it may be busy."""

    async def hang(peer: Peer) -> None:
        await peer.wait_closed()

    async def respond_slowly(peer: Peer) -> None:
        await asyncio.sleep(0.004)
        await peer.send(OK)

    world = make_world("asgi")
    bounded = RoutePolicy(timeout=QUICK, cache=None, max_concurrency=4)
    async with ScriptedOrigin(hang) as hanging, ScriptedOrigin(respond_slowly) as healthy:
        world.add(Service("hung", (hanging.target,), policy=bounded))
        world.add(Service("well", (healthy.target,), policy=POLICY))
        ratios = []
        for _ in range(8):
            alone = await slowest_normal_latency(world)
            flood = asyncio.create_task(flood_hanging_service(world))
            ratios.append(await slowest_normal_latency(world) / alone)
            flood.cancel()
            await asyncio.wait([flood])
            if ratios[-1] <= 1.5:
                break
        assert min(ratios) <= 1.5
        assert hanging.connections <= 4 * len(ratios)
    overloaded = [event for event in world.observer.events if event.detail == "overloaded"]
    assert overloaded
    await world.backend.close()


async def slowest_normal_latency(world: World, times: int = 40) -> float:
    """The latency of the healthy service, without its two slowest responses."""
    loop, latencies = asyncio.get_running_loop(), []
    for _ in range(times):
        started = loop.time()
        assert (await world.request("GET", "/api/v1/well/x", key=world.other_key)).status == 200
        latencies.append(loop.time() - started)
    return sorted(latencies)[-3]


async def flood_hanging_service(world: World) -> None:
    """Send 200 requests a second to the service that hangs."""
    async with asyncio.TaskGroup() as requests:
        while True:
            requests.create_task(world.request("GET", "/api/v1/hung/x"))
            await asyncio.sleep(0.005)

"""Rate limits over several workers, in memory and in a real Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from inspect import signature

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.redis import RedisStore
from resilience.ratelimit.window import Decision, SlidingWindow
from resilience.redis import RedisLink
from resilience.usage.driver import Quotas
from tests.redis_server import RedisServer
from tests.resilience.waiting import FakeClock, until

# A window of a day has slices of 24 minutes, so that a test hardly ever meets the end of one, which it survives.
POLICY = RatePolicy(100, 86_400.0)
Worker = Callable[[], Limiter]


class SlowStore:
    """A store in this process that must be awaited, like a shared one, until `gate` is open."""

    def __init__(self, memory: MemoryStore) -> None:
        self.memory, self.calls = memory, 0
        self.called, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def take(self, key: str, policy: RatePolicy, now: float, wanted: int) -> Decision:
        self.calls += 1
        self.called.set()
        await asyncio.sleep(0)
        await self.gate.wait()
        return await self.memory.take(key, policy, now, wanted)

    async def refund(self, key: str, taken: int, count: int) -> None:
        await self.memory.refund(key, taken, count)


@pytest.fixture(params=["memory", "redis"])
async def worker(request: pytest.FixtureRequest) -> AsyncIterator[Worker]:
    memory = MemoryStore()
    url = request.getfixturevalue("redis_url") if request.param == "redis" else ""
    async with AsyncExitStack() as stack:

        def new_limiter() -> Limiter:
            if request.param == "memory":
                return Limiter(SlowStore(memory))
            link = RedisLink(url)
            stack.push_async_callback(link.close)
            return Limiter(RedisStore(link))

        yield new_limiter


async def granted(limiter: Limiter, times: int, policy: RatePolicy = POLICY) -> int:
    decisions = await asyncio.gather(*(limiter.take("caller", policy) for _ in range(times)))
    return sum(decision.allowed for decision in decisions)


async def test_eight_workers_grant_exactly_the_limit(worker: Worker) -> None:
    limiters = [worker() for _ in range(8)]
    assert sum(await asyncio.gather(*(granted(limiter, 150) for limiter in limiters))) == 100


async def test_exactly_the_limit_passes_in_sequence(worker: Worker) -> None:
    limiter = worker()
    decisions = [await limiter.take("caller", POLICY) for _ in range(150)]
    assert [decision.allowed for decision in decisions] == [True] * 100 + [False] * 50
    assert [decision.remaining for decision in decisions[:100]] == list(range(99, -1, -1))


async def test_blocks_never_exceed_a_large_limit(worker: Worker) -> None:
    policy = RatePolicy(1_000, 86_400.0)
    limiters = [worker() for _ in range(4)]
    assert sum(await asyncio.gather(*(granted(limiter, 400, policy) for limiter in limiters))) == 1_000


async def test_callers_do_not_share_a_window(worker: Worker) -> None:
    limiter = worker()
    await granted(limiter, 100)
    assert (await limiter.take("another", POLICY)).allowed


async def test_a_refund_lets_another_request_through(worker: Worker) -> None:
    limiter = worker()
    last = [await limiter.take("caller", POLICY) for _ in range(100)][-1]
    assert not (await limiter.take("caller", POLICY)).allowed
    await limiter.refund("caller", last)
    assert (await limiter.take("caller", POLICY)).allowed


async def test_a_token_that_is_given_back_is_used_by_another_request_without_a_call_to_the_store() -> None:
    store = SlowStore(MemoryStore())
    limiter = Limiter(store)
    first = await limiter.take("caller", POLICY)
    calls = store.calls
    for _ in range(1_000):
        limiter.give_back("caller", first)
        again = limiter.try_take("caller", POLICY)
        assert again is not None
        assert again.remaining == first.remaining
    assert store.calls == calls
    taken = 1
    while (decision := await limiter.take("caller", POLICY)).allowed:
        taken += 1
    assert taken == POLICY.limit
    limiter.give_back("caller", decision)  # gives nothing
    assert not (await limiter.take("caller", POLICY)).allowed
    await limiter.close()


async def test_concurrent_requests_call_the_store_once() -> None:
    store = SlowStore(MemoryStore())
    limiter = Limiter(store)
    assert await granted(limiter, 100) == 100
    assert store.calls == 1


@pytest.mark.parametrize("limit", [100_000, 100])
async def test_requests_during_a_call_to_the_store_are_decided_by_its_result(limit: int) -> None:
    """By its block of tokens or its denial; else a caller that never pauses would cause a call per request."""
    store, policy = SlowStore(MemoryStore()), RatePolicy(limit, 86_400.0)
    limiter = Limiter(store)
    if limit == 100:
        assert await granted(limiter, 100) == 100
    before = store.calls
    store.called.clear()
    store.gate.clear()
    first = asyncio.create_task(limiter.take("caller", policy))
    await store.called.wait()
    later = [asyncio.create_task(limiter.take("caller", policy)) for _ in range(20)]
    await asyncio.sleep(0)
    store.gate.set()
    decisions = await asyncio.gather(first, *later)
    assert store.calls == before + 1
    assert {decision.allowed for decision in decisions} == {limit > 100}
    left = range(limit - 1, limit - 22, -1) if limit > 100 else [0] * 21
    assert [decision.remaining for decision in decisions] == list(left)


async def test_a_cancelled_request_leaves_its_token_to_the_next() -> None:
    store = SlowStore(MemoryStore())
    limiter = Limiter(store)
    task = asyncio.create_task(limiter.take("caller", POLICY))
    await store.called.wait()
    task.cancel()
    await limiter.close()
    assert limiter.try_take("caller", POLICY) is not None


async def test_the_rest_of_a_block_is_refunded_when_its_slice_ends() -> None:
    clock, policy = FakeClock(), RatePolicy(1_000, 60.0)
    limiter = Limiter(SlowStore(MemoryStore()), clock=clock)
    for number in range(60):
        decision = await limiter.take("caller", policy)
        assert decision.remaining == 1_000 - number - 1
        clock.now += 1.0


async def test_a_denial_is_remembered_for_at_most_a_second() -> None:
    clock, store = FakeClock(), SlowStore(MemoryStore())
    limiter = Limiter(store, clock=clock)
    await granted(limiter, 101)
    denial = limiter.try_take("caller", POLICY)
    assert denial is not None
    assert not denial.allowed
    clock.now += 1.0
    assert limiter.try_take("caller", POLICY) is None


async def test_without_redis_each_worker_grants_its_share(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    limiter = Limiter(RedisStore(link), share=4)
    assert await granted(limiter, 10) == 10
    own_redis.stop()
    assert await granted(limiter, 50) == 25
    assert limiter.degraded
    own_redis.start()
    await until(lambda: not link.unavailable)
    assert await granted(Limiter(RedisStore(link)), 150) == 100
    await link.close()


async def test_the_script_counts_as_the_window_does(redis_url: str) -> None:
    link = RedisLink(redis_url)
    store = RedisStore(link, clock="local now = tonumber(ARGV[5])\n")
    window, policy, now = SlidingWindow(), RatePolicy(20, 60.0), 1_000_000.25
    for step in range(200):
        now += (step * 7 % 11) / 4
        stored, expected = await store.take("caller", policy, now, 1 + step % 3), window.take(policy, now, 1 + step % 3)
        assert (stored.granted, stored.remaining, stored.slice) == (
            expected.granted,
            expected.remaining,
            expected.slice,
        )
        assert (stored.reset, stored.expires_in) == pytest.approx((expected.reset, expected.expires_in), abs=1e-5)
        if step % 5 == 0:
            await store.refund("caller", stored.slice, 1)
            window.refund(stored.slice, 1)
    await link.close()


async def test_redis_holds_no_callers_name(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    await Limiter(RedisStore(link)).take("key:secret", POLICY)
    with own_redis.client() as client:
        (name,) = client.keys("*")
        assert name.startswith(b"gw:rate:")
        assert b"secret" not in name
        assert 0 < client.pttl(name) <= 87_840_000
    await link.close()


async def test_the_least_recently_used_callers_are_evicted_first() -> None:
    store, policy = MemoryStore(callers=2), RatePolicy(1)
    for key in ("a", "b", "a", "c"):
        await store.take(key, policy, 0.0, 1)
    assert not (await store.take("a", policy, 0.0, 1)).allowed
    assert (await store.take("b", policy, 0.0, 1)).allowed


@settings(max_examples=25, deadline=None)
@given(gaps=st.lists(st.floats(0, 3), max_size=30), limit=st.integers(100, 400))
def test_blocks_of_tokens_keep_every_window_within_the_limit(gaps: list[float], limit: int) -> None:
    async def run() -> None:
        clock, policy, passed = FakeClock(), RatePolicy(limit, 10.0), list[float]()
        memory = MemoryStore()
        limiters = [Limiter(SlowStore(memory), clock=clock) for _ in range(3)]
        for number, gap in enumerate(gaps):
            clock.now += gap
            for _ in range(20):
                if (await limiters[number % 3].take("caller", policy)).allowed:
                    passed.append(clock.now)
        for index, start in enumerate(passed):
            assert sum(1 for at in passed[index:] if at < start + 10.0 - 1e-6) <= limit

    asyncio.run(run())


def test_a_clock_that_is_set_back_refuses_nobody() -> None:
    """As on a machine that starts with a wrong time, and gets the right one from the network: durations are measured by
    a clock that nobody sets, unless a test does.
    """
    assert signature(Limiter).parameters["clock"].default is time.monotonic
    assert signature(Quotas).parameters["timer"].default is time.monotonic

"""Calls under an outbound limit: counted over all workers, in turn, and refused where they would wait too long."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from resilience.outbound import driver
from resilience.outbound.driver import OutboundLimited, OutboundLimiter
from resilience.outbound.policy import OutboundPolicy
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.redis import RedisStore
from resilience.redis import RedisLink

pytestmark = pytest.mark.slow


def policy(limit: int, window: float = 1.0, queue: float = 10.0) -> OutboundPolicy:
    return OutboundPolicy(rate=RatePolicy(limit, window), queue=queue)


@pytest.fixture
async def limiter() -> AsyncIterator[OutboundLimiter]:
    made = OutboundLimiter(Limiter(MemoryStore(), clock=time.monotonic))
    yield made
    await made.close()


async def test_calls_beyond_the_rate_wait_in_turn(limiter: OutboundLimiter) -> None:
    order: list[str] = []

    async def call(caller: str) -> None:
        await limiter.enter("k", policy(2), caller)
        order.append(caller)

    async with asyncio.TaskGroup() as calls:
        for caller in "aaaab":
            calls.create_task(call(caller))
            await asyncio.sleep(0)
    assert order[:2] == ["a", "a"]
    assert sorted(order[2:4]) == ["a", "b"], "the second caller's turn comes before the first one's second"
    assert not limiter._queues


async def test_a_wait_that_is_too_long_is_refused_at_once(limiter: OutboundLimiter) -> None:
    slow = policy(1, 60, queue=2)
    await limiter.enter("k", slow, "a")
    with pytest.raises(OutboundLimited) as refused:
        await limiter.enter("k", slow, "a")
    assert 58 < refused.value.retry_after <= 62


async def test_a_queue_without_time_is_none(limiter: OutboundLimiter) -> None:
    await limiter.enter("k", policy(1, queue=0), "a")
    with pytest.raises(OutboundLimited):
        await limiter.enter("k", policy(1, queue=0), "a")


async def test_a_full_queue_refuses(limiter: OutboundLimiter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "MAX_QUEUED", 3)
    await limiter.enter("k", policy(1), "a")
    waiting = [asyncio.ensure_future(limiter.enter("k", policy(1), "a")) for _ in range(3)]
    await asyncio.sleep(0.01)
    with pytest.raises(OutboundLimited):
        await limiter.enter("k", policy(1), "b")
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_call_that_was_not_made_is_uncounted(limiter: OutboundLimiter) -> None:
    uncount = await limiter.enter("k", policy(1, 60, queue=0), "a")
    uncount()
    await asyncio.sleep(0.01)
    await limiter.enter("k", policy(1, 60, queue=0), "a")


async def test_a_client_that_leaves_takes_no_turn(limiter: OutboundLimiter) -> None:
    await limiter.enter("k", policy(1), "a")
    leaving = asyncio.ensure_future(limiter.enter("k", policy(1), "a"))
    await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    started = time.monotonic()
    await limiter.enter("k", policy(1), "a")
    assert time.monotonic() - started < 3


async def test_two_workers_share_a_limit_exactly(redis_url: str) -> None:
    links = [RedisLink(redis_url) for _ in range(2)]
    limiters = [OutboundLimiter(Limiter(RedisStore(link))) for link in links]
    tight = policy(50, 3_600, queue=0)

    async def allowed(worker: OutboundLimiter) -> bool:
        try:
            await worker.enter("k", tight, "a")
        except OutboundLimited:
            return False
        return True

    granted = await asyncio.gather(*(allowed(limiters[number % 2]) for number in range(120)))
    assert sum(granted) == 50
    for limiter, link in zip(limiters, links, strict=True):
        await limiter.close()
        await link.close()

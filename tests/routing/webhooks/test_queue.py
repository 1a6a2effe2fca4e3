"""The queue of deliveries, in memory and in Redis: nothing is lost, nothing is taken twice, and it is bounded."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from routing.webhooks.content import DeliveryIdentity
from routing.webhooks.memory import MemoryQueue
from routing.webhooks.queue import Added, Entry, Queue
from routing.webhooks.redis import RedisQueue
from tests.clock import FakeClock
from tests.redis_server import RedisServer

Make = Callable[..., Any]
IDLE_MS = 300


@pytest.fixture(params=["memory", "redis"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    async with AsyncExitStack() as stack:

        async def made(**bounds: int) -> Queue:
            if url is None:
                return MemoryQueue(FakeClock(), **bounds)
            link = RedisLink(url)
            await link.start()
            stack.push_async_callback(link.close)
            return RedisQueue(link, idle_ms=IDLE_MS, **bounds)

        yield made


async def take(queue: Queue, number: int = 1) -> list[Entry]:
    """Exactly so many entries."""
    entries = list[Entry]()
    async with asyncio.timeout(10):
        while len(entries) < number:
            entries += await queue.take(64)
    assert len(entries) == number
    return entries


async def test_a_delivery_is_taken_once_and_removed_when_it_is_done(make: Make) -> None:
    queue = await make()
    assert await queue.add(DeliveryIdentity("a", 60), b"1") is Added.QUEUED
    assert await queue.add(DeliveryIdentity("b", 60), b"2") is Added.QUEUED
    entries = await take(queue, 2)
    assert [entry.data for entry in entries] == [b"1", b"2"]
    assert await queue.take(64) == []
    assert await queue.depth() == 2
    for entry in entries:
        await queue.done(entry)
        await queue.done(entry)
    assert await queue.depth() == 0


async def test_the_same_identity_is_a_duplicate_for_as_long_as_it_is_remembered(make: Make) -> None:
    queue = await make()
    assert await queue.add(DeliveryIdentity("a", 60), b"1") is Added.QUEUED
    assert await queue.add(DeliveryIdentity("a", 60), b"other") is Added.DUPLICATE
    await queue.done((await take(queue))[0])
    assert await queue.add(DeliveryIdentity("a", 60), b"1") is Added.DUPLICATE
    assert await queue.add(None, b"1") is Added.QUEUED
    assert await queue.add(None, b"1") is Added.QUEUED
    await take(queue, 2)


async def test_a_full_queue_refuses_and_remembers_nothing(make: Make) -> None:
    queue = await make(max_deliveries=2, max_bytes=10)
    assert await queue.add(DeliveryIdentity("a", 60), b"1") is Added.QUEUED
    assert await queue.add(DeliveryIdentity("b", 60), b"too many bytes") is Added.FULL
    assert await queue.add(DeliveryIdentity("b", 60), b"2") is Added.QUEUED
    assert await queue.add(DeliveryIdentity("c", 60), b"3") is Added.FULL
    entries = await take(queue, 2)
    assert await queue.add(DeliveryIdentity("c", 60), b"3") is Added.FULL
    await queue.put_back(entries[0], b"1", 100)
    assert await queue.add(DeliveryIdentity("c", 60), b"3") is Added.FULL
    await queue.done(entries[1])
    assert await queue.add(DeliveryIdentity("c", 60), b"123456789") is Added.QUEUED
    assert await queue.add(DeliveryIdentity("d", 60), b"4") is Added.FULL


async def test_a_delivery_that_is_put_back_waits(make: Make) -> None:
    queue = await make()
    await queue.add(None, b"1")
    await queue.put_back((await take(queue))[0], b"2", 0.0)
    (entry,) = await take(queue)
    assert entry.data == b"2"
    await queue.put_back(entry, b"3", 100)
    assert await queue.take(64) == []
    assert await queue.depth() == 1


async def test_in_memory_what_is_left_is_returned_at_the_end() -> None:
    queue = MemoryQueue(FakeClock())
    for data in (b"1", b"2", b"3"):
        await queue.add(None, data)
    entry, other = await queue.take(2)
    await queue.done(entry)
    await queue.put_back(other, b"4", 100)
    assert sorted(await queue.close()) == [b"3", b"4"]


async def workers(url: str, stack: AsyncExitStack, count: int = 2) -> list[RedisQueue]:
    queues = []
    for _ in range(count):
        link = RedisLink(url)
        await link.start()
        stack.push_async_callback(link.close)
        queues.append(RedisQueue(link, idle_ms=IDLE_MS))
    return queues


async def test_workers_share_deliveries_and_take_over_those_of_one_that_died(redis_url: str) -> None:
    async with AsyncExitStack() as stack:
        one, two = await workers(redis_url, stack)
        for number in range(20):
            await one.add(DeliveryIdentity(str(number), 60), b"%d" % number)
        taken = await one.take(10), await two.take(10)
        assert sorted(int(entry.data) for entries in taken for entry in entries) == list(range(20))
        for entry in taken[1]:
            await two.done(entry)
        # The first one dies. Its entries are taken over once nobody has kept them.
        entries = await take(two, 10)
        assert {entry.id for entry in entries} == {entry.id for entry in taken[0]}
        await one.done(taken[0][0])  # too late: they are the other's now
        assert await two.depth() == 10
        for entry in entries:
            await two.done(entry)
        assert await two.depth() == 0


async def test_a_delivery_that_is_kept_is_not_taken_over(redis_url: str) -> None:
    async with AsyncExitStack() as stack:
        one, two = await workers(redis_url, stack)
        await one.add(None, b"1")
        entries = await take(one)
        for _ in range(8):
            await one.keep(entries)
            assert await two.take(64) == []
        await one.done(entries[0])
        assert await two.depth() == 0


async def test_a_server_that_loses_its_data_or_has_others_data_is_used_again(redis_url: str) -> None:
    async with AsyncExitStack() as stack:
        (queue,) = await workers(redis_url, stack, 1)
        assert await queue.take(64) == []
        await queue._link.client.flushdb()
        with pytest.raises(StoreUnavailable):
            await queue.take(64)
        await queue.add(None, b"1")
        await queue.done((await take(queue))[0])

        await queue._link.client.set(queue._link.key("{webhooks}"), b"not a stream")
        with pytest.raises(StoreUnavailable):
            await queue.add(None, b"2")
        assert await queue.add(None, b"2") is Added.QUEUED
        entries = list[Entry]()
        while not entries:
            with contextlib.suppress(StoreUnavailable):
                entries = await queue.take(64)
        assert [entry.data for entry in entries] == [b"2"]
        await queue._link.client.xadd(queue._link.key("{webhooks}"), {"x": "other"})
        (entry,) = await take(queue)
        assert entry.data == b""


async def test_while_redis_is_away_nothing_is_accepted() -> None:
    server = RedisServer()
    server.start()
    try:
        async with AsyncExitStack() as stack:
            (queue,) = await workers(server.url, stack, 1)
            server.stop()
            for call in (lambda: queue.add(DeliveryIdentity("a", 60), b"1"), lambda: queue.take(1), queue.depth):
                with pytest.raises(StoreUnavailable):
                    await call()
    finally:
        server.close()

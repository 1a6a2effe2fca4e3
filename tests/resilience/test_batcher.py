"""Requests that share round trips."""

import asyncio
from collections.abc import Sequence

import pytest

from resilience.batcher import BATCH_SIZE, CONCURRENT_BATCHES, Batcher
from resilience.outage import StoreUnavailable

StringBatcher = Batcher[str, int]


class FakeRedis:
    """Responds when the gate opens, with the number of the round trip; `sent` are the requests of each."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.groups: list[str] = []
        self.gate = asyncio.Event()
        self.number = 0
        self.fault: Exception | None = None

    async def send(self, group: str, requests: Sequence[str]) -> list[int]:
        self.sent.append(list(requests))
        self.groups.append(group)
        await self.gate.wait()
        if self.fault:
            raise self.fault
        self.number += 1
        return [self.number for _ in requests]


async def submit_all(batcher: StringBatcher, requests: Sequence[str], group: str = "s") -> list["asyncio.Task[int]"]:
    tasks = [asyncio.create_task(batcher.submit(group, request)) for request in requests]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_the_first_request_is_sent_at_once_and_later_ones_share_a_round_trip() -> None:
    redis = FakeRedis()
    batcher = Batcher(redis.send)
    for number in range(CONCURRENT_BATCHES):
        await submit_all(batcher, [f"first{number}"])
    assert redis.sent == [[f"first{number}"] for number in range(CONCURRENT_BATCHES)]
    later = await submit_all(batcher, ["a", "b", "a"])
    assert len(redis.sent) == CONCURRENT_BATCHES
    redis.gate.set()
    results = await asyncio.gather(*later)
    assert redis.sent[CONCURRENT_BATCHES:] == [["a", "b"]]
    assert results[0] == results[2]


async def test_two_groups_neither_share_round_trips_nor_wait_for_each_other() -> None:
    redis = FakeRedis()
    batcher = Batcher(redis.send)
    tasks = [task for group in "stst" for task in await submit_all(batcher, ["a", "b"], group)]
    assert redis.groups == ["s", "t", "s", "t"]
    assert redis.sent == [["a", "b"]] * 4
    redis.gate.set()
    await asyncio.gather(*tasks)


async def test_a_result_is_never_older_than_its_request() -> None:
    """Else an entry that was invalidated between the two could be served."""
    redis = FakeRedis()
    batcher = Batcher(redis.send)
    (first,) = await submit_all(batcher, ["a"])
    (second,) = await submit_all(batcher, ["a"])
    redis.gate.set()
    assert await first != await second


async def test_no_round_trip_exceeds_the_batch_size() -> None:
    redis = FakeRedis()
    batcher = Batcher(redis.send)
    waiting = await submit_all(batcher, [f"k{number}" for number in range(100)])
    redis.gate.set()
    await asyncio.gather(*waiting)
    assert sum(map(len, redis.sent)) == 100
    assert max(map(len, redis.sent)) <= BATCH_SIZE


async def test_an_outage_is_raised_to_every_caller_and_the_next_request_is_sent() -> None:
    redis = FakeRedis()
    redis.fault = StoreUnavailable("unavailable")
    batcher = Batcher(redis.send)
    waiting = await submit_all(batcher, ["a", "b", "b"])
    redis.gate.set()
    assert all(isinstance(one, StoreUnavailable) for one in await asyncio.gather(*waiting, return_exceptions=True))
    redis.fault = None
    assert await batcher.submit("s", "a") == 1


async def test_a_cancelled_caller_does_not_affect_the_others() -> None:
    redis = FakeRedis()
    batcher = Batcher(redis.send)
    cancelled, other = await submit_all(batcher, ["a", "a"])
    cancelled.cancel()
    redis.gate.set()
    assert await other == 1
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_a_request_submitted_as_the_last_round_trips_end_is_sent() -> None:
    """They end in one turn of the event loop, in which the callers they wake run before their done callbacks."""
    redis = FakeRedis()
    batcher = Batcher(redis.send)

    async def twice() -> list[int]:
        return [await batcher.submit("s", "a"), await batcher.submit("s", "b")]

    both = asyncio.create_task(twice())
    await submit_all(batcher, [])
    others = [await submit_all(batcher, [f"other{number}"]) for number in range(CONCURRENT_BATCHES - 1)]
    redis.gate.set()
    assert await asyncio.wait_for(both, 5)
    await asyncio.gather(*(task for tasks in others for task in tasks))
    assert redis.sent[-1] == ["b"]

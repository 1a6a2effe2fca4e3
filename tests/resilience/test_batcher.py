"""Questions that are asked together."""

import asyncio
from collections.abc import Sequence

import pytest

from resilience.batcher import BATCH_SIZE, CONCURRENT_BATCHES, Batcher
from resilience.outage import StoreUnavailable

Asking = Batcher[str, int]


class Redis:
    """Answers when told to, with the number of the question; `asked` are those of each round trip."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.groups: list[str] = []
        self.gate = asyncio.Event()
        self.number = 0
        self.fault: Exception | None = None

    async def ask(self, group: str, questions: Sequence[str]) -> list[int]:
        self.asked.append(list(questions))
        self.groups.append(group)
        await self.gate.wait()
        if self.fault:
            raise self.fault
        self.number += 1
        return [self.number for _ in questions]


async def begun(batcher: Asking, questions: Sequence[str], group: str = "s") -> list["asyncio.Task[int]"]:
    tasks = [asyncio.create_task(batcher.submit(group, question)) for question in questions]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_the_first_goes_at_once_and_what_comes_meanwhile_goes_together() -> None:
    redis = Redis()
    batcher = Batcher(redis.ask)
    for number in range(CONCURRENT_BATCHES):
        await begun(batcher, [f"first{number}"])
    assert redis.asked == [[f"first{number}"] for number in range(CONCURRENT_BATCHES)]
    later = await begun(batcher, ["a", "b", "a"])
    assert len(redis.asked) == CONCURRENT_BATCHES
    redis.gate.set()
    found = await asyncio.gather(*later)
    assert redis.asked[CONCURRENT_BATCHES:] == [["a", "b"]]
    assert found[0] == found[2]


async def test_two_groups_neither_go_together_nor_wait_for_each_other() -> None:
    redis = Redis()
    batcher = Batcher(redis.ask)
    tasks = [task for group in "stst" for task in await begun(batcher, ["a", "b"], group)]
    assert redis.groups == ["s", "t", "s", "t"]
    assert redis.asked == [["a", "b"]] * 4
    redis.gate.set()
    await asyncio.gather(*tasks)


async def test_a_question_is_never_answered_with_what_was_asked_before_it() -> None:
    """What was taken back between the two would be given out."""
    redis = Redis()
    batcher = Batcher(redis.ask)
    (first,) = await begun(batcher, ["a"])
    (second,) = await begun(batcher, ["a"])
    redis.gate.set()
    assert await first != await second


async def test_no_question_is_for_more_than_its_share() -> None:
    redis = Redis()
    batcher = Batcher(redis.ask)
    waiting = await begun(batcher, [f"k{number}" for number in range(100)])
    redis.gate.set()
    await asyncio.gather(*waiting)
    assert sum(map(len, redis.asked)) == 100
    assert max(map(len, redis.asked)) <= BATCH_SIZE


async def test_all_who_wait_learn_that_redis_is_away_and_the_next_may_ask_again() -> None:
    redis = Redis()
    redis.fault = StoreUnavailable("away")
    batcher = Batcher(redis.ask)
    waiting = await begun(batcher, ["a", "b", "b"])
    redis.gate.set()
    assert all(isinstance(one, StoreUnavailable) for one in await asyncio.gather(*waiting, return_exceptions=True))
    redis.fault = None
    assert await batcher.submit("s", "a") == 1


async def test_one_that_is_cancelled_takes_nothing_from_the_others() -> None:
    redis = Redis()
    batcher = Batcher(redis.ask)
    gone, stays = await begun(batcher, ["a", "a"])
    gone.cancel()
    redis.gate.set()
    assert await stays == 1
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_who_asks_again_as_the_last_round_trips_end_is_asked_for() -> None:
    """They end in one turn of the event loop, and whom they woke comes before anything that is told of their end."""
    redis = Redis()
    batcher = Batcher(redis.ask)

    async def twice() -> list[int]:
        return [await batcher.submit("s", "a"), await batcher.submit("s", "b")]

    asking = asyncio.create_task(twice())
    await begun(batcher, [])
    others = [await begun(batcher, [f"other{number}"]) for number in range(CONCURRENT_BATCHES - 1)]
    redis.gate.set()
    assert await asyncio.wait_for(asking, 5)
    await asyncio.gather(*(task for tasks in others for task in tasks))
    assert redis.asked[-1] == ["b"]

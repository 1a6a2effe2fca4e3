"""Look-ups that are made together."""

import asyncio
from collections.abc import Sequence

import pytest

from resilience.cache.lookups import AT_A_TIME, TOGETHER, Lookups
from resilience.cache.store import Found
from resilience.outage import StoreUnavailable


class Redis:
    """Answers when told to; `asked` are the keys of each question."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.gate = asyncio.Event()
        self.number = 0
        self.fault: Exception | None = None

    async def ask(self, keys: Sequence[str]) -> list[Found]:
        self.asked.append(list(keys))
        await self.gate.wait()
        if self.fault:
            raise self.fault
        self.number += 1
        return [Found(None, self.number) for _ in keys]


async def begun(lookups: Lookups, keys: Sequence[str]) -> list["asyncio.Task[Found]"]:
    tasks = [asyncio.create_task(lookups.of(key)) for key in keys]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_the_first_goes_at_once_and_what_comes_meanwhile_goes_together() -> None:
    redis = Redis()
    lookups = Lookups(redis.ask)
    for number in range(AT_A_TIME):
        await begun(lookups, [f"first{number}"])
    assert redis.asked == [[f"first{number}"] for number in range(AT_A_TIME)]
    later = await begun(lookups, ["a", "b", "a"])
    assert len(redis.asked) == AT_A_TIME
    redis.gate.set()
    found = await asyncio.gather(*later)
    assert redis.asked[AT_A_TIME:] == [["a", "b"]]
    assert found[0] is found[2]


async def test_a_question_is_never_answered_with_what_was_asked_before_it() -> None:
    """What was taken back between the two would be given out."""
    redis = Redis()
    lookups = Lookups(redis.ask)
    (first,) = await begun(lookups, ["a"])
    (second,) = await begun(lookups, ["a"])
    redis.gate.set()
    assert (await first).seq != (await second).seq


async def test_no_question_is_for_more_than_its_share() -> None:
    redis = Redis()
    lookups = Lookups(redis.ask)
    waiting = await begun(lookups, [f"k{number}" for number in range(100)])
    redis.gate.set()
    await asyncio.gather(*waiting)
    assert sum(map(len, redis.asked)) == 100
    assert max(map(len, redis.asked)) <= TOGETHER


async def test_all_who_wait_learn_that_redis_is_away_and_the_next_may_ask_again() -> None:
    redis = Redis()
    redis.fault = StoreUnavailable("away")
    lookups = Lookups(redis.ask)
    waiting = await begun(lookups, ["a", "b", "b"])
    redis.gate.set()
    assert all(isinstance(one, StoreUnavailable) for one in await asyncio.gather(*waiting, return_exceptions=True))
    redis.fault = None
    assert (await lookups.of("a")).seq == 1


async def test_one_that_is_cancelled_takes_nothing_from_the_others() -> None:
    redis = Redis()
    lookups = Lookups(redis.ask)
    gone, stays = await begun(lookups, ["a", "a"])
    gone.cancel()
    redis.gate.set()
    assert (await stays).seq == 1
    with pytest.raises(asyncio.CancelledError):
        await gone

"""Quotas over several workers: never one over, none refused below."""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime

import pytest

from resilience.usage.counter import Counter
from resilience.usage.meter import Meter
from resilience.usage.periods import period_at
from resilience.usage.policy import Anchor, Per, QuotaPolicy
from tests.resilience.usage.world import World, spin

NOW = datetime.fromisoformat("2026-10-24T12:00+00:00").timestamp()


def meter(amount: int, per: Per = Per.MONTH, **options: str) -> Meter:
    return Meter("consumer:1|plan|month", QuotaPolicy(amount=amount, per=per, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("anchor", "zone", "signed_up"),
    [
        (Anchor.CALENDAR, "Europe/Berlin", "2026-01-31T10:00+00:00"),
        (Anchor.SIGNUP, "America/New_York", "2026-01-31T10:00+00:00"),
        (Anchor.CALENDAR, "Asia/Kolkata", "2026-01-31T10:00+00:00"),
    ],
)
async def test_exactly_the_quota_passes_in_each_period(anchor: Anchor, zone: str, signed_up: str) -> None:
    """40,000 requests per case, at four workers, over days of 23, 24 and 25 hours; the store is lost in between."""
    world, rng = World(NOW), random.Random(7)
    policy = QuotaPolicy(amount=3_000, per=Per.DAY, anchor=anchor, timezone=zone)
    what = Meter("c", policy, datetime.fromisoformat(signed_up).timestamp())
    passed: dict[int, int] = {}
    asked: dict[int, int] = {}
    for number in range(40_000):
        before = period_at(policy, world.time.now, what.signed_up)
        verdict = await world.take(rng.randrange(4), what)
        period = period_at(policy, world.time.now, what.signed_up)
        if period == before:
            asked[period.starts] = asked.get(period.starts, 0) + 1
        passed[period.starts] = passed.get(period.starts, 0) + verdict.allowed
        if number % 577 == 0:
            await world.time.advance(rng.choice([0.1, 3_600.0, 21_600.0]))
        if number % 9_001 == 9_000:
            await world.flush()
            world.store.lose()
    assert all(count <= policy.amount for count in passed.values())
    assert [passed[starts] for starts in asked if asked[starts] > policy.amount] == [
        policy.amount for starts in asked if asked[starts] > policy.amount
    ]
    assert all(passed[starts] == asked[starts] for starts in asked if asked[starts] < policy.amount)
    assert len(asked) > 3
    assert world.store.calls < 20_000  # tokens are taken in advance


async def test_what_one_worker_holds_is_not_lost_to_another() -> None:
    world, what = World(NOW, 2), meter(1_000)
    allowed = 0
    for _ in range(600):
        allowed += (await world.take(0, what)).allowed
    assert world.workers[0]._known[what.key].count > 0
    for _ in range(500):
        allowed += (await world.take(1, what)).allowed
    assert allowed == 1_000


async def test_concurrent_requests_share_calls() -> None:
    world, what = World(NOW), meter(500)
    work = asyncio.gather(*(world.workers[index % 4].take(what) for index in range(800)))
    verdicts = await world.time.run(work)
    assert sum(verdict.allowed for verdict in verdicts) == 500
    assert world.store.calls < 60


async def test_a_plan_change_keeps_what_was_used_and_a_raise_lasts_one_period() -> None:
    world, what = World(NOW), meter(10)
    for _ in range(10):
        assert (await world.take(0, what)).allowed
    assert not (await world.take(0, what)).allowed
    larger = meter(15, timezone="Europe/Berlin")
    await world.time.advance(2)
    assert [(await world.take(1, larger)).allowed for _ in range(6)] == [True] * 5 + [False]
    await world.time.run(world.workers[2].adjust(larger, extra=2))
    await world.time.advance(2)
    assert [(await world.take(1, larger)).allowed for _ in range(3)] == [True, True, False]
    await world.time.advance(31 * 86_400)
    assert sum([(await world.take(1, larger)).allowed for _ in range(20)]) == 15


@pytest.mark.parametrize("seconds", [-3_600.0, 3_600.0, -86_400.0 * 40])
async def test_a_clock_that_is_set_changes_no_verdict(seconds: float) -> None:
    """Denials and tokens of a worker would otherwise be good until its clock has come there again."""
    world, what = World(NOW, 2), meter(1_000)
    assert sum([(await world.take(0, what)).allowed for _ in range(995)]) == 995
    world.ahead = seconds
    await world.time.advance(1.0)  # tokens that were taken in advance are given back
    assert world.store.counter(what.key).used == 995
    assert sum([(await world.take(1, what)).allowed for _ in range(9)]) == 5
    assert not (await world.take(0, what)).allowed
    await world.workers[1].adjust(what, extra=10)
    await world.time.advance(2.0)
    assert (await world.take(0, what)).allowed
    assert world.workers[0].peek(what) is not None


async def test_what_an_outage_granted_is_counted_though_two_workers_filled_the_counter_at_once() -> None:
    world, what = World(NOW, 2), meter(1_000)
    begin = world.ledger.begin

    async def slow(keys: Sequence[str], generation: str) -> list[Counter]:
        found = await begin(keys, generation)
        await spin()
        return found

    world.ledger.begin = slow  # type: ignore[method-assign]
    await asyncio.gather(*(worker.take(what) for worker in world.workers))
    assert world.ledger.begun == 2
    assert world.store.counter(what.key).generation == world.ledger.rows[what.key].generation
    world.store.away = True
    for _ in range(50):
        await world.take(0, what)
    world.store.away = False
    await world.flush()
    assert world.store.counter(what.key).used == world.ledger.rows[what.key].used == 52


async def test_a_count_waits_for_a_counter_that_is_being_filled_without_it() -> None:
    world, what = World(NOW, 2), meter(1_000)
    await world.take(1, what)
    await world.flush()
    world.store.away = True
    for _ in range(30):
        await world.take(1, what)
    world.store.away = False
    world.store.lose()
    (read,) = await world.ledger.begin([what.key], "another worker's")
    await world.workers[1].flush()  # the counter is not there yet, and `read` has none of the 30
    await world.store.fill(what.key, read)
    await world.workers[1].flush()
    assert world.store.counter(what.key).used == world.ledger.rows[what.key].used == 31


async def test_counters_of_very_many_callers_are_filled_together() -> None:
    world = World(NOW, 1)
    meters = [Meter(f"consumer:{number}|plan|month", meter(10).policy) for number in range(320)]
    for _ in range(2):
        world.ledger.begun = 0
        verdicts = await asyncio.gather(*(world.workers[0].take(each) for each in meters))
        assert all(verdict.allowed for verdict in verdicts)
        assert 0 < world.ledger.begun < 20
        world.store.lose()
    world.ledger.away = True
    verdicts = await asyncio.gather(*(world.workers[0].take(each) for each in meters))  # by its share
    assert all(verdict.allowed for verdict in verdicts)
    world.ledger.away = False
    await world.flush()
    assert [world.ledger.rows[each.key].used for each in meters] == [3] * 320


async def test_refunds_and_resets_free_requests_in_every_worker() -> None:
    world, what = World(NOW), meter(10)
    for _ in range(10):
        await world.take(0, what)
    await world.time.run(world.workers[1].adjust(what, used=3))
    await world.time.advance(2)
    assert [(await world.take(0, what)).allowed for _ in range(4)] == [True, True, True, False]
    await world.time.run(world.workers[1].adjust(what, used=None))
    await world.time.advance(2)
    assert (await world.take(0, what)).remaining == 9
    await world.flush()
    assert world.ledger.rows[what.key].used == 1


async def test_events_are_sent_once_even_if_the_store_is_lost() -> None:
    world, what = World(NOW), meter(100)
    for number in range(120):
        await world.take(number % 4, what)
        if number in (85, 105):
            await world.flush()
            world.store.lose()
    assert world.events == [(what.key, 80), (what.key, 100)]


async def test_what_was_not_saved_when_the_store_was_lost_is_settled() -> None:
    world, what = World(NOW), meter(100)
    for _ in range(60):
        await world.take(0, what)
    world.store.lose()  # before worker 0 has saved anything
    assert (await world.take(1, what)).remaining == 99
    await world.flush()
    assert (await world.time.run(world.workers[1].read(what))).used == 61
    await world.time.advance(1)
    assert sum([(await world.take(2, what)).allowed for _ in range(60)]) == 39


async def test_without_the_store_each_worker_has_its_share_which_is_settled_later() -> None:
    world, what = World(NOW), meter(100)
    for number in range(20):
        await world.take(number % 4, what)
    await world.flush()
    world.store.away = True
    allowed = 0
    for _ in range(50):
        for worker in range(4):
            allowed += (await world.take(worker, what)).allowed
    assert 60 <= allowed <= 80
    world.store.away = False
    await world.flush()
    await world.time.advance(2)
    for _ in range(100):
        allowed += (await world.take(1, what)).allowed
    assert allowed == 80
    await world.flush()
    assert world.ledger.rows[what.key].used == 100


async def test_without_the_store_and_the_database_a_share_of_the_quota_is_granted() -> None:
    world, what = World(NOW), meter(100)
    world.store.away = world.ledger.away = True
    assert sum([(await world.take(0, what)).allowed for _ in range(100)]) == 25
    world.ledger.away = False
    await world.workers[0].flush()
    assert world.ledger.rows[what.key].used == 25


async def test_requests_that_are_given_back_count_no_more() -> None:
    world, what = World(NOW), meter(5)
    for _ in range(20):
        assert (await world.take(0, what)).allowed
        world.workers[0].give_back(what)
        await world.time.advance(0.1)
    await world.time.advance(1)
    assert (await world.time.run(world.workers[0].read(what))).used == 0

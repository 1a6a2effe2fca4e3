"""Counters and slots in a real Redis, over several workers."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from resilience.usage.driver import Quotas
from resilience.usage.meter import Meter
from resilience.usage.policy import Per, QuotaPolicy
from resilience.usage.redis import RedisStore
from resilience.usage.slots import RENEW_SECONDS, Slots
from tests.resilience.usage.world import FakeLedger

METER = Meter("consumer:1|plan|month", QuotaPolicy(amount=1_000, per=Per.MONTH, timezone="Europe/Berlin"))


@pytest.fixture
async def links(redis_url: str) -> AsyncIterator[list[RedisLink]]:
    made = [RedisLink(redis_url) for _ in range(4)]
    for link in made:
        await link.start()
    yield made
    for link in made:
        await link.close()


async def test_exactly_the_quota_passes_over_four_workers_and_a_lost_redis(links: list[RedisLink]) -> None:
    ledger, events = FakeLedger(), list[int]()
    workers = [
        Quotas(RedisStore(link), ledger, notify=lambda _meter, percent, _counter: events.append(percent))
        for link in links
    ]

    async def requests(worker: Quotas, number: int) -> int:
        return sum([(await worker.take(METER)).allowed for _ in range(number)])

    async def round_of(number: int) -> int:
        return sum(await asyncio.gather(*(requests(worker, number // 12) for worker in workers for _ in range(3))))

    allowed = await round_of(600)
    for worker in workers:
        await worker.flush()
    await links[0].client.flushdb()
    allowed += await round_of(900)
    assert allowed == 1_000
    for worker in workers:
        await worker.close()
    assert ledger.rows[METER.key].used == 1_000
    assert events == [80, 100]


@pytest.mark.parametrize("run", ["0123456789abcdef", None])
async def test_a_server_that_has_loaded_a_snapshot_has_lost_what_came_after_it(
    links: list[RedisLink], run: str | None
) -> None:
    """Or a replica that had not received it. A counter of an earlier version names no run, and is kept."""
    ledger = FakeLedger()
    first, second = Quotas(RedisStore(links[0]), ledger), Quotas(RedisStore(links[1]), ledger)
    for _ in range(700):
        assert (await first.take(METER)).allowed
    await first.flush()
    ((key, *_),) = [await links[0].client.keys("*usage:*")]
    await links[0].client.hset(key, mapping={"used": 20, **({"run": run} if run else {})})
    if run is None:
        await links[0].client.hdel(key, "run")
    assert (await second.take(METER)).allowed
    spent = (await second.read(METER)).used
    assert (spent > 700) is (run is not None)
    assert await links[0].client.hget(key, "run")
    for worker in (first, second):
        await worker.close()


async def test_the_period_is_the_servers(links: list[RedisLink]) -> None:
    """A worker whose clock is a year behind asks again with the period that is current."""
    late = Quotas(RedisStore(links[0]), FakeLedger(), clock=lambda: time.time() - 370 * 86_400)
    right = Quotas(RedisStore(links[1]), FakeLedger())
    assert (await late.take(METER)).allowed
    assert (await right.read(METER)).used == 1
    assert (await late.read(METER)).ends == (await right.read(METER)).ends


async def test_other_programs_data_is_replaced(links: list[RedisLink]) -> None:
    worker = Quotas(RedisStore(links[0]), FakeLedger())
    await worker.take(METER)
    await worker.flush()
    (key,) = await links[0].client.keys("*usage:*")
    await links[0].client.hset(key, "used", "many")
    assert (await worker.read(METER)).used == 1
    await links[0].client.set(key, "text")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await worker.read(METER)
    assert (await worker.read(METER)).used == 1


async def test_refunds_and_raises_reach_other_workers(links: list[RedisLink]) -> None:
    ledger = FakeLedger()
    first, second = (Quotas(RedisStore(link), ledger) for link in links[:2])
    small = Meter("k", QuotaPolicy(amount=5, per=Per.DAY))
    for _ in range(5):
        assert (await first.take(small)).allowed
    assert not (await second.take(small)).allowed
    await first.adjust(small, used=2, extra=1)
    await asyncio.sleep(1.05)
    assert [(await second.take(small)).allowed for _ in range(4)] == [True] * 3 + [False]
    await first.adjust(small, used=None)
    assert (await first.read(small)).used == 0
    await second.close()
    await first.close()
    assert (ledger.rows["k"].used, ledger.rows["k"].extra) == (0, 1)


async def test_tokens_that_are_given_back_after_a_reset_allow_no_further_requests(links: list[RedisLink]) -> None:
    ledger = FakeLedger()
    first, second = (Quotas(RedisStore(link), ledger) for link in links[:2])
    taken = 0
    while taken >= (await second.read(METER)).used:  # until the worker has tokens in advance
        await first.take(METER)
        taken += 1
    await second.adjust(METER, used=None)
    await first.close()
    (key,) = await links[0].client.keys("*usage:*")
    assert await links[0].client.hget(key, "used") == b"0"
    await second.close()


async def test_slots_are_counted_over_workers_and_freed(links: list[RedisLink]) -> None:
    first, second = Slots(links[0]), Slots(links[1])
    held = [slots.hold() for slots in (first, second, first)]
    assert [await one.enter("c", 3) for one in held] == [True] * 3
    late = second.hold()
    assert not await late.enter("c", 3)
    held[0].release()
    held[0].release()
    await first.close()
    assert await late.enter("c", 3)
    assert not await first.hold().enter("c", 3)
    await first.renew()
    await second.renew()
    assert not await first.hold().enter("c", 3)


async def test_slots_of_a_worker_that_is_gone_are_free_after_their_term(links: list[RedisLink]) -> None:
    gone, other = Slots(links[0]), Slots(links[1])
    assert await gone.hold().enter("c", 1)
    assert not await other.hold().enter("c", 1)
    (key,) = await links[0].client.keys("*slots:*")
    (worker,) = await links[0].client.hkeys(key)
    await links[0].client.hset(key, worker, f"1:{int(time.time()) - 1}")
    assert await other.hold().enter("c", 1)


async def test_slots_that_could_not_be_released_are_free_although_others_come_and_go(
    links: list[RedisLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of requests that end while Redis is away: each later request would renew what it counts for the worker."""
    now = 0.0
    slots = Slots(links[0], clock=lambda: now)
    held = [slots.hold() for _ in range(2)]
    assert [await one.enter("c", 3) for one in held] == [True] * 2

    async def refuse(*_: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as outage:
        outage.setattr(links[0], "run", refuse)
        for one in held:
            one.release()
        await slots.close()
        now = RENEW_SECONDS + 1
        await slots.renew()
    await slots.renew()
    assert [await slots.hold().enter("c", 3) for _ in range(4)] == [True] * 3 + [False]

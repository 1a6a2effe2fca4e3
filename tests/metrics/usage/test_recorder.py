"""Two workers count exactly, whatever ends, is away, or is offered twice."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from zoneinfo import ZoneInfo

import pytest
from django.db import OperationalError

from metrics.models import DailyUsage
from metrics.usage import recorder as recorder_module
from metrics.usage.ledger import UsageLedger
from metrics.usage.meter import UsageMeter
from metrics.usage.record import Usage, UsageBatch, UsageCounts, UsageKey, merge
from metrics.usage.recorder import ABANDONED_SECONDS, SAVE_SECONDS, UsageRecorder
from metrics.usage.redis import BATCHES, KEEP_SECONDS, RedisBackup
from metrics.usage.store import Backup, NoBackup
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from tests.clock import FakeClock
from tests.metrics.events import NOW
from tests.metrics.usage.requests import caller, count, exchange
from tests.redis_server import RedisServer

UTC = ZoneInfo("UTC")


class FakeLedger:
    """A database that can be away, and that can fail to confirm what it has added."""

    def __init__(self) -> None:
        self.batches: dict[str, UsageBatch] = {}
        self.away = self.confirms_nothing = False

    def save(self, batches: Sequence[UsageBatch]) -> None:
        if self.away:
            raise OperationalError("away")
        for batch in batches:
            self.batches.setdefault(batch.id, batch)
        if self.confirms_nothing:
            raise OperationalError("the connection was lost after the commit")

    @property
    def requests(self) -> int:
        return requests(merge(self.batches.values()))


class SharedBackup(NoBackup):
    """Redis, as far as workers can tell: it can be away, emptied, and fail to confirm."""

    is_shared = True

    def __init__(self) -> None:
        self.batches: dict[str, UsageBatch] = {}
        self.away = self.confirms_nothing = False

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("away")

    async def put(self, batches: Sequence[UsageBatch]) -> None:
        self._check()
        self.batches |= {batch.id: batch for batch in batches}
        if self.confirms_nothing:
            raise StoreUnavailable("timed out")

    async def remove(self, ids: Sequence[str]) -> None:
        self._check()
        for each in ids:
            self.batches.pop(each, None)

    async def all(self) -> list[UsageBatch]:
        self._check()
        return list(self.batches.values())


class Worker:
    def __init__(self, backup: Backup, ledger: FakeLedger | UsageLedger, clock: Callable[[], float]) -> None:
        self.meter = UsageMeter(UTC, clock=clock)
        self.recorder = UsageRecorder(self.meter, backup, ledger, timezone=UTC, clock=clock)

    def count(self, number: int = 1, consumer: str = "acme") -> None:
        who = caller(consumer=consumer)
        for _ in range(number):
            count(self.meter, exchange(who))


def requests(usage: Usage) -> int:
    return sum(counts.requests for counts in usage.values())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


async def test_batches_are_in_redis_within_a_second_and_in_the_database_soon_after(clock: FakeClock) -> None:
    backup, ledger = SharedBackup(), FakeLedger()
    worker = Worker(backup, ledger, clock)
    await worker.recorder.run_once()
    worker.count(3)
    clock.advance(1)
    await worker.recorder.run_once()
    assert (requests(merge(backup.batches.values())), ledger.requests) == (3, 0)
    clock.advance(SAVE_SECONDS)
    await worker.recorder.run_once()
    assert (backup.batches, ledger.requests) == ({}, 3)


async def test_without_redis_or_while_it_is_away_the_database_has_them_within_a_second(clock: FakeClock) -> None:
    away = SharedBackup()
    away.away = True
    for backup in (NoBackup(), away):
        ledger = FakeLedger()
        worker = Worker(backup, ledger, clock)
        await worker.recorder.run_once()
        worker.count(2)
        clock.advance(1)
        await worker.recorder.run_once()
        assert ledger.requests == 2


async def test_another_worker_saves_what_a_killed_one_has_left(clock: FakeClock) -> None:
    backup, ledger = SharedBackup(), FakeLedger()
    killed, other = Worker(backup, ledger, clock), Worker(backup, ledger, clock)
    await killed.recorder.run_once()
    killed.count(5)
    clock.advance(1)
    await killed.recorder.run_once()
    await other.recorder.run_once()
    assert ledger.requests == 0
    clock.advance(ABANDONED_SECONDS)
    await other.recorder.run_once()
    assert (ledger.requests, backup.batches) == (5, {})
    await killed.recorder.close()  # it was only slow
    assert ledger.requests == 5


async def test_a_reader_has_the_batches_of_a_killed_worker_at_once(clock: FakeClock) -> None:
    backup, ledger = SharedBackup(), FakeLedger()
    killed, other = Worker(backup, ledger, clock), Worker(backup, ledger, clock)
    killed.count(5)
    await killed.recorder.flush()
    await other.recorder.collect()
    assert ledger.requests == 5


async def test_redis_that_is_emptied_loses_nothing(clock: FakeClock) -> None:
    backup, ledger = SharedBackup(), FakeLedger()
    worker = Worker(backup, ledger, clock)
    await worker.recorder.run_once()
    worker.count(5)
    clock.advance(1)
    await worker.recorder.run_once()
    backup.batches.clear()
    clock.advance(SAVE_SECONDS)
    await worker.recorder.run_once()
    assert ledger.requests == 5


async def test_a_long_outage_of_the_database_is_bounded_and_loses_nothing(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "MAX_UNSAVED_ROWS", 70)
    backup, ledger = SharedBackup(), FakeLedger()
    worker = Worker(backup, ledger, clock)
    ledger.away = True
    for _ in range(900):
        worker.count()
        clock.advance(1)
        await worker.recorder.run_once()
    assert len(backup.batches) == 70
    ledger.away = False
    for _ in range(2):
        clock.advance(SAVE_SECONDS)
        await worker.recorder.run_once()
    await worker.recorder.close()
    assert ledger.requests == 900
    assert backup.batches == {}


async def test_what_is_left_at_the_end_is_in_redis_if_the_database_is_away(clock: FakeClock) -> None:
    backup, ledger = SharedBackup(), FakeLedger()
    worker, other = Worker(backup, ledger, clock), Worker(backup, ledger, clock)
    ledger.away = True
    worker.count(2)
    await worker.recorder.close()
    ledger.away = False
    await other.recorder.collect()
    assert ledger.requests == 2


@pytest.mark.parametrize("seed", range(20))
async def test_random_faults_never_change_the_sum(seed: int) -> None:
    rng, clock = random.Random(seed), FakeClock(NOW)
    backup, ledger = SharedBackup(), FakeLedger()
    workers = [Worker(backup, ledger, clock) for _ in range(3)]
    counted = 0
    for _ in range(300):
        worker = rng.choice(workers)
        number = rng.randrange(3)
        worker.count(number, rng.choice("abc"))
        counted += number
        backup.away, backup.confirms_nothing = rng.random() < 0.2, rng.random() < 0.2
        ledger.away, ledger.confirms_nothing = rng.random() < 0.2, rng.random() < 0.2
        if not ledger.away and rng.random() < 0.05:
            backup.batches.clear()
        clock.advance(rng.choice([0.1, 1, 6, 20]))
        if rng.random() < 0.1 and not backup.away and not backup.confirms_nothing:
            await worker.recorder.flush()  # and then it is killed
            if not backup.batches.keys() >= {batch.id for batch in worker.recorder._unsaved}:
                continue  # Redis was emptied meanwhile
            workers[workers.index(worker)] = Worker(backup, ledger, clock)
            await save_everything(workers[0], backup, ledger)
        else:
            await worker.recorder.run_once()
    backup.away = backup.confirms_nothing = False
    for worker in workers:
        await save_everything(worker, backup, ledger)
    assert ledger.requests == counted
    assert backup.batches == {}


async def save_everything(worker: Worker, backup: SharedBackup, ledger: FakeLedger) -> None:
    ledger.away = ledger.confirms_nothing = False
    await worker.recorder.collect()


# With the real stores.


@pytest.fixture
async def link(own_redis: RedisServer) -> AsyncIterator[RedisLink]:
    link = RedisLink(own_redis.url)
    yield link
    await link.close()


async def test_batches_in_redis(link: RedisLink, own_redis: RedisServer) -> None:
    backup = RedisBackup(link)
    key = UsageKey("2026-01-01", "acme", service="crm", route="/a")
    now = link.now()
    old = UsageBatch("old", now - KEEP_SECONDS - 1, [(key, UsageCounts(1))])
    new = UsageBatch("new", now, [(key, UsageCounts(2, bytes_out=2**40))])
    await backup.put([old, new])
    await backup.put([new])
    with own_redis.client() as client:
        client.hset(link.key(BATCHES), "other", b"\xff not a batch")
    assert await backup.all() == [new]
    await backup.remove(["new", "unknown"])
    assert await backup.all() == []
    with own_redis.client() as client:
        assert 0 < client.ttl(link.key(BATCHES)) <= KEEP_SECONDS
        client.set(link.key(BATCHES), "another program's")
    with pytest.raises(StoreUnavailable):
        await backup.put([new])
    await backup.put([new])  # the key of another type is gone
    assert await backup.all() == [new]


@pytest.mark.django_db(transaction=True)
def test_two_workers_over_redis_and_the_database_with_one_killed(own_redis: RedisServer) -> None:
    """Each event loop is a process: what it does not close is lost, as in one that is killed."""
    asyncio.run(serve(own_redis, kill=True))
    asyncio.run(serve(own_redis, kill=False))
    for _ in range(2):
        asyncio.run(serve(own_redis, number=0))
    assert sum(DailyUsage.objects.values_list("requests", flat=True)) == 2 * 2 * 40 * 5
    assert set(DailyUsage.objects.values_list("consumer", flat=True)) == {f"consumer-{number}" for number in range(3)}


async def serve(redis: RedisServer, *, number: int = 40, kill: bool = False) -> None:
    """Two workers count and save at different times; Redis restarts empty before the second one is killed."""
    links, ledger = [RedisLink(redis.url) for _ in range(2)], UsageLedger()
    first, second = workers = [Worker(RedisBackup(link), ledger, link.now) for link in links]
    for link in links:
        await link.start()
    for each in range(number):
        first.count(5, f"consumer-{each % 3}")
        second.count(5, f"consumer-{each % 3}")
        if each % 3 == 0:
            await asyncio.gather(first.recorder.flush(), second.recorder.flush())
        if each % 7 == 0:
            await first.recorder.run_once()
        if each == 20 and kill:
            redis.flush()
            await second.recorder.collect()
    await second.recorder.flush()
    await first.recorder.collect()
    for worker in workers[: 1 if kill else 2]:
        await worker.recorder.close()
    for link in links:
        await link.close()


async def test_a_reader_gets_what_other_workers_have_counted(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.counting.flush_requests.GATHER_SECONDS", 30)
    links, ledger = [RedisLink(own_redis.url) for _ in range(3)], FakeLedger()
    workers = [Worker(RedisBackup(link), ledger, link.now) for link in links]
    up = [asyncio.Event() for _ in links]
    for link, event in zip(links, up, strict=True):
        link.feed.subscribe(on_up=event.set, on_down=lambda: None)
        await link.start()
    for event in up:
        await event.wait()
    for worker in workers:
        worker.count(2)
    await workers[0].recorder.collect()
    assert ledger.requests == 6
    for worker, link in zip(workers, links, strict=True):
        await worker.recorder.close()
        await link.close()
    assert ledger.requests == 6

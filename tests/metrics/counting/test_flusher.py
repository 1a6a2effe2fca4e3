"""Counts reach the database from all workers exactly once."""

import asyncio
import random
from collections import Counter, defaultdict
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError

from gateway_project.parts.stores import Stores
from metrics.counting.aggregates import AggregateWriter, read_counts
from metrics.counting.counts import CountBatch, buckets, merge_counts, with_prefix
from metrics.counting.flusher import PATH_SECONDS, Database, Flusher
from metrics.counting.memory import MemoryStore
from metrics.counting.observer import CircuitTransition, MetricsObserver, call_outcome
from metrics.counting.redis import RedisStore
from metrics.counting.store import Flush, Store
from metrics.models import TimeResolution
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from routing.observability.events import RequestFinished
from tests.clock import FakeClock
from tests.metrics.events import finished, random_event
from tests.redis_server import RedisServer


class MemoryDatabase:
    """A Database in memory that can be made to fail."""

    def __init__(self) -> None:
        self.batches: dict[str, CountBatch] = {}
        self.changes: list[CircuitTransition] = []
        self.failing = False

    @property
    def total(self) -> Counter[str]:
        return merge_counts(batch.counts for batch in self.batches.values())

    def apply(self, batch: CountBatch) -> None:
        if self.failing:
            raise OperationalError("the disk is full")
        self.batches.setdefault(batch.id, batch)

    def record_transitions(self, changes: list[CircuitTransition]) -> None:
        if self.failing:
            raise OperationalError("the disk is full")
        self.changes += changes

    def disconnect(self) -> None:
        pass


class UnreliableStore(MemoryStore):
    """A store that accepts a flush and then fails to reply, until it is `reliable`."""

    reliable = False

    async def add(self, flush: Flush) -> None:
        await super().add(flush)
        if not self.reliable:
            raise StoreUnavailable("timed out")


def new_worker(store: Store, database: Database) -> Flusher:
    return Flusher(MetricsObserver(FakeClock()), store, database, clock=FakeClock())


def requests(counts: Counter[str]) -> int:
    return sum(number for field, number in counts.items() if "|requests|" in field)


async def test_paths_are_sent_less_often_and_at_once_for_a_reader() -> None:
    clock, database = FakeClock(), MemoryDatabase()
    observer = MetricsObserver(clock)
    flusher = Flusher(observer, MemoryStore(), database, clock=clock)

    async def after(seconds: float) -> int:
        """The requests to a path that the database has then; each call adds one."""
        observer.finished(finished(service="crm", path="/contacts", cache="HIT", at=clock()))
        clock.advance(seconds)
        await flusher.run_once()
        return sum(number for field, number in database.total.items() if "|path|" in field)

    assert [await after(1), await after(1)] == [0, 0]
    assert requests(database.total) == 2
    assert await after(PATH_SECONDS) == 3
    assert await after(1) == 3
    (batch,) = (await flusher.pending()).batches
    assert [number for field, number in batch.counts.items() if "|path|HIT|/contacts" in field] == [1]
    await after(1)
    await flusher.close()
    assert requests(database.total) == sum(n for field, n in database.total.items() if "|path|" in field) == 5


async def test_a_flush_that_was_stored_without_a_reply_is_counted_once() -> None:
    store, database, observer = UnreliableStore(), MemoryDatabase(), MetricsObserver(FakeClock())
    flusher = Flusher(observer, store, database, clock=FakeClock())
    observer.finished(finished())
    await flusher.flush()
    observer.finished(finished())
    await flusher.flush()
    assert not flusher.connected
    store.reliable = True
    await flusher.close()
    assert requests(database.total) == 2
    assert flusher.connected


async def test_without_the_store_counts_are_written_to_the_database_once() -> None:
    store, database, observer = UnreliableStore(), MemoryDatabase(), MetricsObserver(FakeClock())
    flusher = Flusher(observer, store, database, clock=FakeClock())
    for _ in range(3):
        observer.finished(finished())
        await flusher.run_once()
        observer.finished(finished())
    assert requests(merge_counts([database.total, *(batch.counts for batch in (await flusher.pending()).batches)])) == 6
    store.reliable = True
    await flusher.run_once()
    observer.finished(finished())
    await flusher.close()
    assert requests(database.total) == 7


async def test_counts_are_kept_while_the_database_fails(caplog: pytest.LogCaptureFixture) -> None:
    store, database, observer = MemoryStore(), MemoryDatabase(), MetricsObserver(FakeClock())
    flusher = Flusher(observer, store, database, clock=FakeClock())
    observer.finished(finished())
    observer.circuit_changed("crm", "CLOSED", "OPEN", "")
    database.failing = True
    await flusher.flush()
    with pytest.raises(OperationalError, match="disk"):
        await flusher.drain(None)
    for _ in range(3):
        await flusher.run_once()
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("metrics cannot be written to the database at the moment: OperationalError", None)
    ]
    database.failing = False
    await flusher.close()
    assert requests(database.total) == 1
    assert len(database.changes) == 1


async def test_a_worker_that_closes_without_its_store_writes_to_the_database() -> None:
    link, database, observer = RedisLink("unix:///nowhere/socket"), MemoryDatabase(), MetricsObserver(FakeClock())
    flusher = Flusher(observer, RedisStore(link), database, clock=FakeClock())
    observer.finished(finished())
    assert requests(merge_counts(batch.counts for batch in (await flusher.pending()).batches)) == 1
    observer.finished(finished())
    await flusher.close()
    assert requests(database.total) == 2
    await link.close()


async def test_it_flushes_periodically_and_on_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.counting.flusher.FLUSH_INTERVAL_SECONDS", 0.001)
    database, observer, applied = MemoryDatabase(), MetricsObserver(FakeClock()), asyncio.Event()
    loop, apply = asyncio.get_running_loop(), database.apply

    def apply_and_notify(batch: CountBatch) -> None:
        apply(batch)
        loop.call_soon_threadsafe(applied.set)

    database.apply = apply_and_notify  # type: ignore[method-assign]
    flusher = Flusher(observer, MemoryStore(), database, clock=FakeClock())
    flusher.start()
    observer.finished(finished())
    await asyncio.wait_for(applied.wait(), 30)
    observer.finished(finished())
    await flusher.close()
    assert requests(database.total) == 2


def expected(events: list[RequestFinished]) -> dict[str, Any]:
    """The same counts, computed independently."""
    by_service: defaultdict[str, list[RequestFinished]] = defaultdict(list)
    for event in events:
        by_service[event.service].append(event)
    return {
        name: {
            "requests": len(own),
            "bytes": sum(event.bytes for event in own),
            "cache": Counter(event.cache for event in own if event.cache),
            "codes": Counter(event.code for event in own if event.code),
            "aborted": Counter(event.aborted for event in own if event.aborted),
            "circuit": Counter(call_outcome(event) for event in own if call_outcome(event)),
            "durations": len(own),
            "backend": sum(event.backend is not None for event in own),
        }
        for name, own in by_service.items()
    }


def counted(waiting: tuple[CountBatch, ...] = ()) -> dict[str, Any]:
    return {
        name: {
            "requests": sum(with_prefix(fields, "requests").values()),
            "bytes": fields["bytes"],
            "cache": with_prefix(fields, "cache"),
            "codes": with_prefix(fields, "code"),
            "aborted": with_prefix(fields, "aborted"),
            "circuit": with_prefix(fields, "circuit"),
            "durations": sum(buckets(fields, "duration").values()),
            "backend": sum(buckets(fields, "backend").values()),
        }
        for (_, name), fields in read_counts(waiting, TimeResolution.TOTAL).items()
    }


@pytest.mark.django_db(transaction=True)
def test_20_000_requests_over_four_restarted_workers_add_up_exactly(redis_url: str) -> None:
    rng = random.Random(20_000)
    events = [random_event(rng) for _ in range(20_000)]

    async def serve(part: list[RequestFinished]) -> tuple[CountBatch, ...]:
        """Count `part` in four workers that flush and drain at random. Returns what is pending before they close."""
        links = [RedisLink(redis_url) for _ in range(4)]
        for link in links:
            await link.start()
        workers = [new_worker(RedisStore(link), AggregateWriter()) for link in links]
        for number, event in enumerate(part):
            worker = rng.choice(workers)
            worker.observer.finished(event)
            if number % 500 == 0:
                await asyncio.gather(*(one.flush() for one in rng.sample(workers, 2)))
            if number % 2_000 == 0:
                await worker.drain(None)
        await asyncio.gather(*(worker.flush() for worker in workers))
        waiting = (await workers[0].pending()).batches
        for worker in workers:
            await worker.close()
        for link in links:
            await link.close()
        return waiting

    waiting = asyncio.run(serve(events[:12_000]))
    assert waiting
    assert counted(waiting) == counted() == expected(events[:12_000])
    asyncio.run(serve(events[12_000:]))
    assert counted() == expected(events)


async def test_a_reader_sees_the_latest_counts_of_all_workers(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.counting.flush_requests.GATHER_SECONDS", 30)
    links = [RedisLink(redis_url) for _ in range(3)]
    workers = [new_worker(RedisStore(link), MemoryDatabase()) for link in links]
    up = [asyncio.Event() for _ in links]
    for link, event in zip(links, up, strict=True):
        link.feed.subscribe(on_up=event.set, on_down=lambda: None)
        await link.start()
    for event in up:
        await event.wait()
    for worker in workers:
        worker.observer.finished(finished())
    waiting = await workers[0].pending()
    assert requests(merge_counts(batch.counts for batch in waiting.batches)) == 3
    for worker, link in zip(workers, links, strict=True):
        await worker.close()
        await link.close()


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_loses_only_what_it_had_not_flushed(redis_url: str) -> None:
    async def serve() -> None:
        link = RedisLink(redis_url)
        await link.start()
        store: Store = RedisStore(link)
        killed, other = (new_worker(store, AggregateWriter()) for _ in range(2))
        killed.observer.finished(finished())
        await killed.flush()
        assert await store.take("killed") is not None  # it was about to write the batch to the database
        killed.observer.finished(finished())
        await other.close()
        await link.close()

    asyncio.run(serve())
    assert counted()["crm"]["requests"] == 1


async def test_external_counters_are_counted_by_their_increase() -> None:
    database, total = MemoryDatabase(), {"lost|get": 3, "lost|put": 0}
    counters = {field: partial(total.__getitem__, field) for field in total}
    flusher = Flusher(MetricsObserver(FakeClock()), MemoryStore(), database, counters=counters, clock=FakeClock(125))
    await flusher.run_once()
    total["lost|get"] = 5
    await flusher.run_once()
    await flusher.close()
    assert database.total == {"120||lost|get": 5}


async def test_cache_operations_lost_in_an_outage_are_counted_after_it(own_redis: RedisServer) -> None:
    link, database = RedisLink(own_redis.url), MemoryDatabase()
    stores = Stores.over(link)
    flusher = Flusher(
        MetricsObserver(FakeClock()), stores.counts, database, counters=stores.totals, clock=FakeClock(125)
    )
    own_redis.stop()
    for _ in range(2):
        await stores.responses.get("crm", "k")
    await flusher.close()
    await link.close()
    assert database.total == {"120||lost|get": 2}


def test_memory_stores_have_no_counters() -> None:
    assert Stores.over(None).totals == {}

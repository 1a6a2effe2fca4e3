"""Failed requests of consumers: what is recorded, and how much of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from metrics.failures.failure import KEPT, Failure
from metrics.failures.recorder import FailureRecorder
from metrics.failures.redis import RedisStore
from metrics.failures.store import MAX_LISTS, MemoryStore, Store
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from routing.consumers.policy import NO_LIMITS
from routing.consumers.subscription import LimitedMember, Subscription
from routing.observability.events import Observers
from tests.metrics.events import NOW, finished
from tests.stores import opened_store


def subscription(consumer: int) -> Subscription:
    return Subscription(None, LimitedMember(consumer, f"c{consumer}", NO_LIMITS, 0.0), None, None)


def fail(recorder: FailureRecorder, consumer: int, number: int) -> None:
    event = finished(at=NOW + number, status=503, code="circuit_open", request_id=f"r{number}", caller="key:abc")
    Observers([recorder]).failed(subscription(consumer), event)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.slow)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    async with opened_store(request, MemoryStore, RedisStore) as opened:
        yield opened


async def test_each_consumer_has_its_own_last_failures(store: Store) -> None:
    recorder = FailureRecorder(store)
    for number in range(KEPT + 5):
        fail(recorder, 1, number)
    fail(recorder, 2, 100)
    found = await recorder.read(1)
    assert [failure.request_id for failure in found] == [f"r{number}" for number in range(KEPT + 4, 4, -1)]
    assert [failure.request_id for failure in await recorder.read(2)] == ["r100"]
    assert await recorder.read(3) == []


async def test_workers_add_to_one_list(store: Store) -> None:
    workers = [FailureRecorder(store), FailureRecorder(store)]
    for number in range(4):
        fail(workers[number % 2], 1, number)
        await workers[number % 2].flush()
    assert [failure.request_id for failure in await workers[0].read(1)] == ["r3", "r2", "r1", "r0"]


async def test_what_could_not_be_stored_is_kept_and_bounded() -> None:
    class Away(MemoryStore):
        is_away = True

        async def add(self, failures: Mapping[str, Sequence[Failure]]) -> None:
            if self.is_away:
                raise StoreUnavailable("away")
            await super().add(failures)

    store = Away()
    recorder = FailureRecorder(store)
    for number in range(100):
        fail(recorder, 1, number)
        with pytest.raises(StoreUnavailable):
            await recorder.flush()
    store.is_away = False
    found = await recorder.read(1)
    assert [failure.request_id for failure in found] == [f"r{number}" for number in range(99, 99 - KEPT, -1)]


async def test_failures_are_stored_soon_and_at_the_end() -> None:
    store = MemoryStore()
    recorder = FailureRecorder(store)
    recorder.start()
    fail(recorder, 1, 1)
    for _ in range(500):
        if await store.read("1"):
            break
        await asyncio.sleep(0.02)
    assert await store.read("1")
    fail(recorder, 1, 2)
    await recorder.close()
    assert len(await store.read("1")) == 2


async def test_memory_is_bounded() -> None:
    store = MemoryStore()
    recorder = FailureRecorder(store)
    for consumer in range(1, MAX_LISTS + 100):
        fail(recorder, consumer, 1)
    await recorder.flush()
    await store.add({str(MAX_LISTS + 1000): [Failure.of(finished())]})
    assert len(store._kept) == MAX_LISTS


def test_texts_of_clients_are_cut() -> None:
    failure = Failure.of(finished(path="/" + "x" * 10_000, method="M" * 1_000, request_id="r"))
    assert (len(failure.path), len(failure.method)) == (200, 200)


def test_keys_without_a_consumer_are_not_recorded() -> None:
    recorder = FailureRecorder(MemoryStore())
    recorder.failed(Subscription(LimitedMember(1, "key", NO_LIMITS, 0.0), None, None, None), finished(status=500))
    assert recorder._pending == {}


@pytest.mark.slow
async def test_what_other_programs_write_is_ignored(redis_url: str) -> None:
    link = RedisLink(redis_url)
    await link.start()
    try:
        store = RedisStore(link)
        for junk in (b"junk", b"[]", b"\xff", b'{"at":1}'):
            await link.client.rpush(link.key("failures:7"), junk)
        recorder = FailureRecorder(store)
        fail(recorder, 7, 1)
        assert [failure.request_id for failure in await recorder.read(7)] == ["r1"]
        await link.client.set(link.key("failures:8"), "another type")
        with pytest.raises(StoreUnavailable):
            await recorder.read(8)
        fail(recorder, 8, 2)
        assert [failure.request_id for failure in await recorder.read(8)] == ["r2"]
    finally:
        await link.close()

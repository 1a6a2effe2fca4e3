"""Two tiers, two workers and a Redis that may fail: no invalidated entry is served, and lookups never fail."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

from resilience.cache import tiers
from resilience.cache.driver import Cache
from resilience.cache.flights import Flights
from resilience.cache.memory import MEMORY_BYTES
from resilience.cache.objects import ObjectCaches
from resilience.cache.owed import MAX_TAGS, OwedInvalidations
from resilience.cache.redis import INVALIDATION_CHANNEL, InvalidationNotice
from resilience.cache.service import CacheService, Objects, Work
from resilience.cache.store import UNFENCED
from resilience.cache.tiers import TieredStore
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import make, until

T = TypeVar("T")


@asynccontextmanager
async def worker(url: str, limit: int = MEMORY_BYTES) -> AsyncIterator[TieredStore]:
    """A worker whose memory tier is in use."""
    link = RedisLink(url)
    store = TieredStore(link, limit)
    await link.start()
    await until(lambda: link.feed.alive)
    yield store
    await link.close()


async def test_a_stored_entry_is_copied_to_memory(redis_url: str) -> None:
    async with worker(redis_url) as store:
        assert store.peek("s", "k") is None
        assert await store.put("s", "k", make(), 0)
        assert store.peek("s", "k") == make()


async def test_another_worker_copies_an_entry_on_its_first_get(redis_url: str) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        await one.put("s", "k", make(), 0)
        assert other.peek("s", "k") is None
        assert (await other.get("s", "k")).entry == make()
        assert other.peek("s", "k") == make()


async def test_an_invalidation_in_one_worker_reaches_the_other(redis_url: str) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        for key, tag in (("1", "a"), ("2", "b")):
            await one.put("s", key, make(b"", tag), 0)
            await other.get("s", key)
        assert (await one.invalidate("s", "a")).entries == 1
        assert one.peek("s", "1") is None
        await until(lambda: other.peek("s", "1") is None)
        assert one.peek("s", "2") is not None
        assert other.peek("s", "2") is not None


async def test_a_response_fetched_by_another_worker_during_an_invalidation_is_not_stored(redis_url: str) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        _, seq = await other.get("s", "k")
        await one.invalidate("s", "a")
        assert not await other.put("s", "k", make(b"old", "a"), seq)
        assert other.peek("s", "k") is None


async def test_a_large_entry_is_not_copied_to_memory(redis_url: str) -> None:
    async with worker(redis_url) as store:
        large = make(b"x" * (tiers.MAX_ENTRY_BYTES + 1))
        assert await store.put("s", "k", large, 0)
        assert (await store.get("s", "k")).entry == large
        assert store.peek("s", "k") is None


def delay(
    store: TieredStore, monkeypatch: pytest.MonkeyPatch, method: str, event: Callable[[], Awaitable[None]]
) -> None:
    """Let `event` happen between the response of Redis to `method` and its receipt by the worker."""
    real = getattr(store._redis, method)

    async def delayed(*arguments: object) -> object:
        response = await real(*arguments)
        await event()
        return response

    monkeypatch.setattr(store._redis, method, delayed)


@pytest.mark.parametrize("method", ["get_or_claim", "put"])
async def test_an_entry_that_is_invalidated_in_transit_is_not_copied(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        await one.put("s", "k", make(b"old", "a"), 0)

        async def event() -> None:
            invalidation = await one.invalidate("s", "a")
            await until(lambda: other._fences["s"].latest == invalidation.seq)

        delay(other, monkeypatch, method, event)
        await (other.get("s", "k") if method == "get_or_claim" else other.put("s", "k", make(b"old", "a"), 0))
        assert other.peek("s", "k") is None


async def test_an_entry_read_before_the_feed_was_lost_is_not_copied(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        await one.put("s", "k", make(b"old", "a"), 0)

        async def event() -> None:
            await disconnect(other)
            await one.invalidate("s", "a")
            await until(lambda: other._feed.alive)

        delay(other, monkeypatch, "get_or_claim", event)
        assert (await other.get("s", "k")).entry is not None
        assert other.peek("s", "k") is None


async def disconnect(store: TieredStore) -> None:
    """Disconnect every worker's feed for a moment, and wait until it is back."""
    before = store._epoch
    await store._redis.link.call(lambda client: client.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))
    await until(lambda: store._epoch > before and store._feed.alive)


async def test_a_feed_that_is_lost_for_a_moment_clears_the_memory(redis_url: str) -> None:
    async with worker(redis_url) as store:
        await store.put("s", "k", make(), 0)
        await disconnect(store)
        assert store.peek("s", "k") is None
        await store.get("s", "k")
        assert store.peek("s", "k") is not None


async def test_while_the_feed_is_lost_the_memory_is_not_used(own_redis: RedisServer) -> None:
    async with worker(own_redis.url) as store:
        await store.put("s", "k", make(), 0)
        with own_redis.client() as outside:
            outside.acl_setuser("default", enabled=True, reset_channels=True)  # this disconnects subscribers
            await until(lambda: not store._feed.alive)
            assert store.peek("s", "k") is None
            assert (await store.get("s", "k")).entry is not None  # Redis itself still responds
            assert len(store.memory) == 0
            outside.acl_setuser("default", enabled=True, channels=["*"])
        await until(lambda: store._feed.alive)
        assert store.peek("s", "k") is None
        await store.get("s", "k")
        assert store.peek("s", "k") is not None


async def test_an_outage_of_redis_causes_misses_and_no_errors(own_redis: RedisServer) -> None:
    async with worker(own_redis.url) as store:
        await store.put("s", "k", make(b"old", "a"), 0)
        own_redis.stop()
        assert await store.get("s", "k") == (None, UNFENCED)
        assert not await store.put("s", "k", make(), 0)
        await until(lambda: not store._feed.alive)
        assert store.peek("s", "k") is None
        assert (store.lost_gets, store.lost_puts) == (1, 1)
        with pytest.raises(StoreUnavailable):
            await store.invalidate("s", "a")
        own_redis.start()
        await until(lambda: store._feed.alive and not store._redis.link.unavailable)
        entry, seq = await store.get("s", "k")
        assert entry is None
        assert await store.put("s", "k", make(), seq)
        assert store.peek("s", "k") is not None


async def test_a_response_whose_lookup_failed_is_not_stored_after_the_outage(own_redis: RedisServer) -> None:
    async with worker(own_redis.url) as store:
        own_redis.stop()
        _, seq = await store.get("s", "k")
        own_redis.start()
        await until(lambda: not store._redis.link.unavailable)
        assert not await store.put("s", "k", make(), seq)


@pytest.mark.redis_timeout
async def test_an_invalidation_that_redis_misses_clears_this_worker_and_raises(own_redis: RedisServer) -> None:
    async with worker(own_redis.url) as store:
        await store.put("s", "k", make(b"", "a"), 0)
        own_redis.pause()
        with pytest.raises(StoreUnavailable):
            await store.invalidate("s", "a")
        assert len(store.memory) == 0
        own_redis.resume()


async def test_an_invalidation_that_redis_refuses_is_performed_before_the_next_look_up(own_redis: RedisServer) -> None:
    """As after a failed snapshot: it refuses writes, and answers look-ups with what was invalidated."""
    async with worker(own_redis.url) as one, worker(own_redis.url) as other:
        for key, tag in (("1", "a"), ("2", "b")):
            await one.put("s", key, make(b"", tag), 0)
        await one.put("t", "3", make(b"", "a"), 0)
        with own_redis.client() as client:
            client.config_set("min-replicas-to-write", "1")
            with pytest.raises(StoreUnavailable):
                await one.invalidate("s", "a")
            assert (await one.get("s", "1")).entry is None
            assert not await one.put("s", "1", make(b"", "a"), 0)
            assert one.peek("t", "3") is not None
            client.config_set("min-replicas-to-write", "0")
        assert (await one.get("s", "1")).entry is None
        assert (await other.get("s", "1")).entry is None
        assert (await one.get("s", "2")).entry is not None


async def test_all_of_several_invalidations_that_redis_refuses_are_performed_later(own_redis: RedisServer) -> None:
    async with worker(own_redis.url) as one, worker(own_redis.url) as other:
        entries = [(service, tag) for service in "stuv" for tag in "abc"]
        for service, tag in entries:
            await one.put(service, tag, make(b"", tag), 0)
        with own_redis.client() as client:
            client.config_set("min-replicas-to-write", "1")
            with pytest.raises(StoreUnavailable):
                await Cache(one).invalidate("s", ["a", "b"])
            with pytest.raises(StoreUnavailable):
                await Cache(one).invalidate_all(["t", "u"], "a")
            with pytest.raises(StoreUnavailable):
                await CacheService(CachesOf(one)).ainvalidate_tag("c")
            client.config_set("min-replicas-to-write", "0")
        for service in "stuv":
            await one.get(service, "none")
        left = {(service, key) for service, key in entries if (await other.get(service, key)).entry is not None}
        assert left == {("t", "b"), ("u", "b"), ("v", "a"), ("v", "b")}


class CachesOf:
    """Runs a CacheService's work on the test's event loop."""

    def __init__(self, store: TieredStore) -> None:
        self._objects = ObjectCaches(store, lambda: 0.0, Flights(clock=lambda: 0.0), lambda _hit: None)

    def run(self, work: Work[T]) -> T:
        raise AssertionError("a test on the event loop must not wait for it")

    async def arun(self, work: Work[T]) -> T:
        return await work(self._objects)

    def post(self, work: Callable[[Objects], None]) -> None:
        work(self._objects)

    def services(self) -> list[str]:
        return ["s", "t", "u", "v"]

    def is_changing(self, tags: Iterable[str]) -> bool:
        return False


@pytest.mark.redis_timeout
async def test_an_invalidation_during_an_outage_is_performed_once_redis_is_back(own_redis: RedisServer) -> None:
    """Without a look-up by the worker that made it."""
    async with worker(own_redis.url) as one, worker(own_redis.url) as other:
        await one.put("s", "k", make(b"", "a"), 0)
        own_redis.pause()
        with pytest.raises(StoreUnavailable):
            await one.invalidate("s", "a")
        own_redis.resume()
        await until(lambda: "s" not in one._owed)
        assert (await other.get("s", "k")).entry is None


async def test_many_invalidations_that_are_owed_become_one_of_the_service() -> None:
    performed = []

    async def perform(service: str, tag: str | None) -> None:
        performed.append((service, tag))

    owed = OwedInvalidations(perform)
    for number in range(MAX_TAGS + 1):
        owed.add("s", f"tag{number}")
    owed.add("s", "another")
    owed.add("t", "a")
    await owed.perform_all()
    assert performed == [("s", None), ("t", "a")]
    assert "s" not in owed


async def test_load_during_an_outage_of_redis_raises_nothing(own_redis: RedisServer) -> None:
    async with worker(own_redis.url) as store:
        done = asyncio.Event()

        async def load(key: str) -> None:
            while not done.is_set():
                _, seq = await store.get("s", key)
                await store.put("s", key, make(b"", "a"), seq)
                store.peek("s", key)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            for key in "abcd":
                tasks.create_task(load(key))
            await until(lambda: store.peek("s", "a") is not None)
            own_redis.stop()
            await until(lambda: store.lost_gets > 10)
            own_redis.start()
            await until(lambda: store.peek("s", "a") is not None)
            done.set()


async def test_a_malformed_message_changes_nothing(redis_url: str) -> None:
    async with worker(redis_url) as store:
        await store.put("s", "k", make(b"", "a"), 0)
        await store._redis.link.publish(INVALIDATION_CHANNEL, b"{nonsense")
        await store._redis.link.publish(INVALIDATION_CHANNEL, b'{"service":"s","tag":"b","seq":5}')
        await until(lambda: store._fences["s"].latest == InvalidationNotice("s", "b", 5).seq)
        assert store.peek("s", "k") is not None


class TestFullMemory:
    """A memory tier that is filled by two entries."""

    @staticmethod
    @asynccontextmanager
    async def full(url: str) -> AsyncIterator[TieredStore]:
        async with worker(url, limit=2 * make().size) as store:
            for key in ("1", "2"):
                assert await store.put("s", key, make(), 0)
            yield store

    async def test_a_key_is_admitted_on_its_second_lookup_and_evicts_the_least_recently_used(
        self, redis_url: str
    ) -> None:
        async with self.full(redis_url) as store, worker(redis_url) as other:
            assert await other.put("s", "new", make(), 0)
            for second in (False, True):
                assert (await store.get("s", "new")).entry == make()
                assert (store.peek("s", "new") is not None) is second
            assert (store.peek("s", "1"), store.peek("s", "2")) == (None, make())

    async def test_a_scan_evicts_nothing(self, redis_url: str) -> None:
        async with self.full(redis_url) as store:
            for number in range(50):
                _, seq = await store.get("s", f"scanned {number}")
                assert await store.put("s", f"scanned {number}", make(), seq)
            assert store.peek("s", "1") == store.peek("s", "2") == make()

    async def test_its_entries_are_updated(self, redis_url: str) -> None:
        async with self.full(redis_url) as store, worker(redis_url) as other:
            assert await store.put("s", "1", make(b"new1"), 0)
            assert await other.put("s", "2", make(b"new2"), 0)
            assert (await store.get("s", "2")).entry == make(b"new2")
            assert (store.peek("s", "1"), store.peek("s", "2")) == (make(b"new1"), make(b"new2"))

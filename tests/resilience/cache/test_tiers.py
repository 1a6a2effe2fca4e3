"""Two tiers, two workers, one Redis that may go: nothing old is ever answered, and nobody fails for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from resilience.cache import tiers
from resilience.cache.memory import MEMORY_BYTES
from resilience.cache.redis import INVALIDATION_CHANNEL, InvalidationNotice
from resilience.cache.store import UNFENCED
from resilience.cache.tiers import TieredStore
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import make, until


@asynccontextmanager
async def worker(url: str, limit: int = MEMORY_BYTES) -> AsyncIterator[TieredStore]:
    """A worker whose memory may speak."""
    link = RedisLink(url)
    store = TieredStore(link, limit)
    await link.start()
    await until(lambda: link.feed.alive)
    yield store
    await link.close()


async def test_the_memory_repeats_what_redis_kept(redis_url: str) -> None:
    async with worker(redis_url) as store:
        assert store.peek("s", "k") is None
        assert await store.put("s", "k", make(), 0)
        assert store.peek("s", "k") == make()


async def test_what_one_worker_kept_another_repeats_once_it_has_asked(redis_url: str) -> None:
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


async def test_an_answer_being_fetched_in_the_other_worker_is_not_kept(redis_url: str) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        _, seq = await other.get("s", "k")
        await one.invalidate("s", "a")
        assert not await other.put("s", "k", make(b"old", "a"), seq)
        assert other.peek("s", "k") is None


async def test_a_large_body_is_left_to_redis(redis_url: str) -> None:
    async with worker(redis_url) as store:
        large = make(b"x" * (tiers.MAX_ENTRY_BYTES + 1))
        assert await store.put("s", "k", large, 0)
        assert (await store.get("s", "k")).entry == large
        assert store.peek("s", "k") is None


def overtaken(
    store: TieredStore, monkeypatch: pytest.MonkeyPatch, method: str, event: Callable[[], Awaitable[None]]
) -> None:
    """Let `event` happen after Redis has answered `method`, and before the worker hears the answer."""
    real = getattr(store._redis, method)

    async def delayed(*arguments: object) -> object:
        answer = await real(*arguments)
        await event()
        return answer

    monkeypatch.setattr(store._redis, method, delayed)


@pytest.mark.parametrize("method", ["get", "put"])
async def test_an_answer_that_an_invalidation_overtook_is_not_repeated(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        await one.put("s", "k", make(b"old", "a"), 0)

        async def event() -> None:
            gone = await one.invalidate("s", "a")
            await until(lambda: other._fences["s"].latest == gone.seq)

        overtaken(other, monkeypatch, method, event)
        await (other.get("s", "k") if method == "get" else other.put("s", "k", make(b"old", "a"), 0))
        assert other.peek("s", "k") is None


async def test_an_answer_from_before_the_feed_was_cut_is_not_repeated(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        await one.put("s", "k", make(b"old", "a"), 0)

        async def event() -> None:
            await cut(other)
            await one.invalidate("s", "a")
            await until(lambda: other._feed.alive)

        overtaken(other, monkeypatch, "get", event)
        assert (await other.get("s", "k")).entry is not None
        assert other.peek("s", "k") is None


async def cut(store: TieredStore) -> None:
    """Cut every worker's feed for a moment, as a network would: it is up again before anybody could look."""
    before = store._epoch
    await store._redis.link.call(lambda client: client.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))
    await until(lambda: store._epoch > before and store._feed.alive)


async def test_a_feed_that_was_cut_for_a_moment_begins_anew(redis_url: str) -> None:
    async with worker(redis_url) as store:
        await store.put("s", "k", make(), 0)
        await cut(store)
        assert store.peek("s", "k") is None
        await store.get("s", "k")
        assert store.peek("s", "k") is not None


async def test_while_the_feed_is_cut_the_memory_is_silent(own_redis: RedisServer) -> None:
    async with worker(own_redis.url) as store:
        await store.put("s", "k", make(), 0)
        with own_redis.client() as outside:
            outside.acl_setuser("default", enabled=True, reset_channels=True)  # which cuts those who listen
            await until(lambda: not store._feed.alive)
            assert store.peek("s", "k") is None
            assert (await store.get("s", "k")).entry is not None  # Redis itself still answers
            assert len(store.memory) == 0
            outside.acl_setuser("default", enabled=True, channels=["*"])
        await until(lambda: store._feed.alive)
        assert store.peek("s", "k") is None
        await store.get("s", "k")
        assert store.peek("s", "k") is not None


async def test_redis_killed_and_back_is_misses_and_no_error(own_redis: RedisServer) -> None:
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
        assert await store.get("s", "k") == (None, 0)
        assert await store.put("s", "k", make(), 0)
        assert store.peek("s", "k") is not None


async def test_an_answer_whose_look_up_failed_is_not_kept_once_redis_is_back(own_redis: RedisServer) -> None:
    async with worker(own_redis.url) as store:
        own_redis.stop()
        _, seq = await store.get("s", "k")
        own_redis.start()
        await until(lambda: not store._redis.link.unavailable)
        assert not await store.put("s", "k", make(), seq)


async def test_an_invalidation_that_redis_does_not_hear_is_obeyed_here_and_owned_up_to(own_redis: RedisServer) -> None:
    async with worker(own_redis.url) as store:
        await store.put("s", "k", make(b"", "a"), 0)
        own_redis.pause()
        with pytest.raises(StoreUnavailable):
            await store.invalidate("s", "a")
        assert len(store.memory) == 0
        own_redis.resume()


async def test_load_while_redis_goes_and_comes_raises_nothing(own_redis: RedisServer) -> None:
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


async def test_a_message_that_nobody_understands_changes_nothing(redis_url: str) -> None:
    async with worker(redis_url) as store:
        await store.put("s", "k", make(b"", "a"), 0)
        await store._redis.link.publish(INVALIDATION_CHANNEL, b"{nonsense")
        await store._redis.link.publish(INVALIDATION_CHANNEL, b'{"service":"s","tag":"b","seq":5}')
        await until(lambda: store._fences["s"].latest == InvalidationNotice("s", "b", 5).seq)
        assert store.peek("s", "k") is not None


class TestAFullMemory:
    """It holds two entries of this size, and has them."""

    @staticmethod
    @asynccontextmanager
    async def full(url: str) -> AsyncIterator[TieredStore]:
        async with worker(url, limit=2 * make().size) as store:
            for key in ("1", "2"):
                assert await store.put("s", key, make(), 0)
            yield store

    async def test_takes_in_what_is_asked_for_again_for_the_longest_unused(self, redis_url: str) -> None:
        async with self.full(redis_url) as store, worker(redis_url) as other:
            assert await other.put("s", "new", make(), 0)
            for repeated in (False, True):
                assert (await store.get("s", "new")).entry == make()
                assert (store.peek("s", "new") is not None) is repeated
            assert (store.peek("s", "1"), store.peek("s", "2")) == (None, make())

    async def test_a_scan_pushes_out_nothing(self, redis_url: str) -> None:
        async with self.full(redis_url) as store:
            for number in range(50):
                _, seq = await store.get("s", f"scanned {number}")
                assert await store.put("s", f"scanned {number}", make(), seq)
            assert store.peek("s", "1") == store.peek("s", "2") == make()

    async def test_what_it_has_is_brought_up_to_date(self, redis_url: str) -> None:
        async with self.full(redis_url) as store, worker(redis_url) as other:
            assert await store.put("s", "1", make(b"new1"), 0)
            assert await other.put("s", "2", make(b"new2"), 0)
            assert (await store.get("s", "2")).entry == make(b"new2")
            assert (store.peek("s", "1"), store.peek("s", "2")) == (make(b"new1"), make(b"new2"))

"""The cache for Python code, awaited and from a thread, over memory and over Redis."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from resilience.cache.memory import MemoryStore
from resilience.cache.service import CacheService, ObjectCache
from resilience.cache.store import NearStore, StoredEntry
from resilience.cache.tiers import TieredStore
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import Clock, until


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "tiers"])
async def store(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[NearStore]:
    if request.param == "memory":
        yield MemoryStore(clock)
        return
    link = RedisLink(request.getfixturevalue("redis_url"))
    store = TieredStore(link)
    await link.start()
    await until(lambda: link.feed.alive)
    yield store
    await link.close()


@pytest.fixture
def cache(store: NearStore, clock: Clock) -> ObjectCache:
    return ObjectCache(store, clock)


class Computing:
    """Something slow: waits until it is let go, and counts how often it was asked."""

    def __init__(self, value: Any = "value") -> None:
        self.value = value
        self.calls = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self) -> Any:
        self.calls += 1
        self.begun.set()
        await self.go.wait()
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.mark.parametrize("value", [None, False, 0, "", [1, "ü", None], {"a": {"b": 1.5}}])
async def test_a_value_comes_back(cache: ObjectCache, value: Any) -> None:
    assert await cache.get("name", default="none") == "none"
    assert await cache.set("name", value)
    assert await cache.get("name", default="none") == value


async def test_a_value_that_came_back_is_the_callers_own(cache: ObjectCache) -> None:
    await cache.set("name", [1])
    (await cache.get("name")).append(2)
    assert await cache.get("name") == [1]


async def test_what_json_cannot_hold_is_an_error_at_once(cache: ObjectCache) -> None:
    with pytest.raises(TypeError):
        await cache.set("name", object())
    with pytest.raises(TypeError):
        await cache.get_or_set("name", lambda: asyncio.sleep(0, object()))
    assert await cache.get_or_set("name", lambda: asyncio.sleep(0, 1)) == 1


async def test_it_ends_with_its_ttl(cache: ObjectCache, clock: Clock) -> None:
    await cache.set("name", 1, ttl=10)
    clock.now += 9.9
    assert await cache.get("name") == 1
    clock.now += 0.1
    assert await cache.get("name") is None
    assert not await cache.set("name", 1, ttl=0)


async def test_set_takes_the_olders_place_and_delete_takes_it_away(cache: ObjectCache) -> None:
    await cache.set("name", 1)
    assert await cache.set("name", 2)
    assert await cache.get("name") == 2
    assert await cache.delete("name")
    assert await cache.get("name") is None
    assert not await cache.delete("name")


async def test_tags_take_values_back_and_flush_takes_all(cache: ObjectCache) -> None:
    await cache.set("1", 1, tags=["a"])
    await cache.set("2", 2, tags=["a", "b"])
    await cache.set("3", 3)
    assert await cache.invalidate_tag("a") == 2
    assert await cache.get("3") == 3
    assert await cache.flush() == 1


async def test_a_value_is_computed_once_for_all_who_ask_at_a_time(cache: ObjectCache) -> None:
    computing = Computing([1])
    asking = [asyncio.create_task(cache.get_or_set("name", computing)) for _ in range(20)]
    await computing.begun.wait()
    computing.go.set()
    values = await asyncio.gather(*asking)
    assert values == [[1]] * 20
    assert len({id(value) for value in values}) == 20
    assert await cache.get_or_set("name", computing) == [1]
    assert computing.calls == 1


async def test_an_error_is_raised_for_all_who_wait_and_is_not_kept(cache: ObjectCache) -> None:
    computing = Computing(ValueError("no"))
    asking = [asyncio.create_task(cache.get_or_set("name", computing)) for _ in range(3)]
    await computing.begun.wait()
    computing.go.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(result, ValueError) for result in results)
    assert await cache.get_or_set("name", lambda: asyncio.sleep(0, 1)) == 1


async def test_one_who_gives_up_computing_strands_nobody(cache: ObjectCache) -> None:
    first, second = Computing("first"), Computing("second")
    leader = asyncio.create_task(cache.get_or_set("name", first))
    await first.begun.wait()
    follower = asyncio.create_task(cache.get_or_set("name", second))
    await asyncio.sleep(0)
    leader.cancel()
    second.go.set()
    assert await follower == "second"
    assert leader.cancelled() or leader.cancelling()


async def test_one_who_gives_up_looking_strands_nobody(clock: Clock) -> None:
    looking = asyncio.Event()

    class Slow(MemoryStore):
        async def get(self, service: str, key: str) -> StoredEntry:
            if not looking.is_set():
                looking.set()
                await asyncio.Event().wait()
            return await super().get(service, key)

    cache = ObjectCache(Slow(clock), clock)
    leader = asyncio.create_task(cache.get_or_set("name", Computing()))
    await looking.wait()
    follower = asyncio.create_task(cache.get_or_set("name", lambda: asyncio.sleep(0, "value")))
    await asyncio.sleep(0)
    leader.cancel()
    assert await follower == "value"


async def test_one_who_gives_up_waiting_stops_nobody(cache: ObjectCache) -> None:
    computing = Computing()
    leader, follower = (asyncio.create_task(cache.get_or_set("name", computing)) for _ in range(2))
    await computing.begun.wait()
    follower.cancel()
    computing.go.set()
    assert await leader == "value"


@pytest.mark.parametrize("taken_back", ["delete", "tag", "flush", "set"])
async def test_a_value_computed_while_it_was_taken_back_is_not_kept(cache: ObjectCache, taken_back: str) -> None:
    old = Computing("old")
    asking = asyncio.create_task(cache.get_or_set("name", old, tags=["a"]))
    await old.begun.wait()
    match taken_back:
        case "delete":
            await cache.delete("name")
        case "tag":
            await cache.invalidate_tag("a")
        case "flush":
            await cache.flush()
        case "set":
            await cache.set("name", "new")
    later = asyncio.create_task(cache.get_or_set("name", lambda: asyncio.sleep(0, "new"), tags=["a"]))
    assert await later == "new"  # who asks after it does not wait for what was begun before
    old.go.set()
    assert await asking == "old"
    assert await cache.get("name") == "new"


async def test_stats_tell_hits_misses_and_what_is_stored(cache: ObjectCache) -> None:
    await cache.get("name")
    await cache.set("name", 1)
    await cache.get("name")
    hits, misses, stored = await cache.stats()
    assert (hits, misses) == (1, 1)
    assert stored is not None
    assert stored.entries == 1


async def test_a_value_set_in_one_worker_is_seen_in_the_other(redis_url: str, clock: Clock) -> None:
    links = [RedisLink(redis_url) for _ in range(2)]
    one, other = (ObjectCache(TieredStore(link), clock) for link in links)
    for link in links:
        await link.start()
    await until(lambda: all(link.feed.alive for link in links))
    await one.set("name", 1)
    assert await other.get("name") == 1
    await one.set("name", 2)

    async def seen() -> bool:
        return bool(await other.get("name") == 2)

    await until(seen)
    for link in links:
        await link.close()


async def test_redis_away_is_no_value_and_an_honest_no(own_redis: RedisServer, clock: Clock) -> None:
    link = RedisLink(own_redis.url)
    cache = ObjectCache(TieredStore(link), clock)
    await link.start()
    own_redis.stop()
    assert await cache.get("name") is None
    assert not await cache.set("name", 1)
    assert await cache.get_or_set("name", lambda: asyncio.sleep(0, 1)) == 1
    assert (await cache.stats()).stored is None
    for call in (cache.delete("name"), cache.invalidate_tag("a"), cache.flush()):
        with pytest.raises(StoreUnavailable):
            await call
    await link.close()


class TestFromAThread:
    @pytest.fixture
    async def service(self, cache: ObjectCache) -> CacheService:
        loop = asyncio.get_running_loop()

        def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result(timeout=20)

        return CacheService(cache, run)

    async def test_it_does_the_same(self, service: CacheService) -> None:
        def work() -> None:
            assert service.get("name", 0) == 0
            assert service.set("name", 1, tags=["a"])
            assert service.get("name") == 1
            assert service.invalidate_tag("a") == 1
            assert service.get_or_set("name", lambda: "computed", tags=["a"]) == "computed"
            assert service.get_or_set("name", lambda: "again") == "computed"
            assert service.delete("name")
            assert service.flush() == 0
            assert service.stats().hits == 2

        await asyncio.to_thread(work)

    async def test_it_computes_in_the_callers_thread_and_once(self, service: CacheService) -> None:
        threads: list[int] = []
        barrier = threading.Barrier(4)

        def work() -> tuple[int, int]:
            barrier.wait(20)
            return threading.get_ident(), service.get_or_set("name", compute)

        def compute() -> int:
            threads.append(threading.get_ident())
            return threading.get_ident()

        results = await asyncio.gather(*(asyncio.to_thread(work) for _ in range(4)))
        assert len(threads) == 1
        assert {value for _, value in results} == set(threads) <= {caller for caller, _ in results}

    async def test_an_error_is_the_callers(self, service: CacheService) -> None:
        def work() -> None:
            with pytest.raises(ZeroDivisionError):
                service.get_or_set("name", lambda: 1 // 0)
            assert service.get_or_set("name", lambda: 1) == 1

        await asyncio.to_thread(work)

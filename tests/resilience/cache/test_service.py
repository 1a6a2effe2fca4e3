"""The cache for Python code, awaited and from a thread, in memory and in Redis."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial, reduce
from http import HTTPStatus
from typing import Any, cast

import pytest

from resilience.cache.body_recorder import BODY_BYTES
from resilience.cache.flights import Flights
from resilience.cache.key import key as digest
from resilience.cache.memory import MemoryStore
from resilience.cache.objects import SERVICE, Held, ObjectCache
from resilience.cache.redis_leases import RedisLeases
from resilience.cache.service import CacheService, Objects, Work
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


VALUES: Any = (1, 2)
NESTED: Any = reduce(lambda inner, _: {"a": inner}, range(100_000), cast(Any, {}))


class Computing:
    """A slow computation: waits for `go`, and counts its calls."""

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


async def test_each_caller_gets_a_value_of_its_own(cache: ObjectCache) -> None:
    await cache.set("name", [1])
    (await cache.get("name")).append(2)
    assert await cache.get("name") == [1]


async def test_a_value_that_json_cannot_hold_is_an_error(cache: ObjectCache) -> None:
    with pytest.raises(TypeError):
        await cache.set("name", object())
    with pytest.raises(TypeError):
        await cache.get_or_set("name", lambda: asyncio.sleep(0, object()))
    assert await cache.get_or_set("name", lambda: asyncio.sleep(0, 1)) == 1


async def test_a_value_expires_with_its_ttl(cache: ObjectCache, clock: Clock) -> None:
    await cache.set("name", 1, ttl=10)
    clock.now += 9.9
    assert await cache.get("name") == 1
    clock.now += 0.1
    assert await cache.get("name") is None
    assert not await cache.set("name", 1, ttl=0)


async def test_set_replaces_and_delete_removes_a_value(cache: ObjectCache) -> None:
    await cache.set("name", 1)
    assert await cache.set("name", 2)
    assert await cache.get("name") == 2
    assert await cache.delete("name")
    assert await cache.get("name") is None
    assert not await cache.delete("name")


async def test_tags_invalidate_values_and_flush_all_of_them(cache: ObjectCache) -> None:
    await cache.set("1", 1, tags=["a"])
    await cache.set("2", 2, tags=["a", "b"])
    await cache.set("3", 3)
    assert await cache.invalidate_tag("a") == 2
    assert await cache.get("3") == 3
    assert await cache.flush() == 1


async def test_a_value_is_computed_once_for_concurrent_callers(cache: ObjectCache) -> None:
    computing = Computing([1])
    calls = [asyncio.create_task(cache.get_or_set("name", computing)) for _ in range(20)]
    await computing.begun.wait()
    computing.go.set()
    values = await asyncio.gather(*calls)
    assert values == [[1]] * 20
    assert len({id(value) for value in values}) == 20
    assert await cache.get_or_set("name", computing) == [1]
    assert computing.calls == 1


async def test_an_error_is_raised_for_all_who_wait_and_is_not_stored(cache: ObjectCache) -> None:
    computing = Computing(ValueError("no"))
    calls = [asyncio.create_task(cache.get_or_set("name", computing)) for _ in range(3)]
    await computing.begun.wait()
    computing.go.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, ValueError) for result in results)
    assert await cache.get_or_set("name", lambda: asyncio.sleep(0, 1)) == 1


async def test_a_cancelled_computation_passes_to_a_waiting_caller(cache: ObjectCache) -> None:
    first, second = Computing("first"), Computing("second")
    leader = asyncio.create_task(cache.get_or_set("name", first))
    await first.begun.wait()
    follower = asyncio.create_task(cache.get_or_set("name", second))
    await asyncio.sleep(0)
    leader.cancel()
    second.go.set()
    assert await follower == "second"
    assert leader.cancelled() or leader.cancelling()


async def test_a_cancelled_lookup_passes_to_a_waiting_caller(clock: Clock) -> None:
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


async def test_a_cancelled_wait_does_not_end_the_computation(cache: ObjectCache) -> None:
    computing = Computing()
    leader, follower = (asyncio.create_task(cache.get_or_set("name", computing)) for _ in range(2))
    await computing.begun.wait()
    follower.cancel()
    computing.go.set()
    assert await leader == "value"


@pytest.mark.parametrize("how", ["delete", "tag", "flush", "set"])
async def test_a_value_invalidated_while_it_is_computed_is_not_stored(cache: ObjectCache, how: str) -> None:
    old = Computing("old")
    calls = asyncio.create_task(cache.get_or_set("name", old, tags=["a"]))
    await old.begun.wait()
    match how:
        case "delete":
            await cache.delete("name")
        case "tag":
            await cache.invalidate_tag("a")
        case "flush":
            await cache.flush()
        case "set":
            await cache.set("name", "new")
    later = asyncio.create_task(cache.get_or_set("name", lambda: asyncio.sleep(0, "new"), tags=["a"]))
    assert await later == "new"  # a later caller does not wait for the earlier computation
    old.go.set()
    assert await calls == "old"
    assert await cache.get("name") == "new"


async def test_stats_count_hits_misses_and_stored_values(cache: ObjectCache) -> None:
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


async def test_without_redis_there_is_no_value_and_set_returns_false(own_redis: RedisServer, clock: Clock) -> None:
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


class LoopRunner:
    """Runs a cache's work on the test's event loop."""

    def __init__(self, caches: dict[str, ObjectCache]) -> None:
        self._caches = caches
        self._loop = asyncio.get_running_loop()

    def run(self, work: Work[Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work(self._caches.__getitem__), self._loop).result(timeout=20)

    async def arun(self, work: Work[Any]) -> Any:
        return await work(self._caches.__getitem__)

    def post(self, work: Callable[[Objects], None]) -> None:
        if asyncio._get_running_loop() is self._loop:
            work(self._caches.__getitem__)
        else:
            self._loop.call_soon_threadsafe(work, self._caches.__getitem__)

    def services(self) -> list[str]:
        return [name for name in self._caches if name != SERVICE]

    def is_changing(self, tags: Iterable[str]) -> bool:
        return "changing" in tags


@pytest.fixture
async def service(cache: ObjectCache, store: NearStore, clock: Clock) -> CacheService:
    return CacheService(LoopRunner({SERVICE: cache, "crm": ObjectCache(store, clock, "crm")}))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("name", 1, None), TypeError, "ttl must be a number of seconds, not NoneType"),
        (("name", 1, "60"), TypeError, "ttl must be a number of seconds, not str"),
        (("name", 1, float("nan")), ValueError, "ttl must be a finite number of seconds"),
        (("name", 1, 60, "slack:channels"), TypeError, "tags must be a list of strings, not a string"),
        (("name", 1, 60, [7]), TypeError, "a tag must be a string, not int"),
        ((7, 1), TypeError, "the name of a value must be a string, not int"),
        (("name", {"a": [1.0, float("inf")]}), ValueError, "not JSON compliant"),
        (("name", object()), TypeError, "object is not JSON serializable"),
        (("name", {"price": Decimal("1.10")}), TypeError, "Decimal is not JSON serializable"),
        (("name", [datetime(2026, 1, 1, tzinfo=UTC)]), TypeError, "datetime is not JSON serializable"),
        (("name", {1: "a"}), TypeError, "the names in a JSON object are strings, not int: 1"),
        (("name", [({"a": {None: 1}},)]), TypeError, "the names in a JSON object are strings, not NoneType"),
        (("name", NESTED), ValueError, "nested too deeply"),
        (("name", 1, 10**400), ValueError, "at most 3153600000"),
        (("name", 1, 60, None), TypeError, "tags must be a list of strings, not NoneType"),
        (("name", 1, 60, ["a", ""]), ValueError, "a tag must not be empty"),
        (("name", 1, 60, ["\ud800"]), ValueError, "surrogates not allowed"),
        (("name", 1, 60, [f"{number:0100}" for number in range(330)]), ValueError, "at most 32768 bytes together"),
    ],
)
async def test_what_cannot_be_stored_is_an_error_and_changes_nothing(
    service: CacheService, arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    await service.aset("name", "before")
    with pytest.raises(error, match=text):
        await service.aset(*arguments)
    with pytest.raises(error, match=text):
        await asyncio.to_thread(service.set, *arguments)
    assert await service.aget("name") == "before"


async def test_arguments_are_checked_before_anything_is_computed(service: CacheService) -> None:
    computing = Computing()
    with pytest.raises(TypeError, match="tags must be a list"):
        await service.aget_or_set("name", computing, tags="slack:channels")
    with pytest.raises(TypeError, match="ttl must be a number"):
        await asyncio.to_thread(service.get_or_set, "name", lambda: 1 / 0, ttl="60")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a tag must be a string"):
        await service.ainvalidate_tag(None)  # type: ignore[arg-type]
    assert computing.calls == 0


async def test_an_empty_tag_invalidates_nothing(service: CacheService, cache: ObjectCache) -> None:
    await service.aset("name", 1)
    with pytest.raises(ValueError, match="a tag must not be empty"):
        await service.ainvalidate_tag("")
    assert await cache.invalidate_tag("") == 0
    assert await service.aget("name") == 1


async def test_strings_and_numbers_of_subclasses_are_what_json_makes_of_them(service: CacheService) -> None:
    class Markup(str):
        __slots__ = ()

    await service.aset("name", [Markup("<b>"), HTTPStatus.OK, {Markup("a"): None}])
    assert await service.aget("name") == ["<b>", 200, {"a": None}]


async def test_a_computation_that_needs_its_own_result_is_an_error(service: CacheService) -> None:
    """It would wait for itself."""

    async def recursive() -> Any:
        return await service.aget_or_set("name", lambda: asyncio.sleep(0, 1))

    async def nested() -> Any:
        return await service.aget_or_set("other", recursive)

    for compute in (recursive, nested):
        with pytest.raises(RuntimeError, match="the computation of 'name' needs its own result"):
            await asyncio.wait_for(service.aget_or_set("name", compute), 20)

    def work() -> Any:
        with pytest.raises(RuntimeError, match="needs its own result"):
            service.get_or_set("name", lambda: service.get_or_set("name", lambda: 1))
        return service.get_or_set("name", lambda: service.get_or_set("other", lambda: 2))

    assert await asyncio.to_thread(work) == 2


async def test_computations_that_need_each_other_are_an_error_too(service: CacheService) -> None:
    """Each would wait for the other, for ever."""
    begun = {name: asyncio.Event() for name in "ab"}

    async def compute(name: str, other: str) -> Any:
        begun[name].set()
        await begun[other].wait()
        return await service.aget_or_set(other, lambda: asyncio.sleep(0, 1))

    async def both() -> list[Any]:
        pairs = (("a", "b"), ("b", "a"))
        calls = [service.aget_or_set(name, partial(compute, name, other)) for name, other in pairs]
        return await asyncio.gather(*calls, return_exceptions=True)

    errors = await asyncio.wait_for(both(), 20)
    assert all(isinstance(error, RuntimeError) and "needs its own result" in str(error) for error in errors)
    assert await service.aget_or_set("a", lambda: service.aget_or_set("b", lambda: asyncio.sleep(0, 2))) == 2


async def test_a_value_that_is_too_large_is_not_stored(service: CacheService) -> None:
    """Redis would be busy with it for longer than a call of any worker may take."""
    large = "x" * BODY_BYTES
    await service.aset("name", "old")
    assert await service.aset("name", large) is False
    assert await service.aget("name") is None
    assert await service.aget_or_set("name", lambda: asyncio.sleep(0, large)) == large
    assert await service.aget("name") is None


async def test_a_computation_may_replace_its_own_value_and_ask_for_it(service: CacheService) -> None:
    async def replace() -> Any:
        await service.adelete("name")
        return await service.aget_or_set("name", lambda: asyncio.sleep(0, 1))

    assert await asyncio.wait_for(service.aget_or_set("name", replace), 20) == 1


async def test_what_a_transaction_changes_is_computed_for_its_caller_alone(service: CacheService) -> None:
    """It may be rolled back."""
    await service.aset("name", "before", tags=["a"])
    tags = ["a", "changing"]

    def work() -> None:
        assert service.get_or_set("name", lambda: VALUES, tags=tags) == [1, 2]
        assert not service.set("name", 2, tags=tags)
        with pytest.raises(TypeError):
            service.set("name", object(), tags=tags)

    await asyncio.to_thread(work)
    assert await service.aget_or_set("name", lambda: asyncio.sleep(0, VALUES), tags=tags) == [1, 2]
    assert not await service.aset("name", 4, tags=tags)
    assert await service.aget("name") == "before"


async def test_what_a_computation_itself_changes_is_for_its_caller_alone(
    service: CacheService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that creates a row that is missing, within a transaction that may be rolled back."""
    changed = list[str]()
    monkeypatch.setattr(service._runner, "is_changing", lambda _tags: bool(changed))

    def compute() -> str:
        changed.append("a")
        return "created"

    assert await asyncio.to_thread(service.get_or_set, "name", compute, tags=["a"]) == "created"
    changed.clear()
    assert await service.aget_or_set("name", lambda: asyncio.sleep(0, "read"), tags=["a"]) == "read"


class TestFromAThread:
    async def test_an_interrupted_caller_strands_nobody(
        self, service: CacheService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ctrl-C in a shell, or the time limit of a task queue, before it has learnt that it is to compute."""
        runner, run = service._runner, service._runner.run

        def interrupted(work: Work[Any]) -> None:
            run(work)
            raise KeyboardInterrupt

        def work() -> None:
            with pytest.raises(KeyboardInterrupt):
                service.get_or_set("name", lambda: 1)

        with monkeypatch.context() as patched:
            patched.setattr(runner, "run", interrupted)
            await asyncio.to_thread(work)
        assert await asyncio.wait_for(service.aget_or_set("name", lambda: asyncio.sleep(0, 2)), 20) == 2

    async def test_it_does_the_same_from_a_thread(self, service: CacheService) -> None:
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

    async def test_it_computes_once_and_in_the_callers_thread(self, service: CacheService) -> None:
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

    async def test_an_error_is_raised_to_the_caller(self, service: CacheService) -> None:
        def work() -> None:
            with pytest.raises(ZeroDivisionError):
                service.get_or_set("name", lambda: 1 // 0)
            assert service.get_or_set("name", lambda: 1) == 1

        await asyncio.to_thread(work)

    async def test_stop_iteration_is_raised_to_the_caller_and_strands_nobody(
        self, service: CacheService, cache: ObjectCache
    ) -> None:
        """Neither a future nor a coroutine can raise it to those who wait."""
        begun, waits = threading.Event(), threading.Event()

        def compute() -> Any:
            begun.set()
            waits.wait(20)
            return next(iter(()))

        def lead() -> None:
            with pytest.raises(StopIteration):
                service.get_or_set("name", compute)

        leader = asyncio.create_task(asyncio.to_thread(lead))
        await asyncio.to_thread(begun.wait, 20)
        waiter = asyncio.create_task(cache.claim("name"))
        await asyncio.sleep(0)
        waits.set()
        await leader
        with pytest.raises(RuntimeError, match="the computation raised StopIteration"):
            await waiter
        assert await asyncio.to_thread(service.get_or_set, "name", lambda: 1) == 1


class TestFromAnEventLoop:
    async def test_it_does_the_same_awaited(self, service: CacheService) -> None:
        assert await service.aget("name", 0) == 0
        assert await service.aset("name", 1, tags=["a"])
        assert await service.aget("name") == 1
        assert await service.ainvalidate_tag("a") == 1
        assert await service.aget_or_set("name", lambda: asyncio.sleep(0, "computed"), tags=["a"]) == "computed"
        assert await service.aget_or_set("name", lambda: asyncio.sleep(0, "again")) == "computed"
        assert await service.adelete("name")
        assert await service.aflush() == 0
        assert (await service.astats()).hits == 2

    async def test_an_error_is_raised_and_the_next_caller_computes(self, service: CacheService) -> None:
        with pytest.raises(ZeroDivisionError):
            await service.aget_or_set("name", failing)
        assert await service.aget_or_set("name", lambda: asyncio.sleep(0, 1)) == 1

    async def test_a_cancelled_computation_passes_to_the_next_caller(self, service: CacheService) -> None:
        computing = Computing()
        leader = asyncio.create_task(service.aget_or_set("name", computing))
        await computing.begun.wait()
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        assert await service.aget_or_set("name", lambda: asyncio.sleep(0, 1)) == 1


async def failing() -> Any:
    raise ZeroDivisionError


class TestServices:
    @pytest.mark.parametrize(("name", "error"), [(None, TypeError), (5, TypeError), ("", ValueError)])
    def test_a_cache_is_bound_to_a_name(self, name: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match="the name of a service must"):
            CacheService(NotImplemented).for_service(name)

    async def test_a_tag_is_invalidated_in_every_service(self, service: CacheService) -> None:
        crm = service.for_service("crm")
        await service.aset("name", 1, tags=["a"])
        await crm.aset("name", 2, tags=["a"])
        assert (await service.aget("name"), await crm.aget("name")) == (1, 2)
        assert await service.ainvalidate_tag("a") == 2
        assert (await service.aget("name"), await crm.aget("name")) == (None, None)

    async def test_a_bound_cache_invalidates_its_own_service_alone(self, service: CacheService) -> None:
        crm = service.for_service("crm")
        await service.aset("name", 1, tags=["a"])
        await crm.aset("name", 2, tags=["a"])
        assert await crm.ainvalidate_tag("a") == 1
        assert await service.aget("name") == 1
        await crm.aset("name", 2)
        assert await service.aflush() == 1
        assert await crm.aget("name") == 2

    async def test_look_ups_are_reported(self, store: NearStore, clock: Clock) -> None:
        lookups: list[bool] = []
        cache = ObjectCache(store, clock, on_lookup=lookups.append)
        await cache.get("name")
        await cache.set("name", 1)
        await cache.get("name")
        assert lookups == [False, True]


class TestTwoWorkers:
    @pytest.fixture
    async def pair(self, redis_url: str, clock: Clock) -> AsyncIterator[tuple[ObjectCache, ObjectCache]]:
        links = [RedisLink(redis_url) for _ in range(2)]
        flights = [Flights(RedisLeases(link), clock=clock) for link in links]
        one, other = (
            ObjectCache(TieredStore(link), clock, flights=flying) for link, flying in zip(links, flights, strict=True)
        )
        for link in links:
            await link.start()
        await until(lambda: all(link.feed.alive for link in links))
        yield one, other
        for flying, link in zip(flights, links, strict=True):
            await flying.close()
            await link.close()

    async def test_a_value_is_computed_once_in_the_cluster(self, pair: tuple[ObjectCache, ObjectCache]) -> None:
        computing = Computing([1])
        calls = [asyncio.create_task(cache.get_or_set("name", computing)) for cache in pair for _ in range(5)]
        await computing.begun.wait()
        await asyncio.sleep(0.05)
        computing.go.set()
        assert await asyncio.gather(*calls) == [[1]] * 10
        assert computing.calls == 1

    async def test_a_cancelled_computation_passes_to_the_other_worker(
        self, pair: tuple[ObjectCache, ObjectCache]
    ) -> None:
        one, other = pair
        computing = Computing()
        leader = asyncio.create_task(one.get_or_set("name", computing))
        await computing.begun.wait()
        follower = asyncio.create_task(other.get_or_set("name", lambda: asyncio.sleep(0, "value")))
        await asyncio.sleep(0.05)
        assert not follower.done()
        leader.cancel()
        assert await asyncio.wait_for(follower, 2) == "value"

    async def test_what_the_other_worker_invalidates_meanwhile_is_not_stored(
        self, pair: tuple[ObjectCache, ObjectCache]
    ) -> None:
        one, other = pair
        computing = Computing("old")
        leader = asyncio.create_task(one.get_or_set("name", computing, tags=["a"]))
        await computing.begun.wait()
        await other.invalidate_tag("a")
        computing.go.set()
        assert await leader == "old"
        assert await one.get("name") is None
        assert await other.get("name") is None

    async def test_it_is_free_to_be_computed_again_at_once(self, pair: tuple[ObjectCache, ObjectCache]) -> None:
        """An invalidation ends the wait for a computation in the same worker, and its lease in the cluster."""
        one, other = pair
        old = Computing("old")
        leader = asyncio.create_task(one.get_or_set("name", old, tags=["a"]))
        await old.begun.wait()
        await one.invalidate_tag("a")
        assert await asyncio.wait_for(other.get_or_set("name", lambda: asyncio.sleep(0, "new")), 2) == "new"
        old.go.set()
        assert await leader == "old"
        assert await other.get("name") == "new"


async def test_values_do_not_share_keys_with_responses(cache: ObjectCache, store: NearStore) -> None:
    await cache.set("/contacts", 1)
    assert store.peek(SERVICE, digest(SERVICE, "shared", b"/api/v1/app/contacts", b"")) is None
    found = await cache.claim("/contacts")
    assert isinstance(found, Held)

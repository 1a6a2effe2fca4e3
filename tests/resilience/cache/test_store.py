"""The contract of a store: over memory, over a real Redis, and over both tiers."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any

import pytest

from resilience.cache.fields import MAX_TAG_BYTES, MAX_TAGS
from resilience.cache.invalidation import MAX_FENCED_TAGS, Fences
from resilience.cache.memory import MemoryStore
from resilience.cache.redis import BATCH, RedisStore
from resilience.cache.store import UNFENCED, Store, StoreUsage
from resilience.cache.tiers import TieredStore
from resilience.redis import RedisLink
from tests.resilience.cache.entries import Clock, make, until


@pytest.fixture(params=["memory", "redis", "tiers"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(Clock())
        return
    link = RedisLink(request.getfixturevalue("redis_url"))
    store = RedisStore(link) if request.param == "redis" else TieredStore(link)
    await link.start()
    if request.param == "tiers":
        await until(lambda: link.feed.alive)
    yield store
    await link.close()


async def fill(store: Store, service: str, key: str, *tags: str) -> None:
    _, seq = await store.get(service, key)
    assert await store.put(service, key, make(key.encode(), *tags), seq)


async def gather_limited(calls: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run all, sixteen at a time, so as not to exceed the link's time-out on a busy machine."""
    slots = asyncio.Semaphore(16)

    async def one(call: Coroutine[Any, Any, object]) -> None:
        async with slots:
            await call

    await asyncio.gather(*(one(call) for call in calls))


async def has(store: Store, service: str, key: str) -> bool:
    return (await store.get(service, key)).entry is not None


async def test_an_entry_is_found_unchanged(store: Store) -> None:
    entry = make(b"\x00\xff" * 2_000, "tag")
    assert await store.put("mail", "k", entry, 0)
    assert (await store.get("mail", "k")).entry == entry


async def test_nothing_is_found_under_other_keys(store: Store) -> None:
    await fill(store, "mail", "k")
    found = await store.get("mail", "other")
    assert found.entry is None
    assert found.seq >= 0  # a fence: what is fetched now may be stored
    assert not await has(store, "chat", "k")


async def test_a_newer_entry_replaces_the_older_one(store: Store) -> None:
    await fill(store, "mail", "k", "a")
    _, seq = await store.get("mail", "k")
    assert await store.put("mail", "k", make(b"newer", "a"), seq)
    assert await store.usage("mail") == (1, (await store.usage("mail")).bytes)
    entry = (await store.get("mail", "k")).entry
    assert entry is not None
    assert entry.body == b"newer"


async def test_an_entry_is_found_with_as_many_tags_as_it_may_have(store: Store) -> None:
    tags = [f"{number:0{MAX_TAG_BYTES // MAX_TAGS}}" for number in range(MAX_TAGS)]
    await fill(store, "mail", "k", *tags)
    assert await has(store, "mail", "k")
    assert (await store.invalidate("mail", tags[-1])).entries == 1


async def test_an_invalidation_removes_a_tags_entries_and_counts_them(store: Store) -> None:
    for key, tags in {"1": ["a"], "2": ["a", "b"], "3": ["b"], "4": []}.items():
        await fill(store, "mail", key, *tags)
    assert (await store.invalidate("mail", "a")).entries == 2
    assert [await has(store, "mail", key) for key in "1234"] == [False, False, True, True]
    assert (await store.invalidate("mail", "a")).entries == 0
    assert (await store.invalidate("mail", "b")).entries == 1
    assert (await store.invalidate("mail")).entries == 1


async def test_services_have_separate_entries(store: Store) -> None:
    await fill(store, "mail", "k", "tag", "chat")
    await fill(store, "chat", "k", "tag")
    assert (await store.invalidate("chat")).entries == 1
    assert await has(store, "mail", "k")


async def test_a_services_name_is_a_tag_of_all_its_entries(store: Store) -> None:
    await fill(store, "mail", "1", "a")
    await fill(store, "mail", "2", "mail")
    assert (await store.usage("mail")).entries == 2
    assert (await store.invalidate("mail", "mail")).entries == 2


async def test_a_response_fetched_while_its_tag_was_invalidated_is_not_stored(store: Store) -> None:
    _, seq = await store.get("mail", "k")
    await store.invalidate("mail", "a")
    assert not await store.put("mail", "k", make(b"old", "a"), seq)
    assert not await has(store, "mail", "k")
    _, seq = await store.get("mail", "k")
    assert await store.put("mail", "k", make(b"new", "a"), seq)


async def test_a_response_fetched_while_its_service_was_invalidated_is_not_stored(store: Store) -> None:
    _, seq = await store.get("mail", "k")
    await store.invalidate("mail")
    assert not await store.put("mail", "k", make(b"old"), seq)


async def test_invalidations_of_other_tags_do_not_prevent_storing(store: Store) -> None:
    _, seq = await store.get("mail", "k")
    for number in range(20):
        await store.invalidate("mail", f"other-{number}")
    await store.invalidate("chat", "a")
    assert await store.put("mail", "k", make(b"", "a"), seq)


async def test_the_number_of_an_invalidation_is_a_valid_fence(store: Store) -> None:
    first = await store.invalidate("mail", "a")
    assert await store.put("mail", "k", make(b"", "a"), first.seq)
    second = await store.invalidate("mail", "a")
    assert second.seq > first.seq
    assert (await store.get("mail", "k")).seq == second.seq


async def test_a_response_fetched_without_a_fence_is_not_stored(store: Store) -> None:
    assert not await store.put("mail", "k", make(), UNFENCED)


async def test_concurrent_fetches_and_invalidations_leave_no_old_response(store: Store) -> None:
    """Fetches and invalidations of one tag in any order: no entry is older than the last invalidation."""
    version = 0

    async def fetch(key: str) -> None:
        _, seq = await store.get("mail", key)
        body = b"%d" % version
        await asyncio.sleep(0)
        await store.put("mail", key, make(body, "a"), seq)

    async def change() -> None:
        nonlocal version
        version += 1
        await store.invalidate("mail", "a")

    await gather_limited(change() if number % 7 == 3 else fetch(f"{number % 5}") for number in range(140))
    for key in "01234":
        entry = (await store.get("mail", key)).entry
        assert entry is None or entry.body == b"%d" % version


async def test_each_of_several_concurrent_puts_is_fenced_by_its_own_tags(store: Store) -> None:
    _, before = await store.get("s", "k")
    after = (await store.invalidate("s", "a")).seq
    cases = [((), before), (("a",), before), (("b",), before), (("b", "a"), before), (("a", "c"), after)] * 20
    stored = await asyncio.gather(
        *(store.put("s", str(number), make(b"%d" % number, *tags), seq) for number, (tags, seq) in enumerate(cases))
    )
    assert stored == [True, False, True, False, True] * 20
    for number, is_stored in enumerate(stored):
        entry = (await store.get("s", str(number))).entry
        assert (entry.body if entry else None) == (b"%d" % number if is_stored else None)
    assert [(await store.usage("s", tag)).entries for tag in ("s", "a", "b", "c")] == [60, 20, 20, 20]


async def test_more_entries_than_one_batch_are_all_removed_and_counted(store: Store) -> None:
    count = BATCH * 2 + 50
    await gather_limited(store.put("mail", f"{number}", make(b"", "a"), 0) for number in range(count))
    assert (await store.usage("mail")).entries == count
    assert (await store.invalidate("mail", "a")).entries == count
    assert await store.usage("mail") == StoreUsage(0, 0)


async def test_a_tag_may_be_any_text(store: Store) -> None:
    for tag in ("slack:channels", "ü {x} *?", 'quote"\\', "floor", "t:floor", "e:k", "seq"):
        await fill(store, "mail", tag, tag)
        assert (await store.invalidate("mail", tag)).entries == 1


class TestFences:
    def test_it_drops_the_oldest_tag_and_then_refuses_all_older_fetches(self) -> None:
        fences = Fences()
        for number in range(1, MAX_FENCED_TAGS + 2):
            fences.record(f"tag-{number}", number)
        assert not fences.allows(["untouched"], 0)
        assert fences.allows(["untouched"], 1)
        assert not fences.allows(["tag-2"], 1)

    def test_a_late_message_lowers_no_fence(self) -> None:
        fences = Fences()
        fences.record("a", 9)
        fences.record("a", 3)
        assert not fences.allows(["a"], 8)
        assert fences.latest == 9


async def test_ten_thousand_entries_of_one_tag_are_removed_and_counted(store: Store) -> None:
    await gather_limited(store.put("mail", f"{number}", make(b"", "many"), 0) for number in range(10_000))
    await fill(store, "mail", "other", "few")
    await fill(store, "chat", "k", "many")
    assert (await store.invalidate("mail", "many")).entries == 10_000
    assert (await store.usage("mail")).entries == 1
    assert await has(store, "chat", "k")

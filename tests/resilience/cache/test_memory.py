"""Entries in memory: limited, evicted by least recent use, and indexed by tag."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from resilience.cache.memory import REMOVALS_PER_TURN, MemoryStore, MemoryTier
from tests.resilience.cache.entries import Clock, make

SIZE = make(b"x" * 1_000, "a").size


def test_the_least_recently_used_is_evicted_first() -> None:
    memory = MemoryTier(limit=3 * SIZE)
    for key in "abc":
        memory.add("s", key, make(b"x" * 1_000, "a"))
    memory.get("s", "a")
    memory.add("s", "d", make(b"x" * 1_000, "a"))
    assert [memory.get("s", key) is not None for key in "abcd"] == [True, False, True, True]


def test_an_entry_above_the_limit_is_not_stored_and_evicts_nothing() -> None:
    memory = MemoryTier(limit=3 * SIZE)
    memory.add("s", "small", make(b"x", "a"))
    memory.add("s", "large", make(b"x" * 4 * SIZE, "a"))
    assert memory.get("s", "large") is None
    assert memory.get("s", "small") is not None


async def test_an_expired_entry_is_removed_from_the_index() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await store.put("s", "k", make(b"", "a", "b", ttl=10), 0)
    clock.now += 10
    assert (await store.usage("s")).entries == 0
    assert store.peek("s", "k") is None
    assert (store.memory.tags, store.memory.bytes) == (0, 0)


async def test_expired_entries_are_not_counted_and_are_removed() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    for number in range(10):
        await store.put("s", f"{number}", make(b"", "a", ttl=10), 0)
    clock.now += 10
    for number in range(10, 20):
        await store.put("s", f"{number}", make(b"", "b", now=clock.now), 0)
    assert len(store.memory) == 10
    await store.put("s", "k", make(b"", "a", ttl=5, now=clock.now), 0)
    clock.now += 5
    assert (await store.invalidate("s", "a")).entries == 0


@given(
    st.lists(
        st.tuples(st.sampled_from("st"), st.sampled_from("abcdef"), st.sets(st.sampled_from("xyz")), st.booleans()),
        max_size=60,
    )
)
def test_the_index_contains_exactly_the_stored_entries(steps: list[tuple[str, str, set[str], bool]]) -> None:
    memory = MemoryTier(limit=4 * SIZE)
    for service, key, tags, remove in steps:
        if remove:
            assert all(tag in entry.tags for tag in tags for entry in asyncio.run(memory.remove_tagged(service, tag)))
        else:
            memory.add(service, key, make(b"x" * 1_000, *tags))
        entries = memory.oldest(100)
        assert memory.bytes == sum(entry.size for _, entry in entries) <= 4 * SIZE
        assert memory.tags == len(
            {(location[0], tag) for location, entry in entries for tag in (location[0], *entry.tags)}
        )
    for service in "st":
        asyncio.run(memory.remove_tagged(service, service))
    assert (len(memory), memory.tags, memory.bytes) == (0, 0, 0)


async def test_the_limit_holds_for_any_number_of_keys() -> None:
    store = MemoryStore(Clock(), limit=50 * SIZE)
    for number in range(50_000):
        await store.put("s", f"{number}", make(b"x" * (number % 1_000), f"tag {number}"), 0)
        if number % 5_000 == 0:
            assert store.memory.bytes <= 50 * SIZE
    assert store.memory.bytes <= 50 * SIZE
    assert store.memory.tags <= len(store.memory) + 1


async def test_removing_many_entries_yields_to_the_event_loop() -> None:
    memory = MemoryTier()
    for number in range(REMOVALS_PER_TURN * 10):
        memory.add("s", f"{number}", make(b"", "a"))
    removal = asyncio.create_task(memory.remove_tagged("s", "a"))
    turns = 0
    while not removal.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 9
    assert len(await removal) == REMOVALS_PER_TURN * 10


async def test_an_entry_put_during_an_invalidation_is_fenced_by_its_number() -> None:
    store = MemoryStore(Clock())
    for number in range(REMOVALS_PER_TURN * 3):
        await store.put("s", f"{number}", make(b"", "a"), 0)
    first = asyncio.create_task(store.invalidate("s", "a"))
    await asyncio.sleep(0)
    assert not await store.put("s", "late", make(b"old", "a"), 0)
    second = await store.invalidate("s", "b")
    assert (await first) == (REMOVALS_PER_TURN * 3, 1)
    assert second == (0, 2)

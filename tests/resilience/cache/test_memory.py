"""Entries in memory: bounded, in order of use, and indexed by what is there."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from resilience.cache.memory import REMOVALS_PER_TURN, MemoryStore, MemoryTier
from tests.resilience.cache.entries import Clock, make

SIZE = make(b"x" * 1_000, "a").size


def test_the_longest_unused_goes_first() -> None:
    memory = MemoryTier(limit=3 * SIZE)
    for key in "abc":
        memory.add("s", key, make(b"x" * 1_000, "a"))
    memory.get("s", "a")
    memory.add("s", "d", make(b"x" * 1_000, "a"))
    assert [memory.get("s", key) is not None for key in "abcd"] == [True, False, True, True]


def test_what_could_never_fit_is_not_kept_and_moves_nothing_out() -> None:
    memory = MemoryTier(limit=3 * SIZE)
    memory.add("s", "small", make(b"x", "a"))
    memory.add("s", "large", make(b"x" * 4 * SIZE, "a"))
    assert memory.get("s", "large") is None
    assert memory.get("s", "small") is not None


async def test_an_entry_ends_with_its_time_and_leaves_nothing_in_the_index() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await store.put("s", "k", make(b"", "a", "b", ttl=10), 0)
    clock.now += 10
    assert (await store.usage("s")).entries == 0
    assert store.peek("s", "k") is None
    assert (store.memory.tags, store.memory.bytes) == (0, 0)


async def test_what_ended_unasked_is_not_counted_and_makes_room() -> None:
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
def test_the_index_is_exactly_what_is_there(steps: list[tuple[str, str, set[str], bool]]) -> None:
    memory = MemoryTier(limit=4 * SIZE)
    for service, key, tags, drop in steps:
        if drop:
            assert all(tag in entry.tags for tag in tags for entry in asyncio.run(memory.remove_tagged(service, tag)))
        else:
            memory.add(service, key, make(b"x" * 1_000, *tags))
        entries = memory.oldest(100)
        assert memory.bytes == sum(entry.size for _, entry in entries) <= 4 * SIZE
        assert memory.tags == len({(place[0], tag) for place, entry in entries for tag in (place[0], *entry.tags)})
    for service in "st":
        asyncio.run(memory.remove_tagged(service, service))
    assert (len(memory), memory.tags, memory.bytes) == (0, 0, 0)


async def test_its_bound_holds_through_any_number_of_keys() -> None:
    store = MemoryStore(Clock(), limit=50 * SIZE)
    for number in range(50_000):
        await store.put("s", f"{number}", make(b"x" * (number % 1_000), f"tag {number}"), 0)
        if number % 5_000 == 0:
            assert store.memory.bytes <= 50 * SIZE
    assert store.memory.bytes <= 50 * SIZE
    assert store.memory.tags <= len(store.memory) + 1


async def test_letting_go_of_many_holds_up_nobody() -> None:
    memory = MemoryTier()
    for number in range(REMOVALS_PER_TURN * 10):
        memory.add("s", f"{number}", make(b"", "a"))
    dropping = asyncio.create_task(memory.remove_tagged("s", "a"))
    turns = 0
    while not dropping.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 9
    assert len(await dropping) == REMOVALS_PER_TURN * 10


async def test_what_comes_while_many_go_is_fenced_by_the_number_of_those() -> None:
    store = MemoryStore(Clock())
    for number in range(REMOVALS_PER_TURN * 3):
        await store.put("s", f"{number}", make(b"", "a"), 0)
    first = asyncio.create_task(store.invalidate("s", "a"))
    await asyncio.sleep(0)
    assert not await store.put("s", "late", make(b"old", "a"), 0)
    second = await store.invalidate("s", "b")
    assert (await first) == (REMOVALS_PER_TURN * 3, 1)
    assert second == (0, 2)

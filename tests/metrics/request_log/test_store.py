"""The stored records: their order, their bounds, and what is found by a request id, in memory and in Redis."""

import tracemalloc
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.request_log import memory as memory_module
from metrics.request_log import redis as redis_module
from metrics.request_log import store as store_module
from metrics.request_log.memory import MemoryStore
from metrics.request_log.record import RecordKind, RequestRecord
from metrics.request_log.redis import RedisStore
from metrics.request_log.search import RequestQuery, decode, encode, search
from metrics.request_log.store import MAX_SAME_ID, NewRecord, Position, Store, StoredRecord
from resilience.redis import RedisLink
from tests.clock import FakeClock
from tests.stores import opened_store

EVERY = tuple(RecordKind)


def record(identifier: str, kind: RecordKind = RecordKind.FAILED, **fields: object) -> NewRecord:
    made = RequestRecord(at=1.0, id=identifier, kind=kind, method="GET", **fields)  # type: ignore[arg-type]
    return NewRecord(kind, identifier, encode(made))


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.slow)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    async with opened_store(request, MemoryStore, RedisStore) as opened:
        yield opened


def record_of(stored: StoredRecord) -> str:
    found = decode(stored.data)
    assert found is not None
    return found.id


async def ids(store: Store, **query: object) -> list[str]:
    found = await search(store, RequestQuery(**query), limit=10_000)  # type: ignore[arg-type]
    return [each.record.id for each in found.records]


async def test_records_of_all_kinds_are_read_the_latest_first(store: Store) -> None:
    await store.add([record("a"), record("b", RecordKind.SLOW), record("c", RecordKind.SAMPLED)], 2)
    await store.add([record("d", RecordKind.CLIENT_ERROR)], 1)
    assert await ids(store) == ["d", "c", "b", "a"]
    assert await ids(store, kind=RecordKind.SLOW) == ["b"]
    assert await store.omitted() == 3


async def test_a_search_goes_on_where_another_has_ended(store: Store) -> None:
    await store.add([record(f"r{number}", EVERY[number % 4], service="crm") for number in range(600)], 0)
    await store.add([record("other", service="mail")], 0)
    seen: list[str] = []
    before: Position | None = None
    for _ in range(7):
        found = await search(store, RequestQuery(service="crm"), before=before, limit=100)
        seen += [each.record.id for each in found.records]
        before = found.next
        if before is None:
            break
    assert seen == [f"r{number}" for number in range(599, -1, -1)]
    latest = (await search(store, RequestQuery(), limit=1)).records[0].position
    await store.add([record("new")], 0)
    after = await search(store, RequestQuery(), after=latest, limit=100)
    assert [each.record.id for each in after.records] == ["new"]


async def test_an_id_that_clients_repeat_finds_the_latest_of_its_records(store: Store) -> None:
    await store.add([record("same", status=number) for number in range(MAX_SAME_ID + 5)], 0)
    found = await store.find("same")
    assert len(found) == MAX_SAME_ID
    positions = [each.position for each in found]
    assert positions == sorted(positions, reverse=True)
    assert await store.find("another") == []


@pytest.mark.slow
async def test_redis_keeps_no_more_than_the_bounds(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of the index: an id whose records were removed is not found, and takes no memory."""
    link = RedisLink(redis_url)
    await link.start()
    try:
        store = RedisStore(link)
        for start in range(0, store_module.MAX_RECORDS + 1_000, 500):
            await store.add([record(f"r{start + number}") for number in range(500)], 0)
        await store.add([record("sampled", RecordKind.SAMPLED)], 0)
        client: Any = link.client
        stream = link.key(f"{redis_module.STREAM}{RecordKind.FAILED}")
        assert await client.xlen(stream) == store_module.MAX_RECORDS
        assert await client.hlen(link.key(redis_module.IDS)) == store_module.MAX_RECORDS + 1
        assert await store.find("r0") == []
        assert len(await store.find("r5999")) == 1
        large = [record(f"large{number}", path="x" * 100_000) for number in range(200)]
        await store.add(large, 0)
        rows = await client.xrange(stream)
        assert sum(len(fields[b"r"]) for _, fields in rows) <= store_module.MAX_BYTES
        assert 0 < await client.ttl(stream) <= store_module.KEPT_SECONDS
    finally:
        await link.close()


@pytest.mark.slow
async def test_records_that_are_sent_again_are_stored_once(redis_url: str) -> None:
    """A worker that has not heard that its records were stored repeats them, with those that came since."""
    link = RedisLink(redis_url)
    await link.start()
    try:
        store = RedisStore(link)
        first = [record(f"r{number}", EVERY[number % 4]) for number in range(300)]
        await store.add(first, 0)
        await store.add([*first, record("new"), record("r0", status=500)], 0)
        found = await ids(store)
        assert found == ["r0", "new", *(f"r{number}" for number in range(299, -1, -1))]
        assert len(await store.find("r0")) == 2
        assert len(await store.find("r1")) == 1
    finally:
        await link.close()


async def test_memory_keeps_no_more_than_the_bounds() -> None:
    clock = FakeClock()
    store = MemoryStore(clock)
    await store.add([record(f"r{number}") for number in range(store_module.MAX_RECORDS + 10)], 0)
    await store.add([record("sampled", RecordKind.SAMPLED)], 0)
    assert len(await store.page(EVERY, None, 100_000)) == store_module.MAX_RECORDS + 1
    assert await store.find("r0") == []
    clock.now += store_module.KEPT_SECONDS + 1
    await store.add([record("new")], 0)
    assert await ids(store) == ["new"]


@given(
    st.lists(st.tuples(st.sampled_from(EVERY), st.integers(1, 350), st.sampled_from([0, 1, 86_400])), max_size=12),
    st.integers(0, 700),
)
@settings(deadline=None)
async def test_memory_finds_what_a_plain_list_would_have(
    added: list[tuple[RecordKind, int, int]], skipped: int
) -> None:
    """Whether it is compressed or not, and while the oldest of a block have been removed."""
    clock = FakeClock()
    kept: list[tuple[float, str, RecordKind]] = []
    with patch.object(memory_module, "MAX_RECORDS", 500):
        store = MemoryStore(clock)
        for kind, count, seconds in added:
            clock.now += seconds
            names = [f"r{len(kept) + number}" for number in range(count)]
            await store.add([record(name, kind) for name in names], 0)
            kept += [(clock.now, name, kind) for name in names]
    oldest = int((clock.now - store_module.KEPT_SECONDS) * 1_000)
    expected: list[str] = []
    for kind in EVERY:
        of_kind = [name for at, name, each in kept if each is kind and int(at * 1_000) >= oldest]
        expected += of_kind[-500:]
    expected.sort(key=lambda name: int(name[1:]), reverse=True)
    page = [record_of(stored) for stored in await store.page(EVERY, None, 10_000)]
    assert page == expected
    if skipped < len(expected):
        before = (await store.page(EVERY, None, skipped + 1))[-1].position
        rest = await store.page(EVERY, before, 10_000)
        assert [record_of(stored) for stored in rest] == expected[skipped + 1 :]
        assert [record_of(stored) for stored in await store.find(expected[skipped])] == [expected[skipped]]


def failed_call(number: int) -> NewRecord:
    return record(
        f"019bf3a1-7c40-7d5e-8c1f-{number * 7919:012x}",
        path=f"/api/v1/crm/contacts/{number}",
        caller=f"key:k3m5pq{number % 90}",
        service="crm",
        route="/contacts/{id}",
        status=502,
        target="http://10.0.0.7:8080",
        duration=0.01 + number / 7_919,
        steps=[(step, f"decided {number}", number / 1_000) for step in ("limits", "cache", "breaker", "call")],
    )


async def test_memory_takes_less_than_the_records_do() -> None:
    """Without compression it would take them, and some 200 bytes more for each."""
    store = MemoryStore(FakeClock())
    encoded = 0
    tracemalloc.start()
    try:
        for start in range(0, store_module.MAX_RECORDS, 50):
            added = [failed_call(number) for number in range(start, start + 50)]
            encoded += sum(len(each.data) for each in added)
            await store.add(added, 0)
        del added
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < encoded / 2


@pytest.mark.slow
async def test_what_other_programs_write_is_ignored(redis_url: str) -> None:
    link = RedisLink(redis_url)
    await link.start()
    try:
        store = RedisStore(link)
        await store.add([record("a")], 0)
        await link.client.xadd(link.key(f"{redis_module.STREAM}{RecordKind.FAILED}"), {"id": "x", "r": b"\xc1 none"})
        await link.client.hset(link.key(redis_module.IDS), "b", "9@1-1 nonsense 1@2-2")
        await store.add([record("c")], 0)
        assert await ids(store) == ["c", "a"]
        assert await store.find("b") == []
    finally:
        await link.close()


@pytest.mark.parametrize("text", ["", "1", "-", "1-", "a-1", "1-2-3", "\u0661-1", "1" * 17 + "-1", "1-" + "1" * 17])
def test_positions_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="position"):
        Position.parse(text)

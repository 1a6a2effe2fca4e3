"""The contract of every idempotency store, in memory and in Redis."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from routing.idempotency.memory import OVERHEAD_BYTES, MemoryStore
from routing.idempotency.record import IdempotencyRecord, SavedResponse
from routing.idempotency.redis import RedisStore
from routing.idempotency.store import Store
from tests.clock import FakeClock
from tests.redis_server import RedisServer
from tests.stores import opened_store

FIRST = IdempotencyRecord("first", b"\x00\n\xff")
SECOND = IdempotencyRecord("second", b"print")
RESPONSE = SavedResponse(201, ((b"location", b"/caf\xe9"),), b"\x00\xff\n")
DONE = msgspec.structs.replace(FIRST, done=True, response=RESPONSE)


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    async with opened_store(request, MemoryStore, RedisStore) as opened:
        yield opened


async def test_only_the_first_begins_and_the_others_get_its_record(store: Store) -> None:
    assert await store.begin("k", FIRST, 60) is None
    assert await store.begin("k", SECOND, 60) == FIRST
    assert await store.begin("other", SECOND, 60) is None


async def test_of_many_concurrent_requests_one_begins(store: Store) -> None:
    results = await asyncio.gather(*(store.begin("k", IdempotencyRecord(str(n), b""), 60) for n in range(50)))
    assert results.count(None) == 1
    assert len({found.holder for found in results if found}) == 1


async def test_a_saved_response_is_returned_unchanged(store: Store) -> None:
    await store.begin("k", FIRST, 60)
    await store.finish("k", DONE, 60)
    assert await store.begin("k", SECOND, 60) == DONE


async def test_a_released_key_may_be_used_again(store: Store) -> None:
    await store.begin("k", FIRST, 60)
    await store.release("k", "first")
    assert await store.begin("k", SECOND, 60) is None


async def test_only_its_holder_finishes_or_releases_a_record(store: Store) -> None:
    await store.begin("k", SECOND, 60)
    await store.finish("k", DONE, 60)
    await store.release("k", "first")
    assert await store.begin("k", FIRST, 60) == SECOND


async def test_a_response_after_the_records_expiry_is_still_saved(store: Store) -> None:
    await store.finish("k", DONE, 60)
    assert await store.begin("k", SECOND, 60) == DONE


async def test_the_key_of_a_dead_holder_is_free_after_its_expiry(store: Store) -> None:
    await store.begin("k", FIRST, 0.001)
    async with asyncio.timeout(20):
        while await store.begin("k", SECOND, 60) is not None:  # noqa: ASYNC110 - Redis has its own clock
            await asyncio.sleep(0.001)


async def test_the_memory_store_expires_records_and_stays_within_its_bytes() -> None:
    clock = FakeClock()
    memory = MemoryStore(clock, max_bytes=3 * (OVERHEAD_BYTES + 100))
    big = msgspec.structs.replace(DONE, response=SavedResponse(200, (), b"x" * 100))
    for number in range(5):
        await memory.finish(str(number), big, 60)
    assert [await memory.begin(str(number), FIRST, 60) is None for number in (4, 3, 2)] == [False] * 3
    assert await memory.begin("0", FIRST, 60) is None
    clock.advance(60)
    assert await memory.begin("4", FIRST, 60) is None


async def test_a_malformed_record_is_not_treated_as_missing(redis_url: str, shared_redis: RedisServer) -> None:
    link = RedisLink(redis_url)
    with shared_redis.client() as client:
        client.set("gw:idempotency:k", b"garbage")
    with pytest.raises(StoreUnavailable):
        await RedisStore(link).begin("k", FIRST, 60)
    await link.close()

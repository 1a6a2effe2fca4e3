"""What every store of keys does, in memory and in a real Redis."""

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

FIRST = IdempotencyRecord("first", b"\x00\n\xff")
SECOND = IdempotencyRecord("second", b"print")
ANSWER = SavedResponse(201, ((b"location", b"/caf\xe9"),), b"\x00\xff\n")
DONE = msgspec.structs.replace(FIRST, done=True, response=ANSWER)


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    link = RedisLink(request.getfixturevalue("redis_url"))
    await link.start()
    yield RedisStore(link)
    await link.close()


async def test_the_first_begins_and_all_others_find_it(store: Store) -> None:
    assert await store.begin("k", FIRST, 60) is None
    assert await store.begin("k", SECOND, 60) == FIRST
    assert await store.begin("other", SECOND, 60) is None


async def test_of_many_at_once_one_begins(store: Store) -> None:
    begun = await asyncio.gather(*(store.begin("k", IdempotencyRecord(str(n), b""), 60) for n in range(50)))
    assert begun.count(None) == 1
    assert len({found.holder for found in begun if found}) == 1


async def test_an_answer_is_found_as_it_was(store: Store) -> None:
    await store.begin("k", FIRST, 60)
    await store.finish("k", DONE, 60)
    assert await store.begin("k", SECOND, 60) == DONE


async def test_a_key_that_was_released_is_free_again(store: Store) -> None:
    await store.begin("k", FIRST, 60)
    await store.release("k", "first")
    assert await store.begin("k", SECOND, 60) is None


async def test_only_its_holder_ends_it(store: Store) -> None:
    await store.begin("k", SECOND, 60)
    await store.finish("k", DONE, 60)
    await store.release("k", "first")
    assert await store.begin("k", FIRST, 60) == SECOND


async def test_an_answer_that_comes_after_its_time_is_kept_all_the_same(store: Store) -> None:
    await store.finish("k", DONE, 60)
    assert await store.begin("k", SECOND, 60) == DONE


async def test_a_dead_holders_key_is_free_when_its_time_is_over(store: Store) -> None:
    await store.begin("k", FIRST, 0.001)
    async with asyncio.timeout(20):
        while await store.begin("k", SECOND, 60) is not None:  # noqa: ASYNC110 - Redis's clock is its own
            await asyncio.sleep(0.001)


async def test_memory_ends_with_the_clock_and_stays_within_its_bytes() -> None:
    clock = FakeClock()
    memory = MemoryStore(clock, max_bytes=3 * (OVERHEAD_BYTES + 100))
    big = msgspec.structs.replace(DONE, response=SavedResponse(200, (), b"x" * 100))
    for number in range(5):
        await memory.finish(str(number), big, 60)
    assert [await memory.begin(str(number), FIRST, 60) is None for number in (4, 3, 2)] == [False] * 3
    assert await memory.begin("0", FIRST, 60) is None
    clock.advance(60)
    assert await memory.begin("4", FIRST, 60) is None


async def test_a_record_that_cannot_be_read_is_not_taken_for_nothing(redis_url: str, shared_redis: RedisServer) -> None:
    link = RedisLink(redis_url)
    with shared_redis.client() as client:
        client.set("gw:idempotency:k", b"garbage")
    with pytest.raises(StoreUnavailable):
        await RedisStore(link).begin("k", FIRST, 60)
    await link.close()

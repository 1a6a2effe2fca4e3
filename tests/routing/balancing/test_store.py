"""The behaviour of every verdict store, in memory and in a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from resilience.redis import RedisLink
from routing.balancing.memory import MemoryStore
from routing.balancing.redis import VERDICTS, RedisStore
from routing.balancing.rules import HealthVerdict
from routing.balancing.store import FailOpen, Store
from tests.redis_server import RedisServer
from tests.stores import opened_store

SAVED = {"crm http://a": HealthVerdict(True, 1, 5.5), "crm http://b": HealthVerdict()}


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    async with opened_store(request, MemoryStore, RedisStore) as opened:
        yield opened


async def test_one_of_many_is_elected_and_renews_its_lease(store: Store) -> None:
    led = await asyncio.gather(*(store.lead(str(number), 60) for number in range(20)))
    assert led.count(True) == 1
    leader = str(led.index(True))
    assert [await store.lead(leader, 60), await store.lead("late", 60)] == [True, False]


async def test_another_leads_once_the_lease_has_expired(store: Store) -> None:
    assert await store.lead("dead", 0.001)
    async with asyncio.timeout(20):
        while not await store.lead("successor", 60):  # noqa: ASYNC110 - Redis uses its own clock
            await asyncio.sleep(0.001)
    assert not await store.save("dead", SAVED)


async def test_verdicts_saved_by_the_leader_are_read_by_all(store: Store) -> None:
    assert await store.load() == {}
    await store.lead("one", 60)
    assert [await store.save("other", {}), await store.save("one", SAVED)] == [False, True]
    assert await store.load() == SAVED
    assert await store.save("one", {})
    assert await store.load() == {}


async def test_undecodable_verdicts_are_discarded(redis_url: str, shared_redis: RedisServer) -> None:
    link = RedisLink(redis_url)
    with shared_redis.client() as client:
        client.set(VERDICTS, b"\xff")
    store = RedisStore(link)
    assert await store.load() == {}
    await store.lead("one", 60)
    await store.save("one", SAVED)
    assert await store.load() == SAVED
    await link.close()


async def test_without_redis_each_worker_leads_itself_from_the_last_verdicts(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    store = FailOpen(RedisStore(link))
    await store.lead("one", 60)
    await store.save("one", SAVED)
    own_redis.stop()
    assert await store.lead("other", 60)
    assert await store.load() == SAVED
    assert await store.save("other", {})
    assert await store.load() == {}
    await link.close()

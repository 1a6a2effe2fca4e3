"""Both stores: flushes are added once, and taken as one batch by one worker."""

from collections.abc import AsyncIterator

import pytest

from metrics.counting.memory import MemoryStore
from metrics.counting.redis import GAUGE_SECONDS, LEASE, RedisStore
from metrics.counting.store import Flush, Store
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from tests.metrics.events import NOW
from tests.redis_server import RedisServer
from tests.stores import opened_store


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    async with opened_store(request, MemoryStore, RedisStore) as opened:
        yield opened


def flush(name: str, worker: str = "a", gauges: dict[str, int] | None = None, **counts: int) -> Flush:
    return Flush(id=name, worker=worker, at=NOW, counts=counts, gauges=gauges or {})


async def test_counts_of_several_flushes_are_added_up(store: Store) -> None:
    await store.add(flush("1", x=1, y=2))
    await store.add(flush("2", "b", x=10))
    batch = await store.take("a")
    assert batch is not None
    assert batch.counts == {"x": 11, "y": 2}


async def test_a_flush_sent_twice_counts_once(store: Store) -> None:
    await store.add(flush("1", x=1))
    await store.add(flush("1", x=1))
    batch = await store.take("a")
    assert batch is not None
    assert batch.counts == {"x": 1}
    await store.acknowledge(batch.id)
    await store.add(flush("1", x=1))
    assert await store.take("a") is None


async def test_a_batch_is_returned_unchanged_until_it_is_acknowledged(store: Store) -> None:
    await store.add(flush("1", x=1))
    first = await store.take("a")
    await store.add(flush("2", x=5))
    assert first is not None
    assert await store.take("a") == first
    assert sorted(batch.counts["x"] for batch in (await store.pending(NOW)).batches) == [1, 5]
    await store.acknowledge(first.id)
    second = await store.take("a")
    assert second is not None
    assert second.id != first.id
    assert second.counts == {"x": 5}


async def test_acknowledging_a_batch_twice_does_not_acknowledge_the_next(store: Store) -> None:
    await store.add(flush("1", x=1))
    first = await store.take("a")
    assert first is not None
    await store.acknowledge(first.id)
    await store.add(flush("2", x=2))
    second = await store.take("a")
    await store.acknowledge(first.id)
    assert await store.take("a") == second


async def test_an_empty_store_has_no_batch(store: Store) -> None:
    assert await store.take("a") is None
    assert (await store.pending(NOW)).batches == ()


async def test_a_workers_latest_gauges_replace_earlier_ones(store: Store) -> None:
    await store.add(flush("1", gauges={"open": 3}))
    await store.add(flush("2", gauges={"open": 2}))
    assert (await store.pending(NOW)).gauges == {"open": 2}
    assert await store.take("a") is None


@pytest.fixture
async def link(own_redis: RedisServer) -> AsyncIterator[RedisLink]:
    link = RedisLink(own_redis.url)
    await link.start()
    yield link
    await link.close()


async def test_only_the_lease_holder_takes_batches_until_its_lease_expires(
    link: RedisLink, own_redis: RedisServer
) -> None:
    store = RedisStore(link)
    await store.add(flush("1", x=1))
    taken = await store.take("a")
    assert taken is not None
    assert await store.take("b") is None
    assert await store.take(None) == taken
    with own_redis.client() as client:
        client.delete(link.key(LEASE))  # as if it had expired
    assert await store.take("b") == taken


async def test_gauges_are_summed_over_live_workers(link: RedisLink) -> None:
    store = RedisStore(link)
    await store.add(flush("1", "a", {"open": 3}))
    await store.add(flush("2", "b", {"open": 4}))
    assert (await store.pending(NOW)).gauges == {"open": 7}
    assert (await store.pending(NOW + GAUGE_SECONDS + 1)).gauges == {}


async def test_an_unavailable_redis_raises() -> None:
    link = RedisLink("unix:///nowhere/socket")
    with pytest.raises(StoreUnavailable):
        await RedisStore(link).add(flush("1", x=1))
    await link.close()

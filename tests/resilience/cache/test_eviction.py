"""A Redis that evicts keys, restarts from an old snapshot, or is full: no invalidated entry is served."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from resilience.cache import redis as module
from resilience.cache.redis import RedisStore
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import make

PRESSURE_SECONDS = 3.0


@pytest.fixture
async def store(own_redis: RedisServer) -> AsyncIterator[RedisStore]:
    link = RedisLink(own_redis.url)
    yield RedisStore(link)
    await link.close()


async def fill(store: RedisStore, key: str, *tags: str, body: bytes = b"") -> None:
    assert await store.put("mail", key, make(body, *tags), (await store.get("mail", key)).seq)


def evict(redis: RedisServer, key: str) -> None:
    """Let the server evict `key`, and no other: it is the only one that may be."""
    with redis.client() as outside:
        outside.config_set("maxmemory-policy", "volatile-lru")
        others = [(other, outside.pttl(other)) for other in outside.keys("*") if other != key.encode()]
        for other, _ in others:
            outside.persist(other)
        outside.config_set("maxmemory", 1)
        assert not outside.exists(key)
        outside.config_set("maxmemory", 0)
        for other, lives in others:
            outside.pexpire(other, int(str(lives)))


@pytest.mark.parametrize("index", ["a", "mail"])
async def test_an_entry_is_not_served_once_the_index_of_a_tag_was_evicted(
    store: RedisStore, own_redis: RedisServer, index: str
) -> None:
    await fill(store, "k", "a", "b")
    evict(own_redis, f"gw:{{mail}}:t:{index}")
    assert (await store.invalidate("mail", index)).entries == 0
    assert (await store.get("mail", "k")).entry is None
    assert store.lost_entries == 1


async def test_an_index_that_was_evicted_and_made_anew_does_not_vouch_for_older_entries(
    store: RedisStore, own_redis: RedisServer
) -> None:
    await fill(store, "old", "a")
    evict(own_redis, "gw:{mail}:t:a")
    await fill(store, "new", "a")
    assert (await store.get("mail", "old")).entry is None
    assert (await store.get("mail", "new")).entry is not None
    assert (await store.invalidate("mail", "a")).entries == 1


async def test_an_entry_whose_indexes_remain_is_served_after_evictions(
    store: RedisStore, own_redis: RedisServer
) -> None:
    await fill(store, "k", "a")
    await fill(store, "other", "b")
    evict(own_redis, "gw:{mail}:e:other")
    assert (await store.get("mail", "k")).entry == make(b"", "a")
    assert store.lost_entries == 0


async def test_a_response_is_not_stored_when_the_fences_of_its_fetch_were_evicted(
    store: RedisStore, own_redis: RedisServer
) -> None:
    seq = (await store.get("mail", "k")).seq
    await store.invalidate("mail", "a")
    evict(own_redis, "gw:{mail}:fences")
    assert not await store.put("mail", "k", make(b"", "a"), seq)
    await store.invalidate("mail", "b")
    assert not await store.put("mail", "k", make(b"", "a"), seq)


@pytest.mark.parametrize("size", [100, module.LARGE_BYTES - 100, module.LARGE_BYTES, 1_000_000])
async def test_an_entry_of_any_size_is_read_back(store: RedisStore, size: int) -> None:
    body = random.Random(size).randbytes(size)
    await fill(store, "k", "a", body=body)
    assert (await store.get("mail", "k")).entry == make(body, "a")


@pytest.mark.parametrize("policy", ["volatile-lru", "allkeys-lru", "volatile-ttl", "allkeys-random"])
async def test_under_memory_pressure_nothing_invalidated_is_served(
    store: RedisStore, own_redis: RedisServer, policy: str
) -> None:
    """Versions of one resource: after an invalidation, only a later one may be found."""
    with own_redis.client() as outside:
        outside.config_set("maxmemory", str(outside.info("memory")["used_memory"] + 2_000_000))
        outside.config_set("maxmemory-policy", policy)
    versions, rng, end = dict.fromkeys(range(400), 0), random.Random(1), asyncio.get_running_loop().time()
    stale = served = 0
    while asyncio.get_running_loop().time() < end + PRESSURE_SECONDS:
        number = rng.randrange(400)
        key, tag = f"{number}", f"uri:{number}"
        try:
            found = await store.get("mail", key)
            if found.entry is None:
                body = b"%d " % versions[number] + rng.randbytes(8_000)
                await store.put("mail", key, make(body, tag, "all"), found.seq)
            else:
                served += 1
                stale += int(found.entry.body.split(b" ")[0]) != versions[number]
            if rng.random() < 0.3:
                versions[number] += 1
                await store.invalidate("mail", tag)
        except StoreUnavailable:
            continue
    with own_redis.client() as outside:
        assert int(outside.info("stats")["evicted_keys"]) > 100
    assert stale == 0
    assert served > 50
    assert store.lost_entries > 0


async def test_a_snapshot_from_before_an_invalidation_serves_nothing(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    store = RedisStore(link)
    await fill(store, "k", "a")
    seq = (await store.get("mail", "other")).seq
    with own_redis.client() as outside:
        outside.save()
    assert (await store.invalidate("mail", "a")).entries == 1
    own_redis.stop()
    own_redis.start()
    with own_redis.client() as outside:
        assert outside.exists("gw:{mail}:e:k")  # the snapshot is back
    assert (await store.get("mail", "k")).entry is None
    assert not await store.put("mail", "other", make(b"", "a"), seq)  # fetched before
    await fill(store, "k", "a")
    assert (await store.get("mail", "k")).entry is not None
    await link.close()


async def test_a_full_server_takes_invalidations_and_stores_nothing(store: RedisStore, own_redis: RedisServer) -> None:
    await fill(store, "k", "a")
    with own_redis.client() as outside:
        outside.config_set("maxmemory", 1)  # noeviction
    assert (await store.get("mail", "k")).entry is not None
    found = await store.get("other", "k")
    assert found.entry is None
    with pytest.raises(StoreUnavailable):
        await store.put("other", "k", make(), found.seq)
    assert (await store.invalidate("other", "a")).entries == 0
    assert (await store.invalidate("mail")).entries == 1


@pytest.mark.parametrize("garbage", ["list", b"", b"x", b"\x00" * 36, b"\xff" * 40, b"a" * 5_000])
async def test_what_other_programs_leave_under_a_key_is_a_miss(
    store: RedisStore, own_redis: RedisServer, garbage: bytes | str
) -> None:
    await fill(store, "other", "a")
    with own_redis.client() as outside:
        if isinstance(garbage, bytes):
            outside.set("gw:{mail}:e:k", garbage)
        else:
            outside.rpush("gw:{mail}:e:k", "x")
    found = await asyncio.gather(store.get("mail", "k"), store.get("mail", "other"))
    assert found[0].entry is None
    assert found[1].entry is not None
    await fill(store, "k", "a")

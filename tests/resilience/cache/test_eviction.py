"""A Redis that evicts keys, restarts from an old snapshot, or is full: no invalidated entry is served.

    EVICTION_SECONDS=300 python -m pytest --timeout=0 -rP tests/resilience/cache/test_eviction.py -k pressure

keeps 24 MB of Redis under pressure for that long, under each eviction policy.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from typing import Final

import pytest
from redis import Redis

from resilience.cache import redis as module
from resilience.cache.redis import RedisStore
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import make

LONG_SECONDS: Final = float(os.environ.get("EVICTION_SECONDS", "0"))
SLOWEST_SECONDS: Final = 60.0
"""The longest that a busy machine may take for what a short run requires."""
EVICTED, SERVED = 100, 50
"""What a run requires at least, so that it shows something."""


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


class Pressure:
    """Versions of more resources than the server has memory for: once one is invalidated, only a later one may be
    found.
    """

    def __init__(self, store: RedisStore, outside: Redis) -> None:
        self.store, self.outside = store, outside
        self.versions = dict.fromkeys(range(6_000 if LONG_SECONDS else 400), 0)
        self.random = random.Random(1)
        self.stale = self.served = self.invalidated = 0

    def limit(self, policy: str) -> None:
        spare = int(self.outside.info("memory")["used_memory"]) + 2_000_000
        self.outside.config_set("maxmemory", 24 * 1_024 * 1_024 if LONG_SECONDS else spare)
        self.outside.config_set("maxmemory-policy", policy)

    @property
    def evicted(self) -> int:
        return int(self.outside.info("stats")["evicted_keys"])

    async def run(self, seconds: float, *, evicts: bool) -> None:
        """For that long, and until enough has happened."""
        now = asyncio.get_running_loop().time
        began = now()
        while now() < began + seconds or (not self._suffices(evicts=evicts) and now() < began + SLOWEST_SECONDS):
            for _ in range(20):
                with contextlib.suppress(StoreUnavailable):
                    await self._step()

    def _suffices(self, *, evicts: bool) -> bool:
        is_lossy = not evicts or (self.evicted > EVICTED and self.store.lost_entries > 0)
        return is_lossy and self.served > SERVED and self.invalidated > 0

    async def _step(self) -> None:
        number = self.random.randrange(len(self.versions))
        key, tag = f"{number}", f"uri:{number}"
        found = await self.store.get("mail", key)
        if found.entry is not None:
            self.served += 1
            self.stale += int(found.entry.body.split(b" ")[0]) != self.versions[number]
        if self.random.random() < 0.3:
            self.versions[number] += 1
            await self.store.invalidate("mail", tag)
            self.invalidated += 1
        elif found.entry is None:
            body = b"%d " % self.versions[number] + self.random.randbytes(8_000)
            await self.store.put("mail", key, make(body, tag, "all"), found.seq)

    def __str__(self) -> str:
        return (
            f"{self.served} hits, {self.invalidated} invalidations, {self.evicted} evictions, "
            f"{self.store.lost_entries} entries lost, {self.stale} invalidated entries served"
        )


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [
        *[(policy, 3.0) for policy in ("volatile-lru", "allkeys-lru", "volatile-ttl", "allkeys-random")],
        *[(policy, 0.5) for policy in ("volatile-lfu", "allkeys-lfu", "volatile-random", "noeviction")],
    ],
)
async def test_under_memory_pressure_nothing_invalidated_is_served(
    store: RedisStore, own_redis: RedisServer, policy: str, seconds: float
) -> None:
    evicts = policy != "noeviction"
    with own_redis.client() as outside:
        pressure = Pressure(store, outside)
        pressure.limit(policy)
        await pressure.run(LONG_SECONDS or seconds, evicts=evicts)
        print(f"{policy}: {pressure}")  # noqa: T201 - the figures of a long run
        assert pressure.stale == 0
        assert pressure.served > SERVED
        assert pressure.evicted > EVICTED or not evicts
        assert store.lost_entries > 0 or not evicts


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

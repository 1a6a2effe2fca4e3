"""Entries in a real Redis: keys, expiry, corrupt data, and published invalidations."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from redis import Redis

from resilience.cache import redis as module
from resilience.cache.entry import encode
from resilience.cache.redis import INVALIDATION_CHANNEL, InvalidationNotice, RedisStore
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import make, until


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    link = RedisLink(redis_url)
    yield RedisStore(link)
    await link.close()


@pytest.fixture
def outside(shared_redis: RedisServer, redis_url: str) -> Redis:
    return shared_redis.client()


async def test_nothing_is_left_of_an_expired_entry_and_its_tags(store: RedisStore, outside: Redis) -> None:
    assert await store.put("mail", "k", make(b"", "a", "b", ttl=0.05), 0)
    assert len(outside.keys("*")) == 4
    await until(lambda: not outside.keys("*"))


async def test_expired_entries_are_removed_from_a_tags_index_by_later_puts(store: RedisStore, outside: Redis) -> None:
    for number in range(20):
        await store.put("mail", f"{number}", make(b"", "a", ttl=0.03), 0)
    await until(lambda: not outside.keys("*:e:*"))
    await store.put("mail", "k", make(b"", "a"), 0)
    assert outside.zcard("gw:{mail}:t:a") == outside.zcard("gw:{mail}:t:mail") == 1
    assert 299_000 < int(str(outside.pttl("gw:{mail}:t:a"))) <= 300_000


async def test_expired_entries_are_not_counted(store: RedisStore, outside: Redis) -> None:
    await store.put("mail", "short", make(b"", "a", ttl=0.03), 0)
    await store.put("mail", "long", make(b"", "a"), 0)
    await until(lambda: len(outside.keys("*:e:*")) == 1)
    assert (await store.usage("mail", "a")).entries == 1
    assert (await store.invalidate("mail", "a")).entries == 1


async def test_an_invalidation_leaves_only_fences_that_expire(store: RedisStore, outside: Redis) -> None:
    await store.put("mail", "k", make(b"", "a"), 0)
    await store.invalidate("mail", "a")
    keys = outside.keys("*")
    assert set(keys) == {b"gw:{mail}:fences"}
    assert all(0 < outside.pttl(key) <= module.FENCE_MS for key in keys)


async def test_all_keys_of_a_service_are_in_one_slot(store: RedisStore, outside: Redis) -> None:
    await store.put("mail", "k", make(b"", "a{b}"), 0)
    await store.invalidate("mail", "c")
    assert len(outside.keys("*")) == len(outside.keys("gw:{mail}:*")) == 4


@pytest.mark.parametrize(
    "data", [b"", b"\x01" + encode(make())[1:], b"\x02\x00garbage", encode(make())[:-3], b"\x80\x04pickle."]
)
async def test_corrupt_entries_and_those_of_other_versions_are_misses(
    store: RedisStore, outside: Redis, data: bytes
) -> None:
    await store.put("mail", "k", make(), 0)
    outside.set("gw:{mail}:e:k", data)
    assert (await store.get("mail", "k")).entry is None


async def test_fences_are_bounded_and_the_floor_refuses_older_fetches(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch, outside: Redis
) -> None:
    monkeypatch.setattr(module, "MAX_FENCED_TAGS", 3)
    invalidation = [await store.invalidate("mail", f"tag-{number}") for number in range(6)]
    assert outside.zcard("gw:{mail}:fences") == 3 + 3  # and the run, the latest number and the floor
    assert not await store.put("mail", "k", make(b"", "untouched"), invalidation[0].seq)
    assert not await store.put("mail", "k", make(b"", "tag-5"), invalidation[4].seq)
    assert await store.put("mail", "k", make(b"", "untouched"), invalidation[4].seq)


async def test_a_server_that_lost_its_data_refuses_responses_fetched_before(store: RedisStore, outside: Redis) -> None:
    before = await store.invalidate("mail", "x")
    outside.flushall()
    assert not await store.put("mail", "k", make(b"", "a"), before.seq)
    assert (await store.invalidate("mail", "x")).seq > before.seq


async def test_scripts_are_sent_again_to_a_server_that_forgot_them(store: RedisStore, outside: Redis) -> None:
    assert await store.put("mail", "k", make(), 0)
    outside.script_flush()
    assert await store.put("mail", "k", make(), 0)


async def test_an_invalidation_is_published_once_after_its_last_batch(
    store: RedisStore, outside: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    for number in range(25):
        await store.put("mail", f"{number}", make(b"", 'a"b'), 0)
    with outside.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]
        pubsub.subscribe(store.link.key(INVALIDATION_CHANNEL))
        pubsub.get_message(timeout=5)  # the confirmation
        invalidation = await store.invalidate("mail", 'a"b')
        message = pubsub.get_message(timeout=5)
        assert message is not None
        assert msgspec.json.decode(message["data"], type=InvalidationNotice) == InvalidationNotice(
            "mail", 'a"b', invalidation.seq
        )
        assert pubsub.get_message(timeout=0.01) is None
    assert invalidation.entries == 25


async def test_a_server_that_is_out_of_memory_refuses_puts_but_not_invalidations(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    store = RedisStore(link)
    await store.put("mail", "k", make(b"", "a"), 0)
    with own_redis.client() as outside:
        outside.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable):
        await store.put("mail", "other", make(b"", "a"), 0)
    assert (await store.invalidate("mail", "a")).entries == 1
    assert (await store.invalidate("mail", "a")).entries == 0
    await link.close()


async def test_every_operation_raises_while_redis_is_unavailable(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    store = RedisStore(link)
    own_redis.stop()
    for call in (store.get("s", "k"), store.put("s", "k", make(), 0), store.invalidate("s"), store.usage("s")):
        with pytest.raises(StoreUnavailable):
            await call
    await link.close()

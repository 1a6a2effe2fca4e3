"""Entries in a real Redis: keys, expiry, corrupt data, and published invalidations."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from redis import Redis

from resilience.cache import redis as module
from resilience.cache.entry import encode
from resilience.cache.leases import ClaimResult, Release
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


async def test_a_lookup_claims_the_fetch_of_what_is_missing(store: RedisStore, outside: Redis) -> None:
    await store.put("mail", "stored", make(), 0)
    claims = [("stored", "a"), ("new", "b"), ("new", "c"), ("unclaimed", ""), ("other", "d")]
    results = await asyncio.gather(*(store.get_or_claim("mail", *claim) for claim in claims))
    stored, first, second, unclaimed, other = [claim for _, claim in results]
    assert (stored, unclaimed, other) == (None, None, ClaimResult.OURS)
    assert {first, second} == {ClaimResult.OURS, ClaimResult.THEIRS}  # in either order
    assert [found.entry is None for found, _ in results] == [False, True, True, True, True]
    assert outside.get("gw:{mail}:l:new") == (b"b" if first is ClaimResult.OURS else b"c")
    assert outside.get("gw:{mail}:l:other") == b"d"
    assert len(outside.keys("gw:{mail}:l:*")) == 2
    assert all(0 < int(str(outside.pttl(name))) <= 5_000 for name in outside.keys("gw:{mail}:l:*"))


@pytest.mark.parametrize(
    ("left", "result"), [("+", ClaimResult.OURS), ("-", ClaimResult.UNCACHEABLE), ("another", ClaimResult.THEIRS)]
)
async def test_a_claim_with_a_lookup_heeds_what_an_earlier_fetch_has_left(
    store: RedisStore, outside: Redis, left: str, result: ClaimResult
) -> None:
    """A response that was stored, and is not there, has been invalidated or evicted since."""
    outside.set("gw:{mail}:l:k", left, px=1_000)
    assert (await store.get_or_claim("mail", "k", "me"))[1] is result


async def test_a_lease_ends_with_the_put_of_its_response(store: RedisStore, outside: Redis) -> None:
    for key in ("a", "b", "c"):
        await store.get_or_claim("mail", key, f"owner of {key}")
    before = await store.invalidate("mail", "x")
    await store.invalidate("mail", "x")
    puts = [
        store.put("mail", "a", make(), 0, Release("a", "owner of a", ClaimResult.STORED, 1.0)),
        store.put("mail", "b", make(b"", "x"), before.seq, Release("b", "owner of b", ClaimResult.STORED, 1.0)),
        store.put("mail", "c", make(), before.seq, Release("c", "somebody else", ClaimResult.STORED, 1.0)),
        store.put("mail", "d", make(), before.seq),
    ]
    assert await asyncio.gather(*puts) == [False, False, True, True]
    assert outside.mget("gw:{mail}:l:a", "gw:{mail}:l:b", "gw:{mail}:l:c") == [
        b"owner of a",
        b"owner of b",
        b"owner of c",
    ]
    fence = (await store.get("mail", "a")).seq
    assert await store.put("mail", "a", make(), fence, Release("a", "owner of a", ClaimResult.STORED, 1.0))
    assert outside.get("gw:{mail}:l:a") == b"+"
    assert 0 < int(str(outside.pttl("gw:{mail}:l:a"))) <= 1_000
    assert await store.put("mail", "b", make(), fence, Release("b", "owner of b", ClaimResult.OURS, 0.0))
    assert outside.get("gw:{mail}:l:b") is None


async def test_every_claim_is_granted_by_a_server_that_is_out_of_memory(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    store = RedisStore(link)
    await store.put("mail", "k", make(), 0)
    with own_redis.client() as outside:
        outside.config_set("maxmemory", 1)
    (stored, claim), (missing, granted) = [await store.get_or_claim("mail", key, "me") for key in ("k", "other")]
    assert (stored.entry is None, claim) == (False, None)
    assert (missing.entry, granted) == (None, ClaimResult.OURS)
    await link.close()


async def test_every_operation_raises_while_redis_is_unavailable(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    store = RedisStore(link)
    own_redis.stop()
    for call in (store.get("s", "k"), store.put("s", "k", make(), 0), store.invalidate("s"), store.usage("s")):
        with pytest.raises(StoreUnavailable):
            await call
    await link.close()

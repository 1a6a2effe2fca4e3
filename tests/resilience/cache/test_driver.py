"""The HTTP cache over memory and over Redis."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.cache.body_recorder import BodyRecorder
from resilience.cache.driver import Cache, StoreTarget
from resilience.cache.memory import MemoryStore
from resilience.cache.messages import CacheRequest, CacheResponse, Forward, Fresh, Miss, Skip, Stale
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.store import UNFENCED, StoreUsage
from resilience.cache.storing import may_store
from resilience.cache.tiers import TieredStore
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import Clock, until

NOW = 1_000.0
GET = CacheRequest("GET", [(b"host", b"x"), (b"accept", b"*/*")], authenticated=True)
POLICY = CachePolicy()
MISS = Miss(Forward.URI_MISS)
TARGET = StoreTarget("s", "k", POLICY, Scope.USER)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def cache(clock: Clock) -> Cache:
    return Cache(MemoryStore(clock))


async def store(
    cache: Cache,
    target: StoreTarget,
    request: CacheRequest,
    response: CacheResponse,
    body: bytes | None = b"",
    *,
    result: Miss = MISS,
) -> Skip | None:
    """Store what the rules allow to store."""
    verdict = may_store(request, response, target.policy, target.scope)
    if isinstance(verdict, Skip):
        return verdict
    return await cache.store(target, request, response, body, result=result, storable=verdict)


async def store_response(
    cache: Cache, key: str = "k", body: bytes | None = b"body", tags: tuple[str, ...] = (), **headers: str
) -> Skip | None:
    result = await cache.lookup("s", key, GET, NOW)
    assert isinstance(result, Miss)
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return await store(
        cache,
        StoreTarget("s", key, POLICY, Scope.USER, tags),
        GET,
        CacheResponse(200, fields, NOW),
        body,
        result=result,
    )


async def test_a_stored_response_is_found_without_waiting(cache: Cache) -> None:
    assert cache.try_lookup("s", "k", GET, NOW) is None
    assert await store_response(cache, content_type="text/plain", age="3") is None
    result = cache.try_lookup("s", "k", GET, NOW + 5)
    assert result is not None
    assert (result.age, result.entry.body) == (8, b"body")
    assert result.entry.headers == ((b"content-type", b"text/plain"), (b"date", b"Thu, 01 Jan 1970 00:16:40 GMT"))


async def test_a_lookup_without_waiting_finds_only_what_is_fresh_for_this_request(cache: Cache) -> None:
    await store_response(cache)
    assert cache.try_lookup("s", "k", CacheRequest("POST", []), NOW) is None
    assert cache.try_lookup("s", "k", CacheRequest("GET", [(b"cache-control", b"no-cache")]), NOW) is None
    assert cache.try_lookup("s", "k", GET, NOW + 300) is None
    assert isinstance(await cache.lookup("s", "k", GET, NOW + 300), Stale)


async def test_head_is_answered_from_a_stored_get_and_never_stored(cache: Cache) -> None:
    head = CacheRequest("HEAD", [])
    response = CacheResponse(200, [], NOW)
    assert isinstance(await store(cache, TARGET, head, response), Skip)
    await store_response(cache)
    assert isinstance(cache.try_lookup("s", "k", head, NOW), Fresh)


async def test_a_body_that_is_too_large_or_incomplete_is_not_stored(cache: Cache) -> None:
    assert await store_response(cache, body=None) == Skip("the body is too large")
    assert await store_response(cache, content_length="5") == Skip("the body is incomplete", "RFC 9111 section 3.3")
    assert await store_response(cache, content_length="4") is None


async def test_every_kind_of_tag_invalidates_a_response(cache: Cache) -> None:
    for tag in ("route:7", "one", "two", "s"):
        assert await store_response(cache, tags=("route:7",), surrogate_key="one", cache_tag="two, three") is None
        assert await cache.invalidate("s", [tag]) == 1
    await store_response(cache)
    assert await cache.invalidate("s") == 1


async def test_a_response_with_a_tag_that_is_too_long_is_not_stored(cache: Cache) -> None:
    refused = Skip("it has too many tags, or too long ones, to be invalidated by each")
    assert await store_response(cache, tags=("user:" + "x" * 10_000,)) == refused
    assert await store_response(cache, tags=tuple(map(str, range(501)))) == refused


async def test_an_entry_with_two_of_the_tags_is_counted_once(cache: Cache) -> None:
    await store_response(cache, "1", tags=("a", "b"))
    await store_response(cache, "2", tags=("b",))
    assert await cache.invalidate("s", ["a", "b"]) == 2


async def test_a_tag_can_be_invalidated_in_all_services(cache: Cache) -> None:
    await store_response(cache, tags=("a",))
    assert await cache.invalidate_all(["s", "t"], "a") == 1
    await store_response(cache)
    assert await cache.invalidate_all(["s", "t"]) == 1
    assert (await cache.usage("s")).entries == 0


async def test_a_response_fetched_while_its_tag_was_invalidated_is_not_stored(cache: Cache) -> None:
    result = await cache.lookup("s", "k", GET, NOW)
    assert isinstance(result, Miss)
    await cache.invalidate("s", ["a"])
    response = CacheResponse(200, [(b"surrogate-key", b"a")], NOW)
    skip = await store(cache, TARGET, GET, response, result=result)
    assert isinstance(skip, Skip)


async def test_a_request_that_bypasses_the_cache_does_not_query_the_store(cache: Cache) -> None:
    assert await cache.lookup("s", "k", CacheRequest("POST", []), NOW) == Miss(Forward.METHOD, UNFENCED)
    no_store = CacheRequest("GET", [(b"cache-control", b"no-store")])
    assert await cache.lookup("s", "k", no_store, NOW) == Miss(Forward.REQUEST, UNFENCED)


async def test_a_key_of_a_wider_scope_than_the_policys_needs_the_responses_permission(cache: Cache) -> None:
    authenticated = CacheRequest("GET", [], authenticated=True)
    for value, is_stored in ((b"max-age=60", False), (b"public, max-age=60", True)):
        response = CacheResponse(200, [(b"cache-control", value)], NOW)
        stored = await store(cache, TARGET._replace(scope=Scope.SHARED), authenticated, response)
        assert (stored is None) is is_stored


async def test_all_lookups_agree_on_hits_and_misses_of_a_service(cache: Cache) -> None:
    await store_response(cache)
    assert isinstance(cache.try_lookup("s", "k", GET, NOW), Fresh)
    assert cache.try_lookup("s", "other", GET, NOW) is cache.try_lookup("other", "k", GET, NOW) is None
    found: list[object] = [cache.try_lookup("s", "k", GET, NOW), cache.try_lookup("s", "other", GET, NOW)]
    found += [await cache.lookup("s", "k", GET, NOW), await cache.lookup("s", "k", GET, NOW + 300)]
    hits = sum(isinstance(result, Fresh) for result in found)
    assert (hits, len(found) - hits) == (2, 2)
    for lookup in (cache.lookup, cache.relookup):
        assert isinstance(await lookup("s", "k", GET, NOW), Fresh)
        assert isinstance(await lookup("s", "k", GET, NOW + 300), Stale)
        assert isinstance(await lookup("s", "other", GET, NOW), Miss)


@pytest.fixture
async def over_redis(own_redis: RedisServer) -> AsyncIterator[Cache]:
    link = RedisLink(own_redis.url)
    cache = Cache(TieredStore(link))
    await link.start()
    await until(lambda: link.feed.alive)
    yield cache
    await link.close()


async def test_every_lookup_is_a_miss_when_redis_becomes_unavailable(over_redis: Cache, own_redis: RedisServer) -> None:
    assert await store_response(over_redis) is None
    assert over_redis.try_lookup("s", "k", GET, NOW) is not None
    own_redis.stop()
    result = await over_redis.lookup("s", "k", GET, NOW)
    assert result == Miss(Forward.URI_MISS, UNFENCED)
    response = CacheResponse(200, [], NOW)
    assert isinstance(await store(over_redis, TARGET, GET, response), Skip)


async def test_usage_is_summed_over_services_and_unknown_while_redis_is_unavailable(
    over_redis: Cache, own_redis: RedisServer
) -> None:
    await store_response(over_redis)
    usage = await over_redis.usage("s")
    assert await over_redis.usage_of(["s", "other"]) == usage
    assert usage.entries == 1
    assert await over_redis.usage_of(["s"], "nothing has it") == StoreUsage(0, 0)
    own_redis.stop()
    assert await over_redis.usage_of(["s"]) is None


async def test_a_hit_in_redis_costs_one_round_trip_and_one_in_memory_none(
    own_redis: RedisServer, over_redis: Cache
) -> None:
    await store_response(over_redis)
    link = RedisLink(own_redis.url)
    other, calls = Cache(TieredStore(link)), 0
    await link.start()
    await until(lambda: link.feed.alive)
    call = link.call

    async def counted(command: Any) -> Any:
        nonlocal calls
        calls += 1
        return await call(command)

    link.call = counted  # type: ignore[method-assign]
    assert other.try_lookup("s", "k", GET, NOW) is None
    assert isinstance(await other.lookup("s", "k", GET, NOW), Fresh)
    assert calls == 1
    assert other.try_lookup("s", "k", GET, NOW) is not None
    assert calls == 1
    await link.close()


async def test_concurrent_lookups_all_succeed(over_redis: Cache) -> None:
    await store_response(over_redis)
    results = await asyncio.gather(*(over_redis.lookup("s", "k", GET, NOW) for _ in range(50)))
    assert all(isinstance(result, Fresh) for result in results)


@given(st.lists(st.binary(max_size=20), max_size=10), st.integers(0, 100))
def test_a_recorder_has_the_complete_body_or_none(chunks: list[bytes], limit: int) -> None:
    recorder = BodyRecorder(limit)
    for chunk in chunks:
        recorder.add(chunk)
    whole = b"".join(chunks)
    assert recorder.body() == (whole if len(whole) <= limit else None)


async def test_variants_stored_concurrently_are_all_kept(over_redis: Cache) -> None:
    requests = [
        CacheRequest("GET", [(b"accept-language", language)], authenticated=True)
        for language in (b"de", b"fr", b"en", b"nl")
    ]
    response = CacheResponse(200, [(b"vary", b"accept-language")], NOW)
    bodies = [request.headers[0][1] for request in requests]
    stored = [
        store(over_redis, TARGET, request, response, body) for request, body in zip(requests, bodies, strict=True)
    ]
    assert await asyncio.gather(*stored) == [None] * 4
    results = [await over_redis.lookup("s", TARGET.key, request, NOW) for request in requests]
    assert [result.entry.body for result in results if isinstance(result, Fresh)] == bodies

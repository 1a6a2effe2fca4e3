"""The HTTP cache as the request's way uses it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.cache.driver import BodyRecorder, Cache, StoreTarget
from resilience.cache.memory import MemoryStore
from resilience.cache.messages import CacheRequest, CacheResponse, Forward, Fresh, Miss, Skip, Stale
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.store import UNFENCED, Usage
from resilience.cache.storing import may_store
from resilience.cache.tiers import TieredStore
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import Clock, until

NOW = 1_000.0
GET = CacheRequest("GET", [(b"host", b"x"), (b"accept", b"*/*")])
POLICY = CachePolicy()
NOTHING = Miss(Forward.URI_MISS)
HERE = StoreTarget("s", "k", POLICY, Scope.USER)


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
    result: Miss = NOTHING,
) -> Skip | None:
    """Store what the rules allow to store."""
    verdict = may_store(request, response, target.policy, target.scope)
    if isinstance(verdict, Skip):
        return verdict
    return await cache.store(target, request, response, body, result=result, storable=verdict)


async def keep(
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


async def test_a_stored_answer_is_found_without_waiting(cache: Cache) -> None:
    assert cache.try_lookup("s", "k", GET, NOW) is None
    assert await keep(cache, content_type="text/plain", age="3") is None
    found = cache.try_lookup("s", "k", GET, NOW + 5)
    assert found is not None
    assert (found.age, found.entry.body) == (8, b"body")
    assert found.entry.headers == ((b"content-type", b"text/plain"), (b"date", b"Thu, 01 Jan 1970 00:16:40 GMT"))


async def test_peek_knows_only_what_is_fresh_for_this_request(cache: Cache) -> None:
    await keep(cache)
    assert cache.try_lookup("s", "k", CacheRequest("POST", []), NOW) is None
    assert cache.try_lookup("s", "k", CacheRequest("GET", [(b"cache-control", b"no-cache")]), NOW) is None
    assert cache.try_lookup("s", "k", GET, NOW + 300) is None
    assert isinstance(await cache.lookup("s", "k", GET, NOW + 300), Stale)


async def test_head_is_answered_from_a_stored_get_and_never_stored(cache: Cache) -> None:
    head = CacheRequest("HEAD", [])
    answered = CacheResponse(200, [], NOW)
    assert isinstance(await store(cache, HERE, head, answered), Skip)
    await keep(cache)
    assert isinstance(cache.try_lookup("s", "k", head, NOW), Fresh)


async def test_what_is_too_large_or_cut_short_is_not_stored(cache: Cache) -> None:
    assert await keep(cache, body=None) == Skip("the body is too large")
    assert await keep(cache, content_length="5") == Skip("the body is incomplete", "RFC 9111 section 3.3")
    assert await keep(cache, content_length="4") is None


async def test_every_kind_of_tag_takes_an_answer_back(cache: Cache) -> None:
    for tag in ("route:7", "one", "two", "s"):
        assert await keep(cache, tags=("route:7",), surrogate_key="one", cache_tag="two, three") is None
        assert await cache.invalidate("s", [tag]) == 1
    await keep(cache)
    assert await cache.invalidate("s") == 1


async def test_what_could_not_be_taken_back_by_its_tag_is_not_stored(cache: Cache) -> None:
    assert await keep(cache, tags=("user:" + "x" * 10_000,)) == Skip("a tag is too long")


async def test_an_entry_with_two_of_the_tags_is_counted_once(cache: Cache) -> None:
    await keep(cache, "1", tags=("a", "b"))
    await keep(cache, "2", tags=("b",))
    assert await cache.invalidate("s", ["a", "b"]) == 2


async def test_a_tag_may_be_taken_back_in_all_services(cache: Cache) -> None:
    await keep(cache, tags=("a",))
    assert await cache.invalidate_all(["s", "t"], "a") == 1
    await keep(cache)
    assert await cache.invalidate_all(["s", "t"]) == 1
    assert (await cache.usage("s")).entries == 0


async def test_an_answer_fetched_while_its_tag_was_taken_back_is_not_stored(cache: Cache) -> None:
    found = await cache.lookup("s", "k", GET, NOW)
    assert isinstance(found, Miss)
    await cache.invalidate("s", ["a"])
    answered = CacheResponse(200, [(b"surrogate-key", b"a")], NOW)
    refused = await store(cache, HERE, GET, answered, result=found)
    assert isinstance(refused, Skip)


async def test_a_request_that_is_none_of_the_caches_business_asks_no_store(cache: Cache) -> None:
    assert await cache.lookup("s", "k", CacheRequest("POST", []), NOW) == Miss(Forward.METHOD, UNFENCED)
    silent = CacheRequest("GET", [(b"cache-control", b"no-store")])
    assert await cache.lookup("s", "k", silent, NOW) == Miss(Forward.REQUEST, UNFENCED)


async def test_a_key_made_wider_than_the_policy_needs_the_answers_leave(cache: Cache) -> None:
    mine = CacheRequest("GET", [], authenticated=True)
    for value, kept in ((b"max-age=60", False), (b"public, max-age=60", True)):
        answered = CacheResponse(200, [(b"cache-control", value)], NOW)
        stored = await store(cache, HERE._replace(scope=Scope.SHARED), mine, answered)
        assert (stored is None) is kept


async def test_all_lookups_agree_on_hits_and_misses_of_a_service(cache: Cache) -> None:
    await keep(cache)
    assert isinstance(cache.try_lookup("s", "k", GET, NOW), Fresh)
    assert cache.try_lookup("s", "other", GET, NOW) is cache.try_lookup("other", "k", GET, NOW) is None
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


async def test_over_redis_that_goes_away_everything_is_a_miss(over_redis: Cache, own_redis: RedisServer) -> None:
    assert await keep(over_redis) is None
    assert over_redis.try_lookup("s", "k", GET, NOW) is not None
    own_redis.stop()
    found = await over_redis.lookup("s", "k", GET, NOW)
    assert found == Miss(Forward.URI_MISS, UNFENCED)
    answered = CacheResponse(200, [], NOW)
    assert isinstance(await store(over_redis, HERE, GET, answered), Skip)


async def test_what_is_held_is_told_of_all_together_and_unknown_while_redis_is_away(
    over_redis: Cache, own_redis: RedisServer
) -> None:
    await keep(over_redis)
    alone = await over_redis.usage("s")
    assert await over_redis.usage_of(["s", "other"]) == alone
    assert alone.entries == 1
    assert await over_redis.usage_of(["s"], "nothing has it") == Usage(0, 0)
    own_redis.stop()
    assert await over_redis.usage_of(["s"]) is None


async def test_a_hit_in_redis_costs_one_round_trip_and_one_in_memory_none(
    own_redis: RedisServer, over_redis: Cache
) -> None:
    await keep(over_redis)
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


async def test_many_look_up_at_once(over_redis: Cache) -> None:
    await keep(over_redis)
    found = await asyncio.gather(*(over_redis.lookup("s", "k", GET, NOW) for _ in range(50)))
    assert all(isinstance(verdict, Fresh) for verdict in found)


@given(st.lists(st.binary(max_size=20), max_size=10), st.integers(0, 100))
def test_a_recorder_has_the_whole_body_or_none(chunks: list[bytes], limit: int) -> None:
    recorder = BodyRecorder(limit)
    for chunk in chunks:
        recorder.add(chunk)
    whole = b"".join(chunks)
    assert recorder.body() == (whole if len(whole) <= limit else None)


async def test_variants_that_are_stored_at_once_are_all_kept(over_redis: Cache) -> None:
    asked = [CacheRequest("GET", [(b"accept-language", language)]) for language in (b"de", b"fr", b"en", b"nl")]
    answered = CacheResponse(200, [(b"vary", b"accept-language")], NOW)
    bodies = [request.headers[0][1] for request in asked]
    stored = [store(over_redis, HERE, request, answered, body) for request, body in zip(asked, bodies, strict=True)]
    assert await asyncio.gather(*stored) == [None] * 4
    found = [await over_redis.lookup("s", HERE.key, request, NOW) for request in asked]
    assert [one.entry.body for one in found if isinstance(one, Fresh)] == bodies

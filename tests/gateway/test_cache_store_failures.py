"""Redis stopped, slow, full or with malformed data, at each step of a request: the backend's response is returned."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from resilience.cache.policy import Scope
from resilience.redis import RedisLink
from tests.gateway.cache_steps import DOWN, PATH, WITH_ETAG, policy, reply
from tests.gateway.conftest import World, make_world
from tests.origin import Peer
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import until

SHARED = policy(scope=Scope.SHARED)


@pytest.fixture
async def redis_world(own_redis: RedisServer) -> AsyncIterator[World]:
    link = RedisLink(own_redis.url)
    made = make_world("asgi", link=link)
    await link.start()
    await until(lambda: link.feed.alive)
    yield made
    await made.close()
    await link.close()


async def test_redis_stopped_before_the_lookup(redis_world: World, own_redis: RedisServer) -> None:
    await redis_world.serve(WITH_ETAG)
    own_redis.stop()
    responses = [await redis_world.request("GET", PATH + "/x") for _ in range(3)]
    assert {(response.status, response.get("x-cache")) for response in responses} == {(200, "MISS")}
    assert responses[-1].get("cache-status") == 'gateway; fwd=uri-miss; detail="the store is unavailable"'


async def test_a_request_with_a_precondition_is_not_taken_for_one_without_a_store(redis_world: World) -> None:
    await redis_world.serve(WITH_ETAG)
    response = await redis_world.request("GET", PATH + "/x", [("If-Match", '"a"')])
    assert response.get("cache-status") == 'gateway; fwd=request; detail="the request has a precondition"'


async def test_redis_stopped_during_the_backend_call(redis_world: World, own_redis: RedisServer) -> None:
    async def stop_redis_and_respond(peer: Peer) -> None:
        own_redis.stop()
        await peer.send(WITH_ETAG)

    await redis_world.serve(stop_redis_and_respond, WITH_ETAG)
    assert [(await redis_world.request("GET", PATH + "/x")).status for _ in range(2)] == [200, 200]


async def test_redis_stopped_before_an_invalidation(redis_world: World, own_redis: RedisServer) -> None:
    await redis_world.serve(WITH_ETAG, reply(204))
    await redis_world.request("GET", PATH + "/x")
    own_redis.stop()
    assert (await redis_world.request("DELETE", PATH + "/x")).status == 204


async def test_redis_stopped_and_restarted(redis_world: World, own_redis: RedisServer) -> None:
    await redis_world.serve(reply())
    own_redis.stop()
    await redis_world.request("GET", PATH + "/x")
    own_redis.start()

    async def hit() -> bool:
        return (await redis_world.request("GET", PATH + "/x")).get("x-cache") == "HIT"

    await until(hit)


@pytest.mark.redis_timeout
async def test_redis_paused(redis_world: World, own_redis: RedisServer) -> None:
    await redis_world.serve(WITH_ETAG)
    own_redis.pause()
    responses = await asyncio.gather(*[redis_world.request("GET", PATH + "/x") for _ in range(5)])
    own_redis.resume()
    assert {response.status for response in responses} == {200}


async def test_redis_out_of_memory(redis_world: World, own_redis: RedisServer) -> None:
    await redis_world.serve(WITH_ETAG)
    with own_redis.client() as client:
        client.config_set("maxmemory", "1")
        responses = [await redis_world.request("GET", PATH + "/x") for _ in range(3)]
    assert {(response.status, response.get("x-cache")) for response in responses} == {(200, "MISS")}


@pytest.mark.parametrize("malformed", [b"", b"\x02\x01rubbish", b"\x80\x04\x95", b"\x02\x00\x90", b"\xff" * 5_000])
async def test_a_malformed_entry_is_a_miss(redis_world: World, own_redis: RedisServer, malformed: bytes) -> None:
    await redis_world.serve(WITH_ETAG, policy=SHARED)
    await redis_world.request("GET", PATH + "/x")
    with own_redis.client() as client:
        client.set(client.keys("gw:{crm}:e:*")[0], malformed)
        client.delete(*client.keys("gw:{crm}:l:*"))
    fresh = RedisLink(own_redis.url)
    other = make_world("asgi", link=fresh, clock=redis_world.clock)
    other.live.keys, other.live.table, other.key = redis_world.live.keys, redis_world.live.table, redis_world.key
    await fresh.start()
    responses = [await other.request("GET", PATH + "/x") for _ in range(2)]
    assert [response.get("x-cache") for response in responses] == ["MISS", "HIT"]
    await other.close()
    await fresh.close()


async def test_a_malformed_lease_does_not_block_a_request(redis_world: World, own_redis: RedisServer) -> None:
    await redis_world.serve(WITH_ETAG, policy=SHARED)
    await redis_world.request("GET", PATH + "/x")
    with own_redis.client() as client:
        lease = client.keys("gw:{crm}:l:*")[0]
        client.delete(lease, *client.keys("gw:{crm}:e:*"))
        client.rpush(lease, "a list")
    redis_world.clock.advance(11)
    assert (await redis_world.request("GET", PATH + "/x")).status == 200


async def test_a_stale_response_is_returned_when_redis_is_stopped_too(
    redis_world: World, own_redis: RedisServer
) -> None:
    async def stop_redis_and_respond(peer: Peer) -> None:
        own_redis.stop()
        await peer.send(DOWN)

    await redis_world.serve(WITH_ETAG, stop_redis_and_respond, policy=SHARED)
    await redis_world.request("GET", PATH + "/x")
    redis_world.clock.advance(11)
    assert (await redis_world.request("GET", PATH + "/x")).get("x-cache") == "STALE"


async def test_a_response_invalidated_while_the_backend_failed_is_not_returned(cache_world: World) -> None:
    requested, released = asyncio.Event(), asyncio.Event()

    async def fail(peer: Peer) -> None:
        requested.set()
        await released.wait()
        await peer.send(DOWN)

    await cache_world.serve(WITH_ETAG, fail)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(11)
    reading = asyncio.create_task(cache_world.request("GET", PATH + "/x"))
    await requested.wait()
    await cache_world.cache.invalidate("crm")
    released.set()
    assert (await reading).status == 503


async def test_a_response_invalidated_while_it_was_fetched_is_not_stored(cache_world: World) -> None:
    requested, released = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        requested.set()
        await released.wait()
        await peer.send(reply(body=b"old"))

    await cache_world.serve(slow, reply(204), reply(body=b"new"))
    reading = asyncio.create_task(cache_world.request("GET", PATH + "/x"))
    await requested.wait()
    await cache_world.request("PUT", PATH + "/x", body=[b"1"])
    released.set()
    assert (await reading).body == b"old"  # a request that began before the invalidation may get it
    later = await cache_world.request("GET", PATH + "/x")
    assert (later.get("x-cache"), later.body) == ("MISS", b"new")

"""Redis gone, slow, full, or full of rubbish, at each step of a request: the answer is the backend's, and no 5xx is
ours."""

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
async def over(own_redis: RedisServer) -> AsyncIterator[World]:
    link = RedisLink(own_redis.url)
    made = make_world("asgi", link=link)
    await link.start()
    await until(lambda: link.feed.alive)
    yield made
    await made.close()
    await link.close()


async def test_gone_before_the_look(over: World, own_redis: RedisServer) -> None:
    await over.serve(WITH_ETAG)
    own_redis.stop()
    answers = [await over.request("GET", PATH + "/x") for _ in range(3)]
    assert {(answer.status, answer.get("x-cache")) for answer in answers} == {(200, "MISS")}
    assert answers[-1].get("cache-status") == 'gateway; fwd=uri-miss; detail="the store is away"'


async def test_gone_while_the_backend_is_asked(over: World, own_redis: RedisServer) -> None:
    async def end(peer: Peer) -> None:
        own_redis.stop()
        await peer.send(WITH_ETAG)

    await over.serve(end, WITH_ETAG)
    assert [(await over.request("GET", PATH + "/x")).status for _ in range(2)] == [200, 200]


async def test_gone_when_something_is_to_be_taken_back(over: World, own_redis: RedisServer) -> None:
    await over.serve(WITH_ETAG, reply(204))
    await over.request("GET", PATH + "/x")
    own_redis.stop()
    assert (await over.request("DELETE", PATH + "/x")).status == 204


async def test_gone_and_back(over: World, own_redis: RedisServer) -> None:
    await over.serve(reply())
    own_redis.stop()
    await over.request("GET", PATH + "/x")
    own_redis.start()

    async def hit() -> bool:
        return (await over.request("GET", PATH + "/x")).get("x-cache") == "HIT"

    await until(hit)


async def test_slow(over: World, own_redis: RedisServer) -> None:
    await over.serve(WITH_ETAG)
    own_redis.pause()
    answers = await asyncio.gather(*[over.request("GET", PATH + "/x") for _ in range(5)])
    own_redis.resume()
    assert {answer.status for answer in answers} == {200}


async def test_full(over: World, own_redis: RedisServer) -> None:
    await over.serve(WITH_ETAG)
    with own_redis.client() as outside:
        outside.config_set("maxmemory", "1")
        answers = [await over.request("GET", PATH + "/x") for _ in range(3)]
    assert {(answer.status, answer.get("x-cache")) for answer in answers} == {(200, "MISS")}


@pytest.mark.parametrize("rubbish", [b"", b"\x02\x01rubbish", b"\x80\x04\x95", b"\x02\x00\x90", b"\xff" * 5_000])
async def test_rubbish_in_an_entrys_place_is_a_miss(over: World, own_redis: RedisServer, rubbish: bytes) -> None:
    await over.serve(WITH_ETAG, policy=SHARED)
    await over.request("GET", PATH + "/x")
    with own_redis.client() as outside:
        outside.set(outside.keys("gw:{crm}:e:*")[0], rubbish)
        outside.delete(*outside.keys("gw:{crm}:l:*"))
    fresh = RedisLink(own_redis.url)
    other = make_world("asgi", link=fresh, clock=over.clock)
    other.live.keys, other.live.table, other.key = over.live.keys, over.live.table, over.key
    await fresh.start()
    answers = [await other.request("GET", PATH + "/x") for _ in range(2)]
    assert [answer.get("x-cache") for answer in answers] == ["MISS", "HIT"]
    await other.close()
    await fresh.close()


async def test_rubbish_in_a_leases_place_is_waited_out_or_passed(over: World, own_redis: RedisServer) -> None:
    await over.serve(WITH_ETAG, policy=SHARED)
    await over.request("GET", PATH + "/x")
    with own_redis.client() as outside:
        lease = outside.keys("gw:{crm}:l:*")[0]
        outside.delete(lease, *outside.keys("gw:{crm}:e:*"))
        outside.rpush(lease, "a list")
    over.clock.advance(11)
    assert (await over.request("GET", PATH + "/x")).status == 200


async def test_stale_is_given_when_redis_is_gone_too(over: World, own_redis: RedisServer) -> None:
    async def end(peer: Peer) -> None:
        own_redis.stop()
        await peer.send(DOWN)

    await over.serve(WITH_ETAG, end, policy=SHARED)
    await over.request("GET", PATH + "/x")
    over.clock.advance(11)
    assert (await over.request("GET", PATH + "/x")).get("x-cache") == "STALE"


async def test_what_was_taken_back_while_the_backend_failed_is_not_given(cache_world: World) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def fail(peer: Peer) -> None:
        asked.set()
        await go.wait()
        await peer.send(DOWN)

    await cache_world.serve(WITH_ETAG, fail)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(11)
    reading = asyncio.create_task(cache_world.request("GET", PATH + "/x"))
    await asked.wait()
    await cache_world.cache.invalidate("crm")
    go.set()
    assert (await reading).status == 503


async def test_what_was_taken_back_while_it_was_fetched_is_not_kept(cache_world: World) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        asked.set()
        await go.wait()
        await peer.send(reply(body=b"old"))

    await cache_world.serve(slow, reply(204), reply(body=b"new"))
    reading = asyncio.create_task(cache_world.request("GET", PATH + "/x"))
    await asked.wait()
    await cache_world.request("PUT", PATH + "/x", body=[b"1"])
    go.set()
    assert (await reading).body == b"old"  # who asked before may have it
    later = await cache_world.request("GET", PATH + "/x")
    assert (later.get("x-cache"), later.body) == ("MISS", b"new")

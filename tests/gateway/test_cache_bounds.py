"""What the cache costs and where it ends: commands to Redis, bytes in memory, long keys, the tags' books, bad links."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resilience.cache.memory import MemoryTier
from resilience.cache.policy import Scope
from resilience.cache.redis import RedisStore
from resilience.cache.tiers import TieredStore
from resilience.redis import RedisLink
from tests.clock import FakeClock
from tests.gateway.cache_steps import PATH, WITH_ETAG, policy, reply
from tests.gateway.conftest import World, make_world
from tests.origin import Peer
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import make, until

SHARED = policy(scope=Scope.SHARED)
OWN_TALK = frozenset({"ping", "info", "subscribe", "hello", "client|setinfo", "config|resetstat", "select"})
"""What connections say of themselves."""


@pytest.fixture
async def workers(redis_url: str, patient_links: None) -> AsyncIterator[tuple[World, World]]:
    """Two gateways over one Redis, with one set of keys."""
    clock, links = FakeClock(), [RedisLink(redis_url) for _ in range(2)]
    one, two = (make_world("asgi", link=link, clock=clock) for link in links)
    two.live.keys, two.key, two.other_key = one.live.keys, one.key, one.other_key
    for link in links:
        await link.start()
    await until(lambda: all(link.feed.alive for link in links))
    yield one, two
    for world, link in zip((one, two), links, strict=True):
        await world.close()
        await link.close()


async def commands(outside: Redis, work: Callable[[], Awaitable[Any]]) -> Counter[str]:
    """What `work` says to Redis, as Redis counts it."""
    outside.config_resetstat()
    await work()
    stats: Any = outside.info("commandstats")
    return Counter(
        {
            name.removeprefix("cmdstat_"): said["calls"]
            for name, said in stats.items()
            if name.removeprefix("cmdstat_") not in OWN_TALK
        }
    )


async def test_a_hit_in_redis_costs_one_round_trip_and_one_in_memory_none(
    workers: tuple[World, World], shared_redis: RedisServer
) -> None:
    one, two = workers
    await one.serve(WITH_ETAG, policy=SHARED)
    two.live.table = one.live.table

    async def hit(world: World) -> None:
        assert (await world.request("GET", PATH + "/x")).get("x-cache") == "HIT"

    assert (await one.request("GET", PATH + "/x")).get("x-cache") == "MISS"
    with shared_redis.client() as outside:
        await until(lambda: outside.mget(outside.keys("gw:{crm}:l:*")) == [b"+"])  # the lease has been given back
        assert await commands(outside, lambda: hit(two)) == Counter(mget=1)
        assert await commands(outside, lambda: hit(two)) == Counter()
        assert await commands(outside, lambda: hit(one)) == Counter()


async def test_a_key_of_eight_kilobytes_is_like_any_other(cache_world: World) -> None:
    origin = await cache_world.serve(WITH_ETAG)
    path = f"{PATH}/{'x' * 4_000}?{'y' * 4_000}"
    verdicts = [(await cache_world.request("GET", path)).get("x-cache") for _ in range(2)]
    assert (verdicts, len(origin.requests)) == (["MISS", "HIT"], 1)
    assert (await cache_world.request("GET", path + "z")).get("x-cache") == "MISS"


async def test_its_key_in_redis_is_short(workers: tuple[World, World], shared_redis: RedisServer) -> None:
    await workers[0].serve(WITH_ETAG)
    await workers[0].request("GET", f"{PATH}/{'x' * 8_000}")
    with shared_redis.client() as outside:
        assert outside.keys("gw:{crm}:e:*")
        assert max(map(len, outside.keys("*"))) < 100


def test_memory_stays_in_its_bound_whatever_comes() -> None:
    shelf, limit = MemoryTier(1_000_000), 1_000_000
    for number in range(20_000):
        shelf.add("s", str(number), make(b"x" * (number % 500), f"tag-{number}", "all"))
        assert shelf.bytes <= limit
    assert len(shelf) > 500
    assert shelf.tags == len(shelf) + 2  # the index holds what is there, and nothing of what went


async def test_tags_do_not_outgrow_the_entries_that_live(redis_url: str, shared_redis: RedisServer) -> None:
    link = RedisLink(redis_url)
    store = RedisStore(link)
    with shared_redis.client() as outside:
        for batch in range(20):
            puts = [
                store.put("s", f"{batch}-{number}", make(b"", "all", f"own-{batch}-{number}", ttl=0.05), 0)
                for number in range(150)
            ]
            await asyncio.gather(*puts)
            await asyncio.sleep(0.06)
            await store.put("s", "alive", make(b"", "all"), 0)
        assert outside.zcard("gw:{s}:t:all") <= 2 * 150 + 1
        for number in range(30):  # a little traffic, and the last of the ended are gone as well
            await store.put("s", f"alive-{number}", make(b"", "all"), 0)
        await until(lambda: len(outside.keys("gw:{s}:t:*")) == 2)
        assert outside.zcard("gw:{s}:t:all") == outside.zcard("gw:{s}:t:s") == 31
        assert len(outside.keys("*")) == 31 + 2
    await link.close()


async def test_ten_thousand_under_a_tag_go_at_once_and_are_counted(workers: tuple[World, World]) -> None:
    one, two = (world.cache._store for world in workers)
    assert isinstance(one, TieredStore)
    assert isinstance(two, TieredStore)
    for begin in range(0, 10_000, 500):
        puts = [one.put("s", str(number), make(b"", "all"), 0) for number in range(begin, begin + 500)]
        assert all(await asyncio.gather(*puts))
    await asyncio.gather(*[two.get("s", str(number)) for number in range(0, 10_000, 100)])
    assert len(two.memory) == 100
    await one.put("other", "k", make(b"", "all"), 0)
    assert (await workers[0].cache.invalidate("s", ["all"])) == 10_000
    assert one.peek("s", "9999") is None
    await until(lambda: len(two.memory) == 0)
    assert one.peek("other", "k") is not None


@asynccontextmanager
async def slow(url: str, seconds: float, directory: Path) -> AsyncIterator[str]:
    """The same Redis behind a line on which every answer takes so long."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        try:
            while data := await reader.read(65_536):
                await asyncio.sleep(delay)
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(url.removeprefix("unix://"))
        ways = [asyncio.create_task(pass_on(reader, back, 0)), asyncio.create_task(pass_on(there, writer, seconds))]
        passing.update(ways)
        await asyncio.wait(ways)

    passing: set[asyncio.Task[None]] = set()
    server = await asyncio.start_unix_server(accept, directory / "slow")
    yield f"unix://{directory / 'slow'}"
    server.close()
    for task in passing:
        task.cancel()
    await asyncio.gather(*passing, return_exceptions=True)


@pytest.mark.parametrize("seconds", [0.01, 5.0])
async def test_a_slow_redis_is_waited_for_a_little_and_passed_by(own_redis: RedisServer, seconds: float) -> None:
    async with slow(own_redis.url, seconds, own_redis.directory) as url:
        link = RedisLink(url)
        world = make_world("asgi", link=link)
        try:
            await world.serve(reply(), policy=SHARED)
            answers = [await world.request("GET", PATH + "/x") for _ in range(3)]
            assert {answer.status for answer in answers} == {200}
            store = world.cache._store
            assert isinstance(store, TieredStore)
            if seconds > 1:
                assert store.lost_gets > 0
                assert 'detail="the store is away"' in (answers[-1].get("cache-status") or "")
        finally:
            await world.close()
            await link.close()


REFUSED = {"get": "mget", "put": "zadd", "claim": "get", "release": "del", "invalidate": "unlink"}
"""A command that a step cannot do without."""


@pytest.mark.parametrize("step", REFUSED)
async def test_whatever_step_of_it_fails_the_answer_is_the_backends(
    own_redis: RedisServer, step: str, patient_links: None
) -> None:
    async def answer(peer: Peer) -> None:
        await peer.read_body()
        await peer.send(reply(204) if peer.request.line.startswith(b"DELETE") else WITH_ETAG)

    link = RedisLink(own_redis.url)
    world = make_world("asgi", link=link)
    await world.serve(answer, policy=SHARED)
    store = world.cache._store
    try:
        with own_redis.client() as outside:
            outside.acl_setuser("default", enabled=True, commands=[f"-{REFUSED[step]}"])
            methods = ("GET", "GET", "DELETE", "GET")
            answers = [await world.request(method, PATH + "/x") for method in methods]
            assert [answer.status for answer in answers] == [200, 200, 204, 200]
            assert not link.unavailable
        assert isinstance(store, TieredStore)
        lost = {"get": store.lost_gets, "put": store.lost_puts}
        assert lost.get(step, 1) > 0
    finally:
        await world.close()
        await link.close()

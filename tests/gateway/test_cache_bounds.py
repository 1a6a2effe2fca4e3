"""Costs and limits of the cache: Redis commands, memory, long keys, tag indexes, and a slow or failing Redis."""

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
CONNECTION_COMMANDS = frozenset({"ping", "info", "subscribe", "hello", "client|setinfo", "config|resetstat", "select"})
"""Commands of the connections themselves."""


@pytest.fixture
async def workers(redis_url: str) -> AsyncIterator[tuple[World, World]]:
    """Two gateways with one Redis and the same API keys."""
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


async def count_commands(client: Redis, work: Callable[[], Awaitable[Any]]) -> Counter[str]:
    """The commands that `work` sends, as counted by Redis."""
    client.config_resetstat()
    await work()
    stats: Any = client.info("commandstats")
    return Counter(
        {
            name.removeprefix("cmdstat_"): counts["calls"]
            for name, counts in stats.items()
            if name.removeprefix("cmdstat_") not in CONNECTION_COMMANDS
        }
    )


async def test_a_hit_in_redis_costs_one_round_trip_and_a_hit_in_memory_none(
    workers: tuple[World, World], shared_redis: RedisServer
) -> None:
    one, two = workers
    await one.serve(WITH_ETAG, policy=SHARED)
    two.live.table = one.live.table

    async def hit(world: World) -> None:
        assert (await world.request("GET", PATH + "/x")).get("x-cache") == "HIT"

    assert (await one.request("GET", PATH + "/x")).get("x-cache") == "MISS"
    with shared_redis.client() as client:
        await until(lambda: client.mget(client.keys("gw:{crm}:l:*")) == [b"+"])  # the lease has been released
        # The commands of one script, and so of one round trip: the fences, the entry, and the indexes of its two tags.
        script = Counter(zscore=4, getrange=1)
        assert await count_commands(client, lambda: hit(two)) == Counter(evalsha=1) + script
        assert await count_commands(client, lambda: hit(two)) == Counter()
        assert await count_commands(client, lambda: hit(one)) == Counter()


async def test_a_url_of_eight_kilobytes_is_cached(cache_world: World) -> None:
    origin = await cache_world.serve(WITH_ETAG)
    path = f"{PATH}/{'x' * 4_000}?{'y' * 4_000}"
    cache_results = [(await cache_world.request("GET", path)).get("x-cache") for _ in range(2)]
    assert (cache_results, len(origin.requests)) == (["MISS", "HIT"], 1)
    assert (await cache_world.request("GET", path + "z")).get("x-cache") == "MISS"


async def test_a_url_with_more_tags_than_are_indexed_is_not_cached(cache_world: World) -> None:
    """Parameters of the query are the client's to choose, and each tag costs an entry of the index."""
    await cache_world.serve(reply(cache_control="max-age=60"), policy=policy(tags=("of:{query.c}",)))
    for count, verdicts in ((400, ["MISS", "HIT"]), (600, ["MISS", "MISS"])):
        query = "&".join(f"c={number}" for number in range(count))
        assert [(await cache_world.request("GET", f"{PATH}/a?{query}")).get("x-cache") for _ in range(2)] == verdicts


async def test_the_redis_key_of_a_long_url_is_short(workers: tuple[World, World], shared_redis: RedisServer) -> None:
    await workers[0].serve(WITH_ETAG)
    await workers[0].request("GET", f"{PATH}/{'x' * 8_000}")
    with shared_redis.client() as client:
        assert client.keys("gw:{crm}:e:*")
        assert max(map(len, client.keys("*"))) < 100


def test_the_memory_tier_stays_within_its_limit() -> None:
    tier, limit = MemoryTier(1_000_000), 1_000_000
    for number in range(20_000):
        tier.add("s", str(number), make(b"x" * (number % 500), f"tag-{number}", "all"))
        assert tier.bytes <= limit
    assert len(tier) > 500
    assert tier.tags == len(tier) + 2  # the index has no tags of removed entries


async def test_tag_indexes_do_not_outgrow_the_live_entries(redis_url: str, shared_redis: RedisServer) -> None:
    link = RedisLink(redis_url)
    store = RedisStore(link)
    with shared_redis.client() as client:
        for batch in range(20):
            puts = [
                store.put("s", f"{batch}-{number}", make(b"", "all", f"own-{batch}-{number}", ttl=0.05), 0)
                for number in range(150)
            ]
            await asyncio.gather(*puts)
            await asyncio.sleep(0.06)
            await store.put("s", "alive", make(b"", "all"), 0)
        assert client.zcard("gw:{s}:t:all") <= 2 * 150 + 1
        for number in range(30):  # a few more writes remove the remaining expired entries
            await store.put("s", f"alive-{number}", make(b"", "all"), 0)
        await until(lambda: len(client.keys("gw:{s}:t:*")) == 2)
        assert client.zcard("gw:{s}:t:all") == client.zcard("gw:{s}:t:s") == 31
        assert len(client.keys("*")) == 31 + 2
    await link.close()


async def test_invalidating_a_tag_removes_ten_thousand_entries_and_returns_their_number(
    workers: tuple[World, World],
) -> None:
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
async def delayed_redis(url: str, seconds: float, directory: Path) -> AsyncIterator[str]:
    """A proxy to the Redis at `url` that delays every response."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        try:
            while data := await reader.read(65_536):
                await asyncio.sleep(delay)
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_unix_connection(url.removeprefix("unix://"))
        directions = [
            asyncio.create_task(forward(reader, to_redis, 0)),
            asyncio.create_task(forward(from_redis, writer, seconds)),
        ]
        tasks.update(directions)
        await asyncio.wait(directions)

    tasks: set[asyncio.Task[None]] = set()
    server = await asyncio.start_unix_server(accept, directory / "slow")
    yield f"unix://{directory / 'delayed_redis'}"
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("seconds", [0.01, 5.0])
async def test_a_slow_redis_is_waited_for_briefly_and_then_bypassed(own_redis: RedisServer, seconds: float) -> None:
    async with delayed_redis(own_redis.url, seconds, own_redis.directory) as url:
        link = RedisLink(url)
        world = make_world("asgi", link=link)
        try:
            await world.serve(reply(), policy=SHARED)
            responses = [await world.request("GET", PATH + "/x") for _ in range(3)]
            assert {response.status for response in responses} == {200}
            store = world.cache._store
            assert isinstance(store, TieredStore)
            if seconds > 1:
                assert store.lost_gets > 0
                assert 'detail="the store is unavailable"' in (responses[-1].get("cache-status") or "")
        finally:
            await world.close()
            await link.close()


DENIED_COMMANDS = {"get": "getrange", "put": "set", "claim": "get", "release": "del", "invalidate": "unlink"}
"""A command that each operation needs."""


@pytest.mark.parametrize("operation", DENIED_COMMANDS)
async def test_if_any_redis_command_fails_the_backends_response_is_returned(
    own_redis: RedisServer, operation: str
) -> None:
    async def respond(peer: Peer) -> None:
        await peer.read_body()
        await peer.send(reply(204) if peer.request.line.startswith(b"DELETE") else WITH_ETAG)

    link = RedisLink(own_redis.url)
    world = make_world("asgi", link=link)
    await world.serve(respond, policy=SHARED)
    store = world.cache._store
    try:
        with own_redis.client() as client:
            client.acl_setuser("default", enabled=True, commands=[f"-{DENIED_COMMANDS[operation]}"])
            methods = ("GET", "GET", "DELETE", "GET")
            responses = [await world.request(method, PATH + "/x") for method in methods]
            assert [response.status for response in responses] == [200, 200, 204, 200]
            assert not link.unavailable
        assert isinstance(store, TieredStore)
        lost = {"get": store.lost_gets, "put": store.lost_puts}
        assert lost.get(operation, 1) > 0
    finally:
        await world.close()
        await link.close()

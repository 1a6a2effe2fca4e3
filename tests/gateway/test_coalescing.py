"""Request coalescing: one fetch per response, within a worker and among workers over Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from resilience.cache import flights, leases
from resilience.cache.policy import Scope
from resilience.cache.redis_leases import RedisLeases
from resilience.ratelimit.policy import RatePolicy
from resilience.redis import RedisLink
from routing.gateway_rules import GatewayRules
from tests.clock import FakeClock
from tests.gateway.cache_steps import DOWN, PATH, WITH_ETAG, policy, reply
from tests.gateway.conftest import World, make_world
from tests.gateway.entry_points import ReceivedResponse
from tests.origin import Peer
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import until

UNLIMITED = GatewayRules(rate=RatePolicy(1_000_000, 60), max_body_bytes=1_000)
SHARED = policy(scope=Scope.SHARED)


class HeldReply:
    """A backend's reply that is sent when `go` is set."""

    def __init__(self, reply: bytes = WITH_ETAG) -> None:
        self.requested = asyncio.Event()
        self.go = asyncio.Event()
        self._reply = reply

    async def __call__(self, peer: Peer) -> None:
        await peer.read_body()
        self.requested.set()
        await self.go.wait()
        await peer.send(self._reply)


async def let_tasks_run() -> None:
    """Let other tasks run until they wait for the backend."""
    for _ in range(50):
        await asyncio.sleep(0)


def start(world: World, path: str = "/x", **more: object) -> "asyncio.Task[ReceivedResponse]":
    return asyncio.create_task(world.request("GET", PATH + path, **more))


async def test_simultaneous_requests_share_one_fetch(cache_world: World) -> None:
    held = HeldReply()
    origin = await cache_world.serve(held)
    pending = [start(cache_world) for _ in range(20)]
    await held.requested.wait()
    await let_tasks_run()
    held.go.set()
    responses = await asyncio.gather(*pending)
    assert len(origin.requests) == 1
    assert {response.body for response in responses} == {b"0123456789"}
    assert sorted(response.get("x-cache") or "" for response in responses) == ["HIT"] * 19 + ["MISS"]
    statuses = {response.get("cache-status") for response in responses}
    assert "gateway; fwd=uri-miss; collapsed" in statuses


async def test_two_callers_do_not_share_a_fetch(cache_world: World) -> None:
    held = HeldReply()
    origin = await cache_world.serve(held)
    pending = [start(cache_world), start(cache_world, key=cache_world.other_key)]
    await until(lambda: len(origin.requests) == 2)
    held.go.set()
    assert [response.get("x-cache") for response in await asyncio.gather(*pending)] == ["MISS", "MISS"]


async def test_each_variant_has_its_own_fetch(cache_world: World) -> None:
    def variant(language: str) -> bytes:
        return reply(body=language.encode(), vary="Accept-Language")

    async def respond(peer: Peer) -> None:
        await peer.read_body()
        await peer.send(variant(dict(peer.request.fields)[b"accept-language"].decode()))

    origin = await cache_world.serve(respond)
    pending = [start(cache_world, headers=[("Accept-Language", language)]) for language in ["de", "fr", "en"] * 5]
    responses = await asyncio.gather(*pending)
    assert [response.body.decode() for response in responses] == ["de", "fr", "en"] * 5
    assert len(origin.requests) == 3


@pytest.mark.parametrize("held", [reply(cache_control="no-store"), reply(404), reply(set_cookie="a=1")])
async def test_requests_wait_only_once_for_a_response_that_is_not_stored(cache_world: World, held: bytes) -> None:
    first = HeldReply(held)
    origin = await cache_world.serve(first)
    pending = [start(cache_world) for _ in range(5)]
    await first.requested.wait()
    await let_tasks_run()
    first.go.set()
    await asyncio.gather(*pending)
    assert len(origin.requests) == 5
    first.go.clear()
    more = [start(cache_world) for _ in range(3)]
    await until(lambda: len(origin.requests) == 8)  # each one makes its own call, at once
    first.go.set()
    await asyncio.gather(*more)


async def test_requests_do_not_wait_for_a_response_that_is_always_validated(cache_world: World) -> None:
    held = HeldReply(reply(304))
    origin = await cache_world.serve(reply(etag='"a"', cache_control="no-cache"), held)
    await cache_world.request("GET", PATH + "/x")
    pending = [start(cache_world) for _ in range(4)]
    await until(lambda: len(origin.requests) == 5)
    held.go.set()
    assert {response.get("x-cache") for response in await asyncio.gather(*pending)} == {"REVALIDATED"}


async def test_waiting_requests_share_a_failure(cache_world: World) -> None:
    released = asyncio.Event()

    async def reset_connection(peer: Peer) -> None:
        await released.wait()
        peer.reset()

    origin = await cache_world.serve(reset_connection)
    pending = [start(cache_world) for _ in range(5)]
    await origin.requested.wait()
    await let_tasks_run()
    released.set()
    assert {response.status for response in await asyncio.gather(*pending)} == {502}
    assert len(origin.requests) <= 3  # the call and its retries


async def test_waiting_requests_get_their_stale_response_after_a_failure(cache_world: World) -> None:
    async def reset_connection(peer: Peer) -> None:
        peer.reset()

    await cache_world.serve(WITH_ETAG, reset_connection)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(11)
    responses = await asyncio.gather(*[start(cache_world) for _ in range(5)])
    assert {(response.status, response.get("x-cache")) for response in responses} == {(200, "STALE")}


async def test_a_follower_continues_when_the_leader_is_cancelled(cache_world: World) -> None:
    held = HeldReply()
    origin = await cache_world.serve(held)
    leader = start(cache_world)
    await held.requested.wait()
    follower = start(cache_world)
    await let_tasks_run()
    leader.cancel()
    await until(lambda: len(origin.requests) == 2)
    held.go.set()
    assert (await follower).get("x-cache") == "MISS"


async def test_a_cancelled_follower_affects_no_other_request(cache_world: World) -> None:
    held = HeldReply()
    origin = await cache_world.serve(held)
    leader = start(cache_world)
    await held.requested.wait()
    impatient, patient = start(cache_world), start(cache_world)
    await let_tasks_run()
    impatient.cancel()
    held.go.set()
    assert [(await leader).get("x-cache"), (await patient).get("x-cache")] == ["MISS", "HIT"]
    assert len(origin.requests) == 1


async def test_a_slow_response_body_does_not_delay_the_followers(
    cache_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "BODY_SECONDS", 0.05)
    never = asyncio.Event()

    async def send_half(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
        await never.wait()

    origin = await cache_world.serve(send_half, WITH_ETAG)
    leader = start(cache_world)
    await origin.requested.wait()
    assert (await start(cache_world)).body == b"0123456789"
    leader.cancel()
    await asyncio.gather(leader, return_exceptions=True)


async def test_a_body_too_large_for_the_cache_releases_the_followers(cache_world: World) -> None:
    large = b"x" * 9_000_000
    origin = await cache_world.serve(reply(body=large))
    responses = await asyncio.gather(*[start(cache_world) for _ in range(3)])
    assert [len(response.body) for response in responses] == [len(large)] * 3
    assert len(origin.requests) == 3
    assert (await cache_world.request("GET", PATH + "/x")).get("cache-status") == (
        'gateway; fwd=uri-miss; detail="the body is too large"'
    )


@pytest.mark.parametrize(
    "headers", [[("Range", "bytes=0-1")], [("If-None-Match", '"b"')], [("Cache-Control", "no-cache")]]
)
async def test_conditional_and_range_requests_are_not_coalesced(
    cache_world: World, headers: list[tuple[str, str]]
) -> None:
    held = HeldReply()
    origin = await cache_world.serve(held)
    pending = [start(cache_world), start(cache_world, headers=headers)]
    await until(lambda: len(origin.requests) == 2)
    held.go.set()
    await asyncio.gather(*pending)


REVALIDATING = policy(stale_while_revalidate=30)


async def test_a_stale_response_is_returned_at_once_and_revalidated_in_the_background(
    cache_world: World,
) -> None:  # RFC 5861 section 3
    held = HeldReply(reply(etag='"b"', body=b"new", cache_control="max-age=10"))
    origin = await cache_world.serve(WITH_ETAG, held, policy=REVALIDATING)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(15)
    stale = [await cache_world.request("GET", PATH + "/x") for _ in range(3)]
    assert {(response.get("x-cache"), response.body) for response in stale} == {("STALE", b"0123456789")}
    assert "detail=stale-while-revalidate" in (stale[0].get("cache-status") or "")
    await held.requested.wait()
    assert (b"if-none-match", b'"a"') in origin.requests[1].fields
    held.go.set()

    async def is_renewed() -> bool:
        return (await cache_world.request("GET", PATH + "/x")).get("x-cache") == "HIT"

    await until(is_renewed)
    assert (await cache_world.request("GET", PATH + "/x")).body == b"new"
    assert len(origin.requests) == 2


STALE_AT_ONCE = reply(cache_control="max-age=0, stale-while-revalidate=30")


async def test_waiting_requests_share_a_response_that_may_be_sent_stale(cache_world: World) -> None:
    held = HeldReply(STALE_AT_ONCE)
    origin = await cache_world.serve(held, policy=SHARED)
    pending = [start(cache_world) for _ in range(20)]
    await held.requested.wait()
    await let_tasks_run()
    held.go.set()
    await asyncio.gather(*pending)
    assert len(origin.requests) == 1


async def test_a_response_that_is_stale_at_once_is_refreshed_by_the_next_request(cache_world: World) -> None:
    origin = await cache_world.serve(STALE_AT_ONCE, policy=SHARED)
    assert (await cache_world.request("GET", PATH + "/x")).get("x-cache") == "MISS"
    assert (await cache_world.request("GET", PATH + "/x")).get("x-cache") == "STALE"
    await until(lambda: len(origin.requests) == 2)
    await let_tasks_run()
    assert (await cache_world.request("GET", PATH + "/x")).get("x-cache") == "STALE"
    await until(lambda: len(origin.requests) == 3)


async def test_a_failed_background_revalidation_keeps_the_stale_response(cache_world: World) -> None:
    origin = await cache_world.serve(WITH_ETAG, DOWN, policy=REVALIDATING)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(15)
    await cache_world.request("GET", PATH + "/x")
    await until(lambda: len(origin.requests) == 2)
    assert (await cache_world.request("GET", PATH + "/x")).get("x-cache") == "STALE"


async def test_after_the_stale_time_the_response_is_revalidated_first(cache_world: World) -> None:
    await cache_world.serve(WITH_ETAG, reply(304), policy=REVALIDATING)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(41)
    assert (await cache_world.request("GET", PATH + "/x")).get("x-cache") == "REVALIDATED"


# Among workers


@pytest.fixture
async def workers(redis_url: str) -> AsyncIterator[Callable[[], Awaitable[World]]]:
    """Makes gateways with one Redis, one clock and the same API keys."""
    made: list[tuple[World, RedisLink]] = []
    clock = FakeClock()

    async def worker() -> World:
        link = RedisLink(redis_url)
        world = make_world("asgi", UNLIMITED, link=link, clock=clock)
        if made:
            first = made[0][0]
            world.live.keys, world.live.table = first.live.keys, first.live.table
            world.key, world.other_key = first.key, first.other_key
        await link.start()
        await until(lambda: link.feed.alive)
        made.append((world, link))
        return world

    yield worker
    for world, link in made:
        await world.close()
        await link.close()


async def test_a_thousand_requests_on_two_workers_make_one_call(workers: Callable[[], Awaitable[World]]) -> None:
    one = await workers()
    held = HeldReply()
    origin = await one.serve(held, policy=SHARED)
    two = await workers()
    pending = [start(world) for _ in range(500) for world in (one, two)]
    await held.requested.wait()
    await let_tasks_run()
    held.go.set()
    responses = await asyncio.gather(*pending)
    assert len(origin.requests) == 1
    assert {response.body for response in responses} == {b"0123456789"}


async def test_a_miss_asks_redis_twice_and_its_lease_ends_with_the_response(
    workers: Callable[[], Awaitable[World]], shared_redis: RedisServer
) -> None:
    """Once for the response and the claim of its fetch, and once to store it and to release the lease."""
    world = await workers()
    await world.serve(WITH_ETAG, WITH_ETAG, WITH_ETAG, policy=SHARED)
    await world.request("GET", PATH + "/first")  # the scripts are sent
    with shared_redis.client() as client:

        def scripts() -> int:
            return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])

        idle, others = scripts(), client.keys("gw:{crm}:l:*")
        assert (await world.request("GET", PATH + "/x")).get("x-cache") == "MISS"
        assert scripts() - idle == 2
        (name,) = set(client.keys("gw:{crm}:l:*")) - set(others)
        assert client.get(name) == leases.ClaimResult.STORED.value.encode()
        client.delete(*client.keys("gw:{crm}:e:*"))
        assert (await (await workers()).request("GET", PATH + "/x")).get("x-cache") == "MISS"  # it has been evicted


async def test_a_backend_slower_than_the_lease_is_called_once(
    workers: Callable[[], Awaitable[World]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RedisLeases.__init__, "__defaults__", (1.0,))
    monkeypatch.setattr(flights, "RENEW_SECONDS", 0.05)
    one = await workers()
    held = HeldReply()
    origin = await one.serve(held, policy=SHARED)
    two = await workers()
    leader = start(one)
    await held.requested.wait()
    followers = [start(two) for _ in range(3)]
    await asyncio.sleep(1.8)
    assert len(origin.requests) == 1
    held.go.set()
    responses = await asyncio.gather(leader, *followers)
    assert [response.get("x-cache") for response in responses] == ["MISS", "HIT", "HIT", "HIT"]
    assert len(origin.requests) == 1


async def test_the_lease_of_a_dead_leader_expires(
    workers: Callable[[], Awaitable[World]], shared_redis: RedisServer
) -> None:
    world = await workers()
    await world.serve(WITH_ETAG, policy=SHARED)
    await world.request("GET", PATH + "/x")
    with shared_redis.client() as client:
        client.delete(*client.keys("gw:{crm}:e:*"))
        lease = client.keys("gw:{crm}:l:*")[0]
        client.set(lease, "of a dead worker", px=100)
        second = await workers()
        assert (await second.request("GET", PATH + "/x")).get("x-cache") == "MISS"


async def test_a_worker_does_not_wait_for_a_response_that_another_could_not_store(
    workers: Callable[[], Awaitable[World]], shared_redis: RedisServer
) -> None:
    one = await workers()
    origin = await one.serve(reply(cache_control="no-store"), policy=SHARED)
    two = await workers()
    await one.request("GET", PATH + "/x")
    with shared_redis.client() as client:
        await until(lambda: client.mget(client.keys("gw:{crm}:l:*")) == [leases.ClaimResult.UNCACHEABLE.value.encode()])
    assert (await two.request("GET", PATH + "/x")).get("x-cache") == "MISS"
    assert len(origin.requests) == 2


async def test_an_invalidation_on_one_worker_applies_to_the_other(workers: Callable[[], Awaitable[World]]) -> None:
    one = await workers()
    await one.serve(WITH_ETAG, WITH_ETAG, reply(204), WITH_ETAG, policy=SHARED)
    two = await workers()
    await one.request("GET", PATH + "/x")
    assert (await two.request("GET", PATH + "/x")).get("x-cache") == "HIT"
    await one.request("DELETE", PATH + "/y")
    await one.request("DELETE", PATH + "/x")

    async def is_gone() -> bool:
        return (await two.request("GET", PATH + "/x", [("Cache-Control", "only-if-cached")])).status == 504

    await until(is_gone)


async def test_what_one_worker_has_refreshed_is_not_served_stale_by_the_other(
    workers: Callable[[], Awaitable[World]],
) -> None:
    """The other has the older response in its memory. It asks Redis before it serves that stale."""
    one = await workers()
    renewed = reply(etag='"b"', body=b"new", cache_control="max-age=10")
    origin = await one.serve(WITH_ETAG, renewed, policy=policy(scope=Scope.SHARED, stale_while_revalidate=30))
    two = await workers()
    for world in (one, two, two):
        await world.request("GET", PATH + "/x")
    one.clock.advance(15)

    async def is_renewed() -> bool:
        return (await one.request("GET", PATH + "/x")).get("x-cache") == "HIT"

    assert not await is_renewed()
    await until(is_renewed)
    response = await two.request("GET", PATH + "/x")
    assert (response.get("x-cache"), response.body) == ("HIT", b"new")
    assert len(origin.requests) == 2


async def test_a_client_that_takes_stale_responses_gets_what_the_other_worker_has_renewed(
    workers: Callable[[], Awaitable[World]],
) -> None:
    one = await workers()
    await one.serve(WITH_ETAG, reply(etag='"b"', body=b"new", cache_control="max-age=10"), policy=SHARED)
    two = await workers()
    for world in (one, two, two):
        await world.request("GET", PATH + "/x")
    one.clock.advance(15)
    await one.request("GET", PATH + "/x")
    response = await two.request("GET", PATH + "/x", [("Cache-Control", "max-stale")])
    assert (response.get("x-cache"), response.body) == ("HIT", b"new")


REPLACED_BY: dict[str, tuple[bytes, tuple[str | None, int, bytes]]] = {
    "another response": (reply(etag='"b"', body=b"new", cache_control="max-age=10"), ("HIT", 200, b"new")),
    "one that is not stored": (reply(404, b"gone"), ("MISS", 404, b"gone")),
}


@pytest.mark.parametrize(("renewed", "expected"), REPLACED_BY.values(), ids=REPLACED_BY)
async def test_what_one_client_has_reloaded_is_not_served_from_the_memory_of_the_other_worker(
    workers: Callable[[], Awaitable[World]], renewed: bytes, expected: tuple[str | None, int, bytes]
) -> None:
    one = await workers()
    await one.serve(WITH_ETAG, renewed, policy=SHARED)
    two = await workers()
    for world in (one, two, two):
        await world.request("GET", PATH + "/x")
    await one.request("GET", PATH + "/x", [("Cache-Control", "no-cache")])

    async def is_replaced() -> bool:
        response = await two.request("GET", PATH + "/x")
        return (response.get("x-cache"), response.status, response.body) == expected

    await until(is_replaced)

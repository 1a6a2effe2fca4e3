"""One fetch at a time for one answer: among the requests of a worker, and among workers over a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from resilience.cache import flights, leases
from resilience.cache.leases import RedisLeases
from resilience.cache.policy import Scope
from resilience.ratelimit.policy import RatePolicy
from resilience.redis import RedisLink
from routing.pipeline import GatewayRules
from tests.clock import FakeClock
from tests.gateway.cache_steps import DOWN, PATH, WITH_ETAG, policy, reply
from tests.gateway.conftest import World, make_world
from tests.gateway.entry_points import ReceivedResponse
from tests.origin import Peer
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import until

PLENTY = GatewayRules(rate=RatePolicy(1_000_000, 60), max_body_bytes=1_000)
SHARED = policy(scope=Scope.SHARED)


class Held:
    """A backend's answer that waits until it is let go."""

    def __init__(self, answer: bytes = WITH_ETAG) -> None:
        self.requested = asyncio.Event()
        self.go = asyncio.Event()
        self._answer = answer

    async def __call__(self, peer: Peer) -> None:
        await peer.read_body()
        self.requested.set()
        await self.go.wait()
        await peer.send(self._answer)


async def settled() -> None:
    """Let all that can go on without the backend go on."""
    for _ in range(50):
        await asyncio.sleep(0)


def begin(world: World, path: str = "/x", **more: object) -> "asyncio.Task[ReceivedResponse]":
    return asyncio.create_task(world.request("GET", PATH + path, **more))


async def test_many_who_ask_at_once_share_one_fetch(cache_world: World) -> None:
    held = Held()
    origin = await cache_world.serve(held)
    asking = [begin(cache_world) for _ in range(20)]
    await held.requested.wait()
    await settled()
    held.go.set()
    answers = await asyncio.gather(*asking)
    assert len(origin.requests) == 1
    assert {answer.body for answer in answers} == {b"0123456789"}
    assert sorted(answer.get("x-cache") or "" for answer in answers) == ["HIT"] * 19 + ["MISS"]
    said = {answer.get("cache-status") for answer in answers}
    assert "gateway; fwd=uri-miss; collapsed" in said


async def test_two_callers_share_none(cache_world: World) -> None:
    held = Held()
    origin = await cache_world.serve(held)
    asking = [begin(cache_world), begin(cache_world, key=cache_world.other_key)]
    await until(lambda: len(origin.requests) == 2)
    held.go.set()
    assert [answer.get("x-cache") for answer in await asyncio.gather(*asking)] == ["MISS", "MISS"]


async def test_each_variant_has_a_fetch_of_its_own(cache_world: World) -> None:
    def spoken(language: str) -> bytes:
        return reply(body=language.encode(), vary="Accept-Language")

    async def answer(peer: Peer) -> None:
        await peer.read_body()
        await peer.send(spoken(dict(peer.request.fields)[b"accept-language"].decode()))

    origin = await cache_world.serve(answer)
    asking = [begin(cache_world, headers=[("Accept-Language", language)]) for language in ["de", "fr", "en"] * 5]
    answers = await asyncio.gather(*asking)
    assert [answer.body.decode() for answer in answers] == ["de", "fr", "en"] * 5
    assert len(origin.requests) == 3


@pytest.mark.parametrize("held", [reply(cache_control="no-store"), reply(404), reply(set_cookie="a=1")])
async def test_what_is_not_kept_is_waited_for_once(cache_world: World, held: bytes) -> None:
    first = Held(held)
    origin = await cache_world.serve(first)
    asking = [begin(cache_world) for _ in range(5)]
    await first.requested.wait()
    await settled()
    first.go.set()
    await asyncio.gather(*asking)
    assert len(origin.requests) == 5
    first.go.clear()
    more = [begin(cache_world) for _ in range(3)]
    await until(lambda: len(origin.requests) == 8)  # each for itself, at once
    first.go.set()
    await asyncio.gather(*more)


async def test_what_is_asked_about_each_time_is_not_queued_for(cache_world: World) -> None:
    held = Held(reply(304))
    origin = await cache_world.serve(reply(etag='"a"', cache_control="no-cache"), held)
    await cache_world.request("GET", PATH + "/x")
    asking = [begin(cache_world) for _ in range(4)]
    await until(lambda: len(origin.requests) == 5)
    held.go.set()
    assert {answer.get("x-cache") for answer in await asyncio.gather(*asking)} == {"REVALIDATED"}


async def test_a_failure_is_the_failure_of_all_who_waited(cache_world: World) -> None:
    held = asyncio.Event()

    async def cut(peer: Peer) -> None:
        await held.wait()
        peer.reset()

    origin = await cache_world.serve(cut)
    asking = [begin(cache_world) for _ in range(5)]
    await origin.requested.wait()
    await settled()
    held.set()
    assert {answer.status for answer in await asyncio.gather(*asking)} == {502}
    assert len(origin.requests) <= 3  # the call and its retries


async def test_each_who_waited_gets_its_stale_answer_instead(cache_world: World) -> None:
    async def cut(peer: Peer) -> None:
        peer.reset()

    await cache_world.serve(WITH_ETAG, cut)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(11)
    answers = await asyncio.gather(*[begin(cache_world) for _ in range(5)])
    assert {(answer.status, answer.get("x-cache")) for answer in answers} == {(200, "STALE")}


async def test_a_leader_that_goes_away_strands_nobody(cache_world: World) -> None:
    held = Held()
    origin = await cache_world.serve(held)
    leader = begin(cache_world)
    await held.requested.wait()
    follower = begin(cache_world)
    await settled()
    leader.cancel()
    await until(lambda: len(origin.requests) == 2)
    held.go.set()
    assert (await follower).get("x-cache") == "MISS"


async def test_one_who_stops_waiting_stops_nobody(cache_world: World) -> None:
    held = Held()
    origin = await cache_world.serve(held)
    leader = begin(cache_world)
    await held.requested.wait()
    impatient, patient = begin(cache_world), begin(cache_world)
    await settled()
    impatient.cancel()
    held.go.set()
    assert [(await leader).get("x-cache"), (await patient).get("x-cache")] == ["MISS", "HIT"]
    assert len(origin.requests) == 1


async def test_a_slow_reader_holds_up_nobody(cache_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "BODY_SECONDS", 0.05)
    never = asyncio.Event()

    async def drip(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
        await never.wait()

    origin = await cache_world.serve(drip, WITH_ETAG)
    leader = begin(cache_world)
    await origin.requested.wait()
    assert (await begin(cache_world)).body == b"0123456789"
    leader.cancel()
    await asyncio.gather(leader, return_exceptions=True)


async def test_a_body_too_large_for_the_cache_frees_those_who_wait(cache_world: World) -> None:
    large = b"x" * 9_000_000
    origin = await cache_world.serve(reply(body=large))
    answers = await asyncio.gather(*[begin(cache_world) for _ in range(3)])
    assert [len(answer.body) for answer in answers] == [len(large)] * 3
    assert len(origin.requests) == 3
    assert (await cache_world.request("GET", PATH + "/x")).get("cache-status") == (
        'gateway; fwd=uri-miss; detail="the body is too large"'
    )


@pytest.mark.parametrize(
    "headers", [[("Range", "bytes=0-1")], [("If-None-Match", '"b"')], [("Cache-Control", "no-cache")]]
)
async def test_who_wants_something_special_goes_for_itself(cache_world: World, headers: list[tuple[str, str]]) -> None:
    held = Held()
    origin = await cache_world.serve(held)
    asking = [begin(cache_world), begin(cache_world, headers=headers)]
    await until(lambda: len(origin.requests) == 2)
    held.go.set()
    await asyncio.gather(*asking)


RENEWING = policy(stale_while_revalidate=30)


async def test_a_stale_answer_is_given_at_once_and_renewed_behind_it(cache_world: World) -> None:  # RFC 5861 section 3
    held = Held(reply(etag='"b"', body=b"new", cache_control="max-age=10"))
    origin = await cache_world.serve(WITH_ETAG, held, policy=RENEWING)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(15)
    stale = [await cache_world.request("GET", PATH + "/x") for _ in range(3)]
    assert {(answer.get("x-cache"), answer.body) for answer in stale} == {("STALE", b"0123456789")}
    assert "detail=stale-while-revalidate" in (stale[0].get("cache-status") or "")
    await held.requested.wait()
    assert (b"if-none-match", b'"a"') in origin.requests[1].fields
    held.go.set()

    async def renewed() -> bool:
        return (await cache_world.request("GET", PATH + "/x")).get("x-cache") == "HIT"

    await until(renewed)
    assert (await cache_world.request("GET", PATH + "/x")).body == b"new"
    assert len(origin.requests) == 2


async def test_a_renewal_that_fails_leaves_the_stale_answer(cache_world: World) -> None:
    origin = await cache_world.serve(WITH_ETAG, DOWN, policy=RENEWING)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(15)
    await cache_world.request("GET", PATH + "/x")
    await until(lambda: len(origin.requests) == 2)
    assert (await cache_world.request("GET", PATH + "/x")).get("x-cache") == "STALE"


async def test_past_that_time_it_is_asked_about_first(cache_world: World) -> None:
    await cache_world.serve(WITH_ETAG, reply(304), policy=RENEWING)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(41)
    assert (await cache_world.request("GET", PATH + "/x")).get("x-cache") == "REVALIDATED"


# Among workers


@pytest.fixture
async def workers(redis_url: str, patient_links: None) -> AsyncIterator[Callable[[], Awaitable[World]]]:
    """Makes gateways over one Redis, under one clock, with one set of keys."""
    made: list[tuple[World, RedisLink]] = []
    clock = FakeClock()

    async def worker() -> World:
        link = RedisLink(redis_url)
        world = make_world("asgi", PLENTY, link=link, clock=clock)
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
    held = Held()
    origin = await one.serve(held, policy=SHARED)
    two = await workers()
    asking = [begin(world) for _ in range(500) for world in (one, two)]
    await held.requested.wait()
    await settled()
    held.go.set()
    answers = await asyncio.gather(*asking)
    assert len(origin.requests) == 1
    assert {answer.body for answer in answers} == {b"0123456789"}


async def test_a_backend_slower_than_the_lease_is_called_once(
    workers: Callable[[], Awaitable[World]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RedisLeases.__init__, "__defaults__", (1.0,))
    monkeypatch.setattr(flights, "RENEW_SECONDS", 0.05)
    one = await workers()
    held = Held()
    origin = await one.serve(held, policy=SHARED)
    two = await workers()
    leader = begin(one)
    await held.requested.wait()
    followers = [begin(two) for _ in range(3)]
    await asyncio.sleep(1.8)
    assert len(origin.requests) == 1
    held.go.set()
    answers = await asyncio.gather(leader, *followers)
    assert [answer.get("x-cache") for answer in answers] == ["MISS", "HIT", "HIT", "HIT"]
    assert len(origin.requests) == 1


async def test_a_dead_leaders_lease_ends(workers: Callable[[], Awaitable[World]], shared_redis: RedisServer) -> None:
    world = await workers()
    await world.serve(WITH_ETAG, policy=SHARED)
    await world.request("GET", PATH + "/x")
    with shared_redis.client() as outside:
        outside.delete(*outside.keys("gw:{crm}:e:*"))
        lease = outside.keys("gw:{crm}:l:*")[0]
        outside.set(lease, "of one that died", px=100)
        second = await workers()
        assert (await second.request("GET", PATH + "/x")).get("x-cache") == "MISS"


async def test_what_one_worker_cannot_keep_the_other_does_not_wait_for(
    workers: Callable[[], Awaitable[World]], shared_redis: RedisServer
) -> None:
    one = await workers()
    origin = await one.serve(reply(cache_control="no-store"), policy=SHARED)
    two = await workers()
    await one.request("GET", PATH + "/x")
    with shared_redis.client() as outside:
        await until(
            lambda: outside.mget(outside.keys("gw:{crm}:l:*")) == [leases.ClaimResult.UNCACHEABLE.value.encode()]
        )
    assert (await two.request("GET", PATH + "/x")).get("x-cache") == "MISS"
    assert len(origin.requests) == 2


async def test_a_change_through_one_worker_is_seen_through_the_other(workers: Callable[[], Awaitable[World]]) -> None:
    one = await workers()
    await one.serve(WITH_ETAG, WITH_ETAG, reply(204), WITH_ETAG, policy=SHARED)
    two = await workers()
    await one.request("GET", PATH + "/x")
    assert (await two.request("GET", PATH + "/x")).get("x-cache") == "HIT"
    await one.request("DELETE", PATH + "/y")
    await one.request("DELETE", PATH + "/x")

    async def gone() -> bool:
        return (await two.request("GET", PATH + "/x", [("Cache-Control", "only-if-cached")])).status == 504

    await until(gone)

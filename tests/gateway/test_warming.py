"""What is asked for most, fetched again before it is asked for; and the cache from a terminal and from models."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.db.models.signals import post_delete, post_save

from resilience.cache.flights import Flights
from resilience.cache.hit_counter import MAX_COUNTED, HitCounter, ReplayableRequest
from resilience.cache.policy import Scope
from resilience.cache.service import ObjectCaches
from resilience.redis import RedisLink
from routing import runtime, signals
from routing.cache import invalidates_on_change
from routing.models import ApiKey
from routing.warming import Warmed, Warmer, parse_reference
from tests.gateway.cache_steps import DOWN, NOT_MODIFIED, PATH, WITH_ETAG, policy, reply
from tests.gateway.conftest import World
from tests.gateway.entry_points import install
from tests.origin import Peer
from tests.redis_server import RedisServer

SHARED = policy(scope=Scope.SHARED, tags=("all",))


@pytest.fixture
async def warmer(cache_world: World) -> AsyncIterator[Warmer]:
    made = Warmer(cache_world.gateway, cache_world.hit_counter)
    flights = Flights(clock=cache_world.clock)
    objects = ObjectCaches(cache_world.cache._store, cache_world.clock, flights, lambda _hit: None)
    install(cache_world.gateway, cache=cache_world.cache, objects=objects, warmer=made)
    await runtime.current().start()
    yield made
    await runtime.current().stop()


@pytest.fixture(autouse=True)
def on_record() -> Iterator[list[tuple[str, str, object]]]:
    """What the command has told of itself; the record it goes to is not of this house."""
    told: list[tuple[str, str, object]] = []

    def tell(action: str, service: str, after: object, **_: object) -> None:
        told.append((action, service, after))

    kept, signals.operation_performed.receivers = signals.operation_performed.receivers, []
    signals.operation_performed.connect(tell)
    yield told
    signals.operation_performed.receivers = kept


async def command(*words: str) -> str:
    """What `manage.py cache` says, run as it is: beside the gateway's loop, not on it."""
    out = StringIO()
    await asyncio.to_thread(call_command, "cache", *words, stdout=out, stderr=out)
    return out.getvalue()


async def get_repeatedly(world: World, path: str, times: int = 1, **more: str) -> str | None:
    for _ in range(times):
        answer = await world.request("GET", PATH + path, list(more.items()))
    return answer.get("x-cache")


async def test_the_most_asked_for_comes_first(cache_world: World, warmer: Warmer) -> None:
    await cache_world.serve(WITH_ETAG, policy=SHARED)
    for path, times in (("/a", 2), ("/b", 5), ("/c", 3)):
        await get_repeatedly(cache_world, path, times)
    await cache_world.hit_counter.flush()
    assert [recipe.path for recipe in await warmer.most_requested(["crm"], 2)] == [b"/api/v1/crm/b", b"/api/v1/crm/c"]


async def test_what_it_warms_is_a_hit_after_its_end(cache_world: World, warmer: Warmer) -> None:
    origin = await cache_world.serve(WITH_ETAG, NOT_MODIFIED, policy=SHARED)
    await get_repeatedly(cache_world, "/a", 2)
    await cache_world.hit_counter.flush()
    cache_world.clock.advance(9)
    assert await warmer.warm(await warmer.most_requested(["crm"], 10)) == Warmed(1, 0)
    cache_world.clock.advance(9)
    assert await get_repeatedly(cache_world, "/a") == "HIT"
    assert len(origin.requests) == 2


async def test_each_callers_own_is_fetched_in_its_name(cache_world: World, warmer: Warmer) -> None:
    origin = await cache_world.serve(WITH_ETAG)
    await get_repeatedly(cache_world, "/a", 2)
    await cache_world.hit_counter.flush()
    await warmer.warm(await warmer.most_requested(["crm"], 10))
    callers = [dict(request.fields)[b"x-gateway-caller"] for request in origin.requests]
    assert len(callers) == 2
    assert callers[0] == callers[1]


class Whose:
    """Answers with who asks, and in which call."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, peer: Peer) -> None:
        await peer.read_body()
        self.calls += 1
        caller = dict(peer.request.fields).get(b"x-gateway-caller", b"nobody")
        await peer.send(reply(body=b"%b %d" % (caller, self.calls), cache_control="max-age=10"))


async def test_several_callers_each_find_their_own_renewed_and_no_others(cache_world: World, warmer: Warmer) -> None:
    origin = await cache_world.serve(Whose())
    keys = {f"key:{key.split('_')[1]}": key for key in (cache_world.key, cache_world.other_key)}
    for key in keys.values():
        for _ in range(2):
            await cache_world.request("GET", PATH + "/a", key=key)
    await cache_world.hit_counter.flush()
    cache_world.clock.advance(11)
    recipes = await warmer.most_requested(["crm"], 10)
    assert {recipe.caller for recipe in recipes} == set(keys)
    assert await warmer.warm(recipes) == Warmed(2, 0)
    assert len(origin.requests) == 4
    for caller, key in keys.items():
        answer = await cache_world.request("GET", PATH + "/a", key=key)
        assert (answer.get("x-cache"), answer.body.split()[0].decode()) == ("HIT", caller)
        assert int(answer.body.split()[1]) > 2
    assert len(origin.requests) == 4


async def test_what_all_share_is_warmed_once_and_in_nobodys_name(cache_world: World, warmer: Warmer) -> None:
    origin = await cache_world.serve(Whose(), policy=SHARED)
    for key in (cache_world.key, cache_world.other_key) * 2:
        await cache_world.request("GET", PATH + "/a", key=key)
    await cache_world.hit_counter.flush()
    assert await warmer.warm(await warmer.most_requested(["crm"], 10)) == Warmed(1, 0)
    assert b"x-gateway-caller" not in dict(origin.requests[-1].fields)


async def test_a_callers_own_is_not_given_to_a_list_without_one(cache_world: World, warmer: Warmer) -> None:
    await cache_world.serve(Whose())
    await get_repeatedly(cache_world, "/a", 2)
    assert await warmer.warm([parse_reference("crm/a")]) == Warmed(1, 0)  # nobody's own
    answer = await cache_world.request("GET", PATH + "/a")
    assert answer.body == f"key:{cache_world.key.split('_')[1]} 1".encode()


async def test_what_a_secret_decides_is_not_written_down(cache_world: World, warmer: Warmer) -> None:
    await cache_world.serve(WITH_ETAG)
    await get_repeatedly(cache_world, "/a", 3, Cookie="session=secret")
    for _ in range(3):
        await cache_world.request("GET", PATH + "/b", [("Cookie", ""), ("Cookie", "session=secret")])
    await get_repeatedly(cache_world, "/c", 3, Cookie="")  # which says nothing
    await cache_world.hit_counter.flush()
    assert [recipe.path for recipe in await warmer.most_requested(["crm"], 10)] == [PATH.encode() + b"/c"]


async def test_what_fails_is_counted(cache_world: World, warmer: Warmer) -> None:
    await cache_world.serve(DOWN, policy=SHARED)
    told: list[bool] = []
    result = await warmer.warm(
        [parse_reference("crm/a"), parse_reference("/api/v1/nope/b?q")], lambda _, stored: told.append(stored)
    )
    assert (result, told) == (Warmed(0, 2), [False, False])


def hit(hit_counter: HitCounter, path: str) -> None:
    if not hit_counter.record_hit(path):
        hit_counter.start_counting("s", path, ReplayableRequest(b"h", path.encode(), b""))


async def test_the_list_of_services_is_no_services_to_be_warmed(cache_world: World, warmer: Warmer) -> None:
    await cache_world.serve(reply(), policy=SHARED)
    assert await warmer.warm([parse_reference("/api/v1/"), parse_reference("/api/v1/crm/a")]) == Warmed(1, 1)


async def test_counts_stay_within_a_bound() -> None:
    hit_counter = HitCounter()
    for number in range(MAX_COUNTED * 6):
        hit(hit_counter, str(number // 2))
    assert len(await hit_counter.top("s", MAX_COUNTED * 3)) <= MAX_COUNTED


async def test_a_crawl_pushes_out_nothing_and_what_is_hit_again_gets_in() -> None:
    hit_counter = HitCounter()
    for number in range(MAX_COUNTED):
        hit(hit_counter, f"old{number}")
    for number in range(MAX_COUNTED * 3):
        hit(hit_counter, f"crawled{number}")
    assert {recipe.path[:3] for recipe in await hit_counter.top("s", MAX_COUNTED)} == {b"old"}
    for _ in range(3):
        hit(hit_counter, "new")
    assert (await hit_counter.top("s", 1))[0].path == b"new"


async def test_a_list_without_redis_or_with_rubbish_is_empty_not_an_error(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    hit_counter = HitCounter(link)
    with own_redis.client() as outside:
        outside.zadd("gw:{s}:hot", {"rubbish": 1})
    assert await hit_counter.top("s", 5) == []
    hit_counter.start_counting("s", "k", ReplayableRequest(b"h", b"p", b""))
    own_redis.stop()
    await hit_counter.flush()
    await link.close()


class TestTheCommand:
    async def test_warms_a_list(
        self, cache_world: World, warmer: Warmer, tmp_path: Path, on_record: list[tuple[str, str, object]]
    ) -> None:
        await cache_world.serve(reply(), policy=SHARED)
        file = tmp_path / "list"
        file.write_text("# two\ncrm/a\n\n/api/v1/crm/b?q=1\n")
        assert "2 warmed, 0 failed" in await command("warm", "--list", str(file))
        assert [await get_repeatedly(cache_world, path) for path in ("/a", "/b?q=1")] == ["HIT", "HIT"]
        assert on_record == [("cache.warm", "", {"warmed": 2, "failed": 0})]

    async def test_says_what_it_would_warm(self, cache_world: World, warmer: Warmer) -> None:
        origin = await cache_world.serve(reply(), policy=SHARED)
        said = await command("warm", "crm/a", "--dry-run")
        assert (said, origin.requests) == ("/api/v1/crm/a\n1 to warm\n", [])

    async def test_warms_what_is_asked_for_most(self, cache_world: World, warmer: Warmer) -> None:
        await cache_world.serve(reply(), policy=SHARED)
        await get_repeatedly(cache_world, "/a", 2)
        await cache_world.hit_counter.flush()
        assert await command("warm", "--top", "5") == "1 warmed, 0 failed\n"

    async def test_names_what_is_not_stored(self, cache_world: World, warmer: Warmer) -> None:
        await cache_world.serve(reply(cache_control="no-store"), policy=SHARED)
        assert await command("warm", "crm/a") == "/api/v1/crm/a is not stored\n0 warmed, 1 failed\n"

    async def test_shows_a_bar_to_who_is_looking(self, cache_world: World, warmer: Warmer) -> None:
        class Terminal(StringIO):
            def isatty(self) -> bool:
                return True

        await cache_world.serve(reply(), policy=SHARED)
        out, screen = StringIO(), Terminal()
        await asyncio.to_thread(call_command, "cache", "warm", "crm/a", "crm/b", stdout=out, stderr=screen)
        drawn = screen.getvalue().split("\r")
        assert drawn[1:] == [f"[{'#' * 15}{'.' * 15}] 1/2", f"[{'#' * 30}] 2/2\n"]
        assert out.getvalue() == "2 warmed, 0 failed\n"

    async def test_says_as_whom_it_would_warm(self, cache_world: World, warmer: Warmer) -> None:
        origin = await cache_world.serve(reply())
        await get_repeatedly(cache_world, "/a", 2)
        await cache_world.hit_counter.flush()
        said = await command("warm", "--dry-run")
        assert said == f"/api/v1/crm/a  key:{cache_world.key.split('_')[1]}\n1 to warm\n"
        assert len(origin.requests) == 1

    async def test_flushes_and_takes_back_by_tag(self, cache_world: World, warmer: Warmer) -> None:
        await cache_world.serve(reply(surrogate_key="one"), policy=SHARED)
        await get_repeatedly(cache_world, "/a")
        await get_repeatedly(cache_world, "/b")
        assert await command("invalidate", "one", "--dry-run") == "crm: 2 to delete with one\n"
        assert await command("invalidate", "one") == "crm: 2 deleted with one\n"
        await get_repeatedly(cache_world, "/a")
        assert (await command("stats")).split()[:3] == ["crm", "1", "entries"]
        assert await command("flush", "--service", "crm") == "crm: 1 deleted\n"

    async def test_knows_its_services(self, cache_world: World, warmer: Warmer) -> None:
        with pytest.raises(CommandError, match="no service 'nope'"):
            await command("flush", "--service", "nope")


async def test_alone_without_redis_it_says_why_it_cannot() -> None:
    install(None)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="without REDIS_URL"):
        await command("stats")


@pytest.mark.django_db(transaction=True)
async def test_a_models_change_takes_back_its_tags_once_committed(
    cache_world: World, warmer: Warmer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cache_world.serve(reply(surrogate_key="key:alpha"), policy=SHARED)
    for signal in (post_save, post_delete):  # what is connected here is for this test alone
        monkeypatch.setattr(signal, "receivers", [*signal.receivers])
        monkeypatch.setattr(signal, "sender_receivers_cache", {})
        monkeypatch.setattr(signal, "use_caching", False)
    invalidates_on_change(ApiKey, tags=["key:{name}"], service="crm")
    seen: list[bool] = []

    def stored() -> bool:
        return bool(runtime.current().submit(cache_world.cache.usage("crm")).result().entries)

    def change() -> None:
        with transaction.atomic():
            key = ApiKey(name="alpha", prefix="p" * 8, digest="d" * 64)
            key.save()
            seen.append(stored())
        seen.append(stored())
        connection.close()

    await get_repeatedly(cache_world, "/a")
    await asyncio.to_thread(change)
    assert seen == [True, False]

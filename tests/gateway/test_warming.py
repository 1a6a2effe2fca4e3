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
from resilience.cache.heat import MOST, HitCounter, ReplayableRequest
from resilience.cache.policy import Scope
from resilience.cache.service import ObjectCaches
from resilience.redis import RedisLink
from routing import runtime, signals
from routing.database.model_tags import invalidates_on_change
from routing.models import ApiKey
from routing.warming import Warmed, Warmer, listed
from tests.gateway.cached import CONFIRMED, DOWN, PATH, TAGGED, policy, says
from tests.gateway.conftest import World
from tests.gateway.door import install
from tests.origin import Peer
from tests.redis_server import RedisServer

SHARED = policy(scope=Scope.SHARED, tags=("all",))


@pytest.fixture
async def warmer(either: World) -> AsyncIterator[Warmer]:
    made = Warmer(either.gateway, either.heat)
    flights = Flights(clock=either.clock)
    objects = ObjectCaches(either.cache._store, either.clock, flights, lambda _hit: None)
    install(either.gateway, cache=either.cache, objects=objects, warmer=made)
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


async def ask(world: World, path: str, times: int = 1, **more: str) -> str | None:
    for _ in range(times):
        answer = await world.ask("GET", PATH + path, list(more.items()))
    return answer.get("x-cache")


async def test_the_most_asked_for_comes_first(either: World, warmer: Warmer) -> None:
    await either.serve(TAGGED, policy=SHARED)
    for path, times in (("/a", 2), ("/b", 5), ("/c", 3)):
        await ask(either, path, times)
    await either.heat.flush()
    assert [recipe.path for recipe in await warmer.hottest(["crm"], 2)] == [b"/api/v1/crm/b", b"/api/v1/crm/c"]


async def test_what_it_warms_is_a_hit_after_its_end(either: World, warmer: Warmer) -> None:
    origin = await either.serve(TAGGED, CONFIRMED, policy=SHARED)
    await ask(either, "/a", 2)
    await either.heat.flush()
    either.clock.advance(9)
    assert await warmer.warm(await warmer.hottest(["crm"], 10)) == Warmed(1, 0)
    either.clock.advance(9)
    assert await ask(either, "/a") == "HIT"
    assert len(origin.requests) == 2


async def test_each_callers_own_is_fetched_in_its_name(either: World, warmer: Warmer) -> None:
    origin = await either.serve(TAGGED)
    await ask(either, "/a", 2)
    await either.heat.flush()
    await warmer.warm(await warmer.hottest(["crm"], 10))
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
        await peer.send(says(body=b"%b %d" % (caller, self.calls), cache_control="max-age=10"))


async def test_several_callers_each_find_their_own_renewed_and_no_others(either: World, warmer: Warmer) -> None:
    origin = await either.serve(Whose())
    keys = {f"key:{key.split('_')[1]}": key for key in (either.key, either.other_key)}
    for key in keys.values():
        for _ in range(2):
            await either.ask("GET", PATH + "/a", key=key)
    await either.heat.flush()
    either.clock.advance(11)
    recipes = await warmer.hottest(["crm"], 10)
    assert {recipe.caller for recipe in recipes} == set(keys)
    assert await warmer.warm(recipes) == Warmed(2, 0)
    assert len(origin.requests) == 4
    for caller, key in keys.items():
        answer = await either.ask("GET", PATH + "/a", key=key)
        assert (answer.get("x-cache"), answer.body.split()[0].decode()) == ("HIT", caller)
        assert int(answer.body.split()[1]) > 2
    assert len(origin.requests) == 4


async def test_what_all_share_is_warmed_once_and_in_nobodys_name(either: World, warmer: Warmer) -> None:
    origin = await either.serve(Whose(), policy=SHARED)
    for key in (either.key, either.other_key) * 2:
        await either.ask("GET", PATH + "/a", key=key)
    await either.heat.flush()
    assert await warmer.warm(await warmer.hottest(["crm"], 10)) == Warmed(1, 0)
    assert b"x-gateway-caller" not in dict(origin.requests[-1].fields)


async def test_a_callers_own_is_not_given_to_a_list_without_one(either: World, warmer: Warmer) -> None:
    await either.serve(Whose())
    await ask(either, "/a", 2)
    assert await warmer.warm([listed("crm/a")]) == Warmed(1, 0)  # nobody's own
    answer = await either.ask("GET", PATH + "/a")
    assert answer.body == f"key:{either.key.split('_')[1]} 1".encode()


async def test_what_a_secret_decides_is_not_written_down(either: World, warmer: Warmer) -> None:
    await either.serve(TAGGED)
    await ask(either, "/a", 3, Cookie="session=secret")
    for _ in range(3):
        await either.ask("GET", PATH + "/b", [("Cookie", ""), ("Cookie", "session=secret")])
    await ask(either, "/c", 3, Cookie="")  # which says nothing
    await either.heat.flush()
    assert [recipe.path for recipe in await warmer.hottest(["crm"], 10)] == [PATH.encode() + b"/c"]


async def test_what_fails_is_counted(either: World, warmer: Warmer) -> None:
    await either.serve(DOWN, policy=SHARED)
    told: list[bool] = []
    result = await warmer.warm([listed("crm/a"), listed("/api/v1/nope/b?q")], lambda _, stored: told.append(stored))
    assert (result, told) == (Warmed(0, 2), [False, False])


def hit(heat: HitCounter, path: str) -> None:
    if not heat.again(path):
        heat.first("s", path, ReplayableRequest(b"h", path.encode(), b""))


async def test_the_list_of_services_is_no_services_to_be_warmed(either: World, warmer: Warmer) -> None:
    await either.serve(says(), policy=SHARED)
    assert await warmer.warm([listed("/api/v1/"), listed("/api/v1/crm/a")]) == Warmed(1, 1)


async def test_counts_stay_within_a_bound() -> None:
    heat = HitCounter()
    for number in range(MOST * 6):
        hit(heat, str(number // 2))
    assert len(await heat.top("s", MOST * 3)) <= MOST


async def test_a_crawl_pushes_out_nothing_and_what_is_hit_again_gets_in() -> None:
    heat = HitCounter()
    for number in range(MOST):
        hit(heat, f"old{number}")
    for number in range(MOST * 3):
        hit(heat, f"crawled{number}")
    assert {recipe.path[:3] for recipe in await heat.top("s", MOST)} == {b"old"}
    for _ in range(3):
        hit(heat, "new")
    assert (await heat.top("s", 1))[0].path == b"new"


async def test_a_list_without_redis_or_with_rubbish_is_empty_not_an_error(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    heat = HitCounter(link)
    with own_redis.client() as outside:
        outside.zadd("gw:{s}:hot", {"rubbish": 1})
    assert await heat.top("s", 5) == []
    heat.first("s", "k", ReplayableRequest(b"h", b"p", b""))
    own_redis.stop()
    await heat.flush()
    await link.close()


class TestTheCommand:
    async def test_warms_a_list(
        self, either: World, warmer: Warmer, tmp_path: Path, on_record: list[tuple[str, str, object]]
    ) -> None:
        await either.serve(says(), policy=SHARED)
        file = tmp_path / "list"
        file.write_text("# two\ncrm/a\n\n/api/v1/crm/b?q=1\n")
        assert "2 warmed, 0 failed" in await command("warm", "--list", str(file))
        assert [await ask(either, path) for path in ("/a", "/b?q=1")] == ["HIT", "HIT"]
        assert on_record == [("cache.warm", "", {"warmed": 2, "failed": 0})]

    async def test_says_what_it_would_warm(self, either: World, warmer: Warmer) -> None:
        origin = await either.serve(says(), policy=SHARED)
        said = await command("warm", "crm/a", "--dry-run")
        assert (said, origin.requests) == ("/api/v1/crm/a\n1 to warm\n", [])

    async def test_warms_what_is_asked_for_most(self, either: World, warmer: Warmer) -> None:
        await either.serve(says(), policy=SHARED)
        await ask(either, "/a", 2)
        await either.heat.flush()
        assert await command("warm", "--top", "5") == "1 warmed, 0 failed\n"

    async def test_names_what_is_not_stored(self, either: World, warmer: Warmer) -> None:
        await either.serve(says(cache_control="no-store"), policy=SHARED)
        assert await command("warm", "crm/a") == "/api/v1/crm/a is not stored\n0 warmed, 1 failed\n"

    async def test_shows_a_bar_to_who_is_looking(self, either: World, warmer: Warmer) -> None:
        class Terminal(StringIO):
            def isatty(self) -> bool:
                return True

        await either.serve(says(), policy=SHARED)
        out, screen = StringIO(), Terminal()
        await asyncio.to_thread(call_command, "cache", "warm", "crm/a", "crm/b", stdout=out, stderr=screen)
        drawn = screen.getvalue().split("\r")
        assert drawn[1:] == [f"[{'#' * 15}{'.' * 15}] 1/2", f"[{'#' * 30}] 2/2\n"]
        assert out.getvalue() == "2 warmed, 0 failed\n"

    async def test_says_as_whom_it_would_warm(self, either: World, warmer: Warmer) -> None:
        origin = await either.serve(says())
        await ask(either, "/a", 2)
        await either.heat.flush()
        said = await command("warm", "--dry-run")
        assert said == f"/api/v1/crm/a  key:{either.key.split('_')[1]}\n1 to warm\n"
        assert len(origin.requests) == 1

    async def test_flushes_and_takes_back_by_tag(self, either: World, warmer: Warmer) -> None:
        await either.serve(says(surrogate_key="one"), policy=SHARED)
        await ask(either, "/a")
        await ask(either, "/b")
        assert await command("invalidate", "one", "--dry-run") == "crm: 2 would go with one\n"
        assert await command("invalidate", "one") == "crm: 2 gone with one\n"
        await ask(either, "/a")
        assert (await command("stats")).split()[:3] == ["crm", "1", "entries"]
        assert await command("flush", "--service", "crm") == "crm: 1 gone\n"

    async def test_knows_its_services(self, either: World, warmer: Warmer) -> None:
        with pytest.raises(CommandError, match="no service 'nope'"):
            await command("flush", "--service", "nope")


async def test_alone_without_redis_it_says_why_it_cannot() -> None:
    install(None)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="without a REDIS_URL"):
        await command("stats")


@pytest.mark.django_db(transaction=True)
async def test_a_models_change_takes_back_its_tags_once_committed(
    either: World, warmer: Warmer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await either.serve(says(surrogate_key="key:alpha"), policy=SHARED)
    for signal in (post_save, post_delete):  # what is connected here is for this test alone
        monkeypatch.setattr(signal, "receivers", [*signal.receivers])
        monkeypatch.setattr(signal, "sender_receivers_cache", {})
        monkeypatch.setattr(signal, "use_caching", False)
    invalidates_on_change(ApiKey, tags=["key:{name}"], service="crm")
    seen: list[bool] = []

    def stored() -> bool:
        return bool(runtime.current().submit(either.cache.usage("crm")).result().entries)

    def change() -> None:
        with transaction.atomic():
            key = ApiKey(name="alpha", prefix="p" * 8, digest="d" * 64)
            key.save()
            seen.append(stored())
        seen.append(stored())
        connection.close()

    await ask(either, "/a")
    await asyncio.to_thread(change)
    assert seen == [True, False]

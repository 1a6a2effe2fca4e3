"""Cache warming; the `cache` management command; and invalidation when models change."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.db.models.signals import post_save, pre_delete

from resilience.cache.flights import Flights
from resilience.cache.hit_counter import MAX_COUNTED, HitCounter, ReplayableRequest
from resilience.cache.objects import ObjectCaches
from resilience.cache.policy import Scope
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
def operations() -> Iterator[list[tuple[str, str, object]]]:
    """The operations that the command reports. Their receivers, which write the audit log, are replaced."""
    reported: list[tuple[str, str, object]] = []

    def record(action: str, service: str, after: object, **_: object) -> None:
        reported.append((action, service, after))

    receivers, signals.operation_performed.receivers = signals.operation_performed.receivers, []
    signals.operation_performed.connect(record)
    yield reported
    signals.operation_performed.receivers = receivers


async def run_command(*arguments: str) -> str:
    """The output of `manage.py cache`, run in a thread, and not on the gateway's event loop."""
    out = StringIO()
    await asyncio.to_thread(call_command, "cache", *arguments, stdout=out, stderr=out)
    return out.getvalue()


async def get_repeatedly(world: World, path: str, times: int = 1, **more: str) -> str | None:
    for _ in range(times):
        response = await world.request("GET", PATH + path, list(more.items()))
    return response.get("x-cache")


async def test_the_most_requested_comes_first(cache_world: World, warmer: Warmer) -> None:
    await cache_world.serve(WITH_ETAG, policy=SHARED)
    for path, times in (("/a", 2), ("/b", 5), ("/c", 3)):
        await get_repeatedly(cache_world, path, times)
    await cache_world.hit_counter.flush()
    requests = await warmer.most_requested(["crm"], 2)
    assert [request.path for request in requests] == [b"/api/v1/crm/b", b"/api/v1/crm/c"]


async def test_a_warmed_response_is_a_hit_after_its_old_lifetime(cache_world: World, warmer: Warmer) -> None:
    origin = await cache_world.serve(WITH_ETAG, NOT_MODIFIED, policy=SHARED)
    await get_repeatedly(cache_world, "/a", 2)
    await cache_world.hit_counter.flush()
    cache_world.clock.advance(9)
    assert await warmer.warm(await warmer.most_requested(["crm"], 10)) == Warmed(1, 0)
    cache_world.clock.advance(9)
    assert await get_repeatedly(cache_world, "/a") == "HIT"
    assert len(origin.requests) == 2


async def test_a_callers_own_response_is_fetched_on_its_behalf(cache_world: World, warmer: Warmer) -> None:
    origin = await cache_world.serve(WITH_ETAG)
    await get_repeatedly(cache_world, "/a", 2)
    await cache_world.hit_counter.flush()
    await warmer.warm(await warmer.most_requested(["crm"], 10))
    callers = [dict(request.fields)[b"x-gateway-caller"] for request in origin.requests]
    assert len(callers) == 2
    assert callers[0] == callers[1]


class CallerEcho:
    """Responds with the caller and the number of the call."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, peer: Peer) -> None:
        await peer.read_body()
        self.calls += 1
        caller = dict(peer.request.fields).get(b"x-gateway-caller", b"nobody")
        await peer.send(reply(body=b"%b %d" % (caller, self.calls), cache_control="max-age=10"))


async def test_each_of_several_callers_gets_its_own_warmed_response(cache_world: World, warmer: Warmer) -> None:
    origin = await cache_world.serve(CallerEcho())
    keys = {f"key:{key.split('_')[1]}": key for key in (cache_world.key, cache_world.other_key)}
    for key in keys.values():
        for _ in range(2):
            await cache_world.request("GET", PATH + "/a", key=key)
    await cache_world.hit_counter.flush()
    cache_world.clock.advance(11)
    requests = await warmer.most_requested(["crm"], 10)
    assert {request.caller for request in requests} == set(keys)
    assert await warmer.warm(requests) == Warmed(2, 0)
    assert len(origin.requests) == 4
    for caller, key in keys.items():
        response = await cache_world.request("GET", PATH + "/a", key=key)
        assert (response.get("x-cache"), response.body.split()[0].decode()) == ("HIT", caller)
        assert int(response.body.split()[1]) > 2
    assert len(origin.requests) == 4


async def test_a_shared_response_is_warmed_once_and_without_a_caller(cache_world: World, warmer: Warmer) -> None:
    origin = await cache_world.serve(CallerEcho(), policy=SHARED)
    for key in (cache_world.key, cache_world.other_key) * 2:
        await cache_world.request("GET", PATH + "/a", key=key)
    await cache_world.hit_counter.flush()
    assert await warmer.warm(await warmer.most_requested(["crm"], 10)) == Warmed(1, 0)
    assert b"x-gateway-caller" not in dict(origin.requests[-1].fields)


async def test_warming_without_a_caller_keeps_a_callers_response(cache_world: World, warmer: Warmer) -> None:
    await cache_world.serve(CallerEcho())
    await get_repeatedly(cache_world, "/a", 2)
    assert await warmer.warm([parse_reference("crm/a")]) == Warmed(1, 0)  # of no caller
    response = await cache_world.request("GET", PATH + "/a")
    assert response.body == f"key:{cache_world.key.split('_')[1]} 1".encode()


async def test_requests_with_a_secret_are_not_recorded(cache_world: World, warmer: Warmer) -> None:
    await cache_world.serve(WITH_ETAG)
    await get_repeatedly(cache_world, "/a", 3, Cookie="session=secret")
    for _ in range(3):
        await cache_world.request("GET", PATH + "/b", [("Cookie", ""), ("Cookie", "session=secret")])
    await get_repeatedly(cache_world, "/c", 3, Cookie="")  # an empty field
    await cache_world.hit_counter.flush()
    assert [request.path for request in await warmer.most_requested(["crm"], 10)] == [PATH.encode() + b"/c"]


async def test_failed_requests_are_counted(cache_world: World, warmer: Warmer) -> None:
    await cache_world.serve(DOWN, policy=SHARED)
    reported: list[bool] = []
    requests = [parse_reference("crm/a"), parse_reference("/api/v1/nope/b?q")]
    result = await warmer.warm(requests, lambda _, stored: reported.append(stored))
    assert (result, reported) == (Warmed(0, 2), [False, False])


def count_hit(hit_counter: HitCounter, path: str) -> None:
    if not hit_counter.record_hit(path):
        hit_counter.start_counting("s", path, ReplayableRequest(b"h", path.encode(), b""))


async def test_the_list_of_services_cannot_be_warmed(cache_world: World, warmer: Warmer) -> None:
    await cache_world.serve(reply(), policy=SHARED)
    assert await warmer.warm([parse_reference("/api/v1/"), parse_reference("/api/v1/crm/a")]) == Warmed(1, 1)


async def test_the_hit_counter_is_bounded() -> None:
    hit_counter = HitCounter()
    for number in range(MAX_COUNTED * 6):
        count_hit(hit_counter, str(number // 2))
    assert len(await hit_counter.top("s", MAX_COUNTED * 3)) <= MAX_COUNTED


async def test_single_hits_do_not_displace_repeated_ones() -> None:
    hit_counter = HitCounter()
    for number in range(MAX_COUNTED):
        count_hit(hit_counter, f"old{number}")
    for number in range(MAX_COUNTED * 3):
        count_hit(hit_counter, f"crawled{number}")
    assert {request.path[:3] for request in await hit_counter.top("s", MAX_COUNTED)} == {b"old"}
    for _ in range(3):
        count_hit(hit_counter, "new")
    assert (await hit_counter.top("s", 1))[0].path == b"new"


async def test_without_redis_or_with_malformed_data_the_list_is_empty(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    hit_counter = HitCounter(link)
    with own_redis.client() as client:
        client.zadd("gw:{s}:hot", {"rubbish": 1})
    assert await hit_counter.top("s", 5) == []
    hit_counter.start_counting("s", "k", ReplayableRequest(b"h", b"p", b""))
    own_redis.stop()
    await hit_counter.flush()
    await link.close()


class TestTheCommand:
    async def test_warms_a_list(
        self, cache_world: World, warmer: Warmer, tmp_path: Path, operations: list[tuple[str, str, object]]
    ) -> None:
        await cache_world.serve(reply(), policy=SHARED)
        file = tmp_path / "list"
        file.write_text("\ufeffcrm/a\n# two\n\n/api/v1/crm/b?q=1\n")
        assert "2 warmed, 0 failed" in await run_command(
            "warm", "--list", str(file), "--address", "http://gateway.test"
        )
        assert [await get_repeatedly(cache_world, path) for path in ("/a", "/b?q=1")] == ["HIT", "HIT"]
        assert operations == [("cache.warm", "", {"warmed": 2, "failed": 0})]

    async def test_a_dry_run_lists_the_paths(self, cache_world: World, warmer: Warmer) -> None:
        origin = await cache_world.serve(reply(), policy=SHARED)
        output = await run_command("warm", "crm/a", "--dry-run")
        assert (output, origin.requests) == ("/api/v1/crm/a\n1 to warm\n", [])

    async def test_warms_the_most_requested(self, cache_world: World, warmer: Warmer) -> None:
        await cache_world.serve(reply(), policy=SHARED)
        await get_repeatedly(cache_world, "/a", 2)
        await cache_world.hit_counter.flush()
        assert await run_command("warm", "--top", "5") == "1 warmed, 0 failed\n"

    async def test_an_empty_list_warms_nothing(self, cache_world: World, warmer: Warmer, tmp_path: Path) -> None:
        await cache_world.serve(reply(), policy=SHARED)
        await get_repeatedly(cache_world, "/a", 2)
        await cache_world.hit_counter.flush()
        file = tmp_path / "list"
        file.write_text("# none\n")
        assert await run_command("warm", "--list", str(file)) == "0 warmed, 0 failed\n"

    async def test_names_responses_that_are_not_stored(self, cache_world: World, warmer: Warmer) -> None:
        await cache_world.serve(reply(cache_control="no-store"), policy=SHARED)
        assert await run_command("warm", "crm/a") == "/api/v1/crm/a is not stored\n0 warmed, 1 failed\n"

    async def test_shows_a_progress_bar_on_a_terminal(self, cache_world: World, warmer: Warmer) -> None:
        class Terminal(StringIO):
            def isatty(self) -> bool:
                return True

        await cache_world.serve(reply(), policy=SHARED)
        out, terminal = StringIO(), Terminal()
        await asyncio.to_thread(call_command, "cache", "warm", "crm/a", "crm/b", stdout=out, stderr=terminal)
        frames = terminal.getvalue().split("\r")
        assert frames[1:] == [f"[{'#' * 15}{'.' * 15}] 1/2", f"[{'#' * 30}] 2/2\n"]
        assert out.getvalue() == "2 warmed, 0 failed\n"

    async def test_a_dry_run_shows_the_callers(self, cache_world: World, warmer: Warmer) -> None:
        origin = await cache_world.serve(reply())
        await get_repeatedly(cache_world, "/a", 2)
        await cache_world.hit_counter.flush()
        output = await run_command("warm", "--dry-run")
        assert output == f"/api/v1/crm/a  key:{cache_world.key.split('_')[1]}\n1 to warm\n"
        assert len(origin.requests) == 1

    async def test_flushes_and_invalidates_by_tag(self, cache_world: World, warmer: Warmer) -> None:
        await cache_world.serve(reply(surrogate_key="one"), policy=SHARED)
        await get_repeatedly(cache_world, "/a")
        await get_repeatedly(cache_world, "/b")
        assert await run_command("invalidate", "one", "--dry-run") == (
            "crm: 2 to delete with one\napp: 0 to delete with one\n"
        )
        assert await run_command("invalidate", "one") == "crm: 2 deleted with one\napp: 0 deleted with one\n"
        await get_repeatedly(cache_world, "/a")
        assert (await run_command("stats")).split()[:3] == ["crm", "1", "entries"]
        assert await run_command("flush", "--service", "crm") == "crm: 1 deleted\n"

    async def test_values_of_django_code_are_invalidated_too(self, cache_world: World, warmer: Warmer) -> None:
        values = runtime.current().objects("app")
        for name in "abc":
            await values.set(name, 1, tags=[name])
        with pytest.raises(CommandError, match="a tag must not be empty"):
            await run_command("invalidate", "")
        assert await run_command("invalidate", "a") == "app: 1 deleted with a\n"
        assert (await run_command("stats")).split()[:3] == ["app", "2", "entries"]
        assert await run_command("flush", "--service", "app") == "app: 2 deleted\n"

    async def test_rejects_an_unknown_service(self, cache_world: World, warmer: Warmer) -> None:
        with pytest.raises(CommandError, match="no service 'nope'"):
            await run_command("flush", "--service", "nope")
        with pytest.raises(CommandError, match="--top must be at least 1"):
            await run_command("warm", "--top", "0")

    async def test_rejects_lists_and_addresses_that_cannot_be_read(
        self, cache_world: World, warmer: Warmer, tmp_path: Path
    ) -> None:
        (binary := tmp_path / "binary").write_bytes(b"crm/\xff")
        for file, fault in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file"), (binary, "not UTF-8")):
            with pytest.raises(CommandError, match=fault):
                await run_command("warm", "--list", str(file))
        for address in ("gateway.example.com", "ftp://a", "http://", "https://a/b", ""):
            with pytest.raises(CommandError, match="--address must be one such as"):
                await run_command("warm", "crm/a", "--address", address)


async def test_without_redis_the_command_fails_with_an_explanation() -> None:
    install(None)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="without REDIS_URL"):
        await run_command("stats")


@pytest.mark.django_db(transaction=True)
async def test_saving_a_model_invalidates_its_tags_after_the_commit(
    cache_world: World, warmer: Warmer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cache_world.serve(reply(surrogate_key="key:alpha"), policy=SHARED)
    for signal in (post_save, pre_delete):  # receivers connected here must not outlive this test
        monkeypatch.setattr(signal, "receivers", [*signal.receivers])
        monkeypatch.setattr(signal, "sender_receivers_cache", {})
        monkeypatch.setattr(signal, "use_caching", False)
    invalidates_on_change(ApiKey, tags=["key:{name}"], service="crm")
    stored_states: list[bool] = []

    def stored() -> bool:
        return bool(runtime.current().submit(cache_world.cache.usage("crm")).result().entries)

    def change() -> None:
        with transaction.atomic():
            key = ApiKey(name="alpha", prefix="p" * 8, digest="d" * 64)
            key.save()
            stored_states.append(stored())
        stored_states.append(stored())
        connection.close()

    await get_repeatedly(cache_world, "/a")
    await asyncio.to_thread(change)
    assert stored_states == [True, False]

"""`cache.ignore`: responses that forbid caching are stored, and cookies are sent to one client only."""

import asyncio
import re
from typing import Any

import pytest

from resilience.cache.ignoring import Ignorable
from resilience.cache.policy import Scope
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import RouteTable
from tests.gateway.cache_steps import NOT_MODIFIED, PATH, get, policy, reply, run_steps
from tests.gateway.conftest import World
from tests.gateway.test_coalescing import HeldReply, let_tasks_run

IGNORE = (
    Ignorable.PRIVATE,
    Ignorable.NO_STORE,
    Ignorable.NO_CACHE,
    Ignorable.SET_COOKIE,
    Ignorable.EXPIRES,
    Ignorable.PRAGMA,
)
COOKIE = "b=of-one-client; Path=/api/v1/crm"
SLACK: dict[str, Any] = {
    "cache_control": "private, no-cache, no-store, must-revalidate",
    "expires": "Sat, 26 Jul 1997 05:00:00 GMT",
    "pragma": "no-cache",
    "set_cookie": COOKIE,
}
CALENDAR: dict[str, Any] = {
    "cache_control": "no-cache, no-store, max-age=0, must-revalidate",
    "expires": "Mon, 01 Jan 1990 00:00:00 GMT",
    "etag": '"1"',
}
IGNORING = policy(ttl=60, ignore=IGNORE)


class TestRecordedResponses:
    async def test_one_as_slack_sends_it_is_stored_for_the_ttl(self, world: World) -> None:
        await run_steps(world, [reply(**SLACK)], [get("MISS"), get("HIT"), get("HIT", 59), get("MISS", 2)], IGNORING)

    async def test_without_ignoring_it_is_not(self, world: World) -> None:
        await run_steps(world, [reply(**SLACK)], [get("MISS"), get("MISS")], policy(ttl=60, override=True))

    async def test_cache_status_and_the_debug_field_list_what_was_ignored(self, world: World) -> None:
        origin = await world.serve(reply(**SLACK), policy=IGNORING)
        debug = [("X-Gateway-Debug", "1")]
        words = "private, no-store, no-cache, set-cookie, expires, pragma"
        for result in ("fwd=uri-miss; stored", "hit", "hit"):
            response = await world.request("GET", PATH + "/x", debug)
            status = re.sub("ttl=(59|60)", "ttl=60", response.get("cache-status") or "")
            assert status == f'gateway; {result}; ttl=60; detail="ignored {words}"'
            assert f"ignored by cache.ignore: {words}" in (response.get("x-gateway-debug") or "")
        assert len(origin.requests) == 1

    async def test_clients_get_the_backends_own_fields(self, cache_world: World) -> None:
        hit = await run_steps(cache_world, [reply(**SLACK)], [get("MISS"), get("HIT")], IGNORING)
        assert [hit.get(name) for name in ("cache-control", "expires", "pragma")] == [
            SLACK["cache_control"],
            SLACK["expires"],
            SLACK["pragma"],
        ]

    async def test_an_etag_is_used_to_revalidate(self, cache_world: World) -> None:
        ignoring = policy(ttl=60, ignore=(*IGNORE, Ignorable.MAX_AGE))
        steps = [get("MISS"), get("HIT", 59), get("REVALIDATED", 2), get("HIT", 59)]
        await run_steps(cache_world, [reply(**CALENDAR), NOT_MODIFIED], steps, ignoring)
        assert cache_world.origins[0].requests[1].fields.count((b"if-none-match", b'"1"')) == 1

    async def test_with_a_max_age_of_zero_it_is_revalidated_each_time(self, cache_world: World) -> None:
        steps = [get("MISS"), get("REVALIDATED", 1), get("REVALIDATED", 1)]
        await run_steps(cache_world, [reply(**CALENDAR), reply(304, **CALENDAR)], steps, IGNORING)

    async def test_must_revalidate_forbids_stale_responses_unless_it_is_ignored(self, cache_world: World) -> None:
        replies = [reply(**SLACK), reply(503, b"down")]
        await run_steps(cache_world, replies, [get("MISS"), get("MISS", 61, 503)], IGNORING)
        cache_world.live.table = RouteTable([])
        ignoring = policy(ttl=60, ignore=(*IGNORE, Ignorable.MUST_REVALIDATE))
        await run_steps(cache_world, replies, [get("MISS"), get("STALE", 61)], ignoring)

    async def test_each_origin_of_pages_has_its_variant(self, cache_world: World) -> None:
        gmail = reply(cache_control="private", vary="Origin, X-Origin, Referer")
        pages = [f"https://{name}.example.com" for name in "abc"]
        steps = [get("MISS"), *[get("MISS", Origin=page, Referer=f"{page}/") for page in pages]]
        steps += [get("HIT"), *[get("HIT", Origin=page, Referer=f"{page}/") for page in pages]]
        await run_steps(cache_world, [gmail], steps, IGNORING)

    async def test_request_fields_that_select_nothing_make_no_variants(self, world: World) -> None:
        gmail = reply(cache_control="private", vary="Origin, X-Origin, Referer, Accept-Encoding")
        ignoring = policy(ttl=60, ignore=IGNORE, ignore_vary=("origin", "x-origin", "referer"))
        steps = [get("MISS", Referer="https://app.example.com/0", Origin="https://app.example.com")]
        steps += [get("HIT", Referer=f"https://app.example.com/{number}") for number in range(12)]
        hit = await run_steps(world, [gmail], [*steps, get("HIT")], ignoring)
        assert hit.get("vary") == "Origin, X-Origin, Referer, Accept-Encoding"
        assert 'detail="ignored private, vary: origin, vary: x-origin, vary: referer"' in (
            hit.get("cache-status") or ""
        )
        await run_steps(
            world, [gmail], [get("MISS", path="/y"), get("MISS", path="/y", Accept_Encoding="gzip")], ignoring
        )


class TestOtherCallers:
    async def test_a_private_response_stays_its_callers(self, world: World) -> None:
        origin = await world.serve(reply(**SLACK), policy=IGNORING)
        for key in (world.key, world.other_key):
            assert (await world.request("GET", PATH + "/x", key=key)).get("x-cache") == "MISS"
            assert (await world.request("GET", PATH + "/x", key=key)).get("x-cache") == "HIT"
        assert len(origin.requests) == 2

    async def test_one_is_shared_where_that_is_meant(self, world: World) -> None:
        shared = policy(ttl=60, ignore=IGNORE, scope=Scope.SHARED, share_ignored=True)
        await world.serve(reply(**SLACK), policy=shared)
        first = await world.request("GET", PATH + "/x")
        second = await world.request("GET", PATH + "/x", key=world.other_key)
        assert (first.get("set-cookie") is None, second.get("x-cache")) == (False, "HIT")
        assert second.get("set-cookie") is None

    async def test_a_credential_that_only_the_backend_has_checked_is_not_shared(self, world: World) -> None:
        shared = policy(ttl=60, ignore=IGNORE, scope=Scope.SHARED, share_ignored=True)
        passed = RoutePolicy(auth=Auth.NONE, forward_authorization=True, cache=shared.cache)
        await world.serve(reply(**SLACK), policy=passed)
        for token in ("one", "two"):
            credential = [("Authorization", f"Bearer {token}")]
            response = await world.request("GET", PATH + "/x", credential, key="")
            assert (response.get("x-cache"), response.status) == ("MISS", 200)

    async def test_a_changed_setting_serves_nothing_stored_under_the_old_one(self, cache_world: World) -> None:
        await run_steps(cache_world, [reply(**SLACK)], [get("MISS"), get("HIT")], IGNORING)
        cache_world.live.table = RouteTable([])
        await run_steps(cache_world, [reply(**SLACK)], [get("MISS")], policy(ttl=60))


class TestCookies:
    """A Set-Cookie is sent to the client whose request caused it, and to nobody else."""

    async def test_a_hit_and_a_head_have_none(self, world: World) -> None:
        await world.serve(reply(**SLACK), policy=IGNORING)
        assert (await world.request("GET", PATH + "/x")).get("set-cookie") is not None
        for method in ("GET", "HEAD"):
            response = await world.request(method, PATH + "/x")
            assert (response.get("x-cache"), response.get("set-cookie")) == ("HIT", None)

    async def test_nor_has_a_range_or_a_304(self, cache_world: World) -> None:
        await cache_world.serve(reply(etag='"1"', **SLACK), policy=IGNORING)
        assert (await cache_world.request("GET", PATH + "/x")).get("set-cookie") is not None
        for field, status in ((("Range", "bytes=0-2"), 206), (("If-None-Match", '"1"'), 304)):
            response = await cache_world.request("GET", PATH + "/x", [field])
            assert (response.status, response.get("set-cookie")) == (status, None)

    async def test_those_who_waited_for_the_fetch_get_none(self, cache_world: World) -> None:
        held = HeldReply(reply(**SLACK))
        origin = await cache_world.serve(held, policy=IGNORING)
        pending = [asyncio.create_task(cache_world.request("GET", PATH + "/x")) for _ in range(10)]
        await held.requested.wait()
        await let_tasks_run()
        held.go.set()
        responses = await asyncio.gather(*pending)
        assert len(origin.requests) == 1
        assert sum(response.get("set-cookie") is not None for response in responses) == 1

    @pytest.mark.parametrize("word", [(), (Ignorable.SET_COOKIE,)])
    async def test_one_with_a_confirmation_is_for_the_client_that_caused_it(
        self, cache_world: World, word: tuple[Ignorable, ...]
    ) -> None:
        await cache_world.serve(
            reply(etag='"1"', cache_control="max-age=10"),
            reply(304, set_cookie=COOKIE, cache_control="max-age=10"),
            policy=policy(ignore=word),
        )
        await cache_world.request("GET", PATH + "/x")
        cache_world.clock.advance(11)
        confirmed = await cache_world.request("GET", PATH + "/x")
        assert (confirmed.get("x-cache"), confirmed.get("set-cookie")) == ("REVALIDATED", COOKIE)
        if word:
            hit = await cache_world.request("GET", PATH + "/x")
            assert (hit.get("x-cache"), hit.get("set-cookie")) == ("HIT", None)

    async def test_one_of_a_background_refresh_is_for_nobody(self, cache_world: World) -> None:
        ignoring = policy(ttl=10, stale_while_revalidate=60, ignore=(*IGNORE, Ignorable.MUST_REVALIDATE))
        origin = await cache_world.serve(reply(**{**SLACK, "etag": '"1"'}), reply(304, **SLACK), policy=ignoring)
        await cache_world.request("GET", PATH + "/x")
        cache_world.clock.advance(11)
        results = set[tuple[str | None, str | None]]()
        while ("HIT", None) not in results:
            response = await cache_world.request("GET", PATH + "/x")
            results.add((response.get("x-cache"), response.get("set-cookie")))
            await let_tasks_run()
        assert results == {("STALE", None), ("HIT", None)}
        assert len(origin.requests) == 2

    async def test_one_of_a_part_is_not_stored(self, cache_world: World) -> None:
        headers = {**SLACK, "etag": '"1"', "content_range": "bytes 0-4/10"}
        await cache_world.serve(reply(206, b"01234", **headers), policy=IGNORING)
        part = [("Range", "bytes=0-4")]
        assert (await cache_world.request("GET", PATH + "/x", part)).get("set-cookie") is not None
        again = await cache_world.request("GET", PATH + "/x", part)
        assert (again.get("x-cache"), again.status, again.get("set-cookie")) == ("HIT", 206, None)

    async def test_one_of_a_head_is_not_stored(self, cache_world: World) -> None:
        fields: dict[str, Any] = {"etag": '"1"', "cache_control": "max-age=10"}
        await cache_world.serve(reply(**fields), reply(set_cookie=COOKIE, **fields), policy=IGNORING)
        await cache_world.request("GET", PATH + "/x")
        cache_world.clock.advance(11)
        assert (await cache_world.request("HEAD", PATH + "/x")).get("set-cookie") == COOKIE
        hit = await cache_world.request("GET", PATH + "/x")
        assert hit.get("set-cookie") is None

"""`cache.methods` and `cache.key`: a POST that reads is answered from the cache, by its content."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from resilience.cache.policy import CachePolicy, KeyPolicy, QueryPolicy, Scope
from routing.http import Request
from routing.router.policy import Fallback, Retries, RoutePolicy
from routing.router.table import RoutePattern, Service
from routing.steps.cache import bypass, content
from tests.gateway.cache_steps import PATH, reply
from tests.gateway.conftest import QUICK, World
from tests.gateway.entry_points import ReceivedResponse
from tests.gateway.test_cache_identity import Echo
from tests.gateway.test_coalescing import let_tasks_run
from tests.origin import Peer, Script, ScriptedOrigin

JSON = "application/json"
FORM = "application/x-www-form-urlencoded;charset=utf-8"
METHODS = ("GET", "HEAD", "POST")
BY_FIELDS = KeyPolicy(body=("channel", "cursor", "limit"))


def reading(key: KeyPolicy = BY_FIELDS, methods: tuple[str, ...] = METHODS, **cache: Any) -> RoutePolicy:
    return RoutePolicy(timeout=QUICK, cache=CachePolicy(methods=methods, key=key, **cache))


async def post(
    world: World, body: bytes | str | dict[str, Any], kind: str = JSON, path: str = "/history", **more: Any
) -> ReceivedResponse:
    """POST a body: a dictionary as JSON or as a form, anything else as it is."""
    if isinstance(body, dict):
        body = msgspec.json.encode(body) if kind == JSON else urlencode(body)
    sent = body.encode() if isinstance(body, str) else body
    headers = [("Content-Type", kind), *more.pop("headers", [])]
    return await world.request("POST", PATH + path, headers, body=[sent], **more)


async def results(world: World, *bodies: Any, **more: Any) -> list[str | None]:
    return [(await post(world, body, **more)).get("x-cache") for body in bodies]


class TestReadsByPost:
    @pytest.mark.parametrize("kind", [JSON, FORM])
    async def test_the_named_fields_are_its_key(self, world: World, kind: str) -> None:
        await world.serve(Echo(), policy=reading())
        one = {"channel": "C1", "limit": "5", "ts": "1"}
        other = {"limit": "5", "channel": "C1", "ts": "2"}
        third = {**one, "channel": "C2"}
        assert await results(world, one, other, third, third, one, kind=kind) == ["MISS", "HIT", "MISS", "HIT", "HIT"]
        hit = await post(world, other, kind)
        assert hit.status == 200
        assert (hit.get("cache-status") or "").startswith("gateway; hit; ttl=")
        assert hit.body.endswith(urlencode(one).encode() if kind == FORM else msgspec.json.encode(one))

    async def test_all_of_it_is_without_named_fields(self, world: World) -> None:
        await world.serve(Echo(), policy=reading(KeyPolicy()))
        assert await results(world, '{"a":1}', '{"a":1}', '{"a":2}', '{"a": 1}') == ["MISS", "HIT", "MISS", "HIT"]
        assert await results(world, '{"a":1.0}', '{"a":NaN}', '{"a": NaN}') == ["MISS", "MISS", "MISS"]

    async def test_the_type_is_part_of_it(self, cache_world: World) -> None:
        await cache_world.serve(Echo(), policy=reading())
        assert await results(cache_world, b"", b"", kind=JSON) == ["MISS", "HIT"]
        assert await results(cache_world, "channel=C1", kind=FORM) == ["MISS"]
        assert await results(cache_world, "channel=C1", kind=JSON) == ["MISS"]
        assert await results(cache_world, {"channel": "C1"}, kind=JSON) == ["MISS"]

    async def test_a_chunked_body_is_read_too(self, world: World) -> None:
        await world.serve(Echo(), policy=reading())
        pieces = {"body": [b'{"chan', b'nel":"C1"}'], "length": False}
        headers = [("Content-Type", JSON)]
        for expected in ("MISS", "HIT"):
            response = await world.request("POST", PATH + "/history", headers, **pieces)
            assert (response.get("x-cache"), response.body) == (expected, b'{"channel":"C1"}')
        assert await results(world, {"channel": "C1"}) == ["HIT"]

    async def test_a_get_of_the_same_path_is_another_response(self, cache_world: World) -> None:
        await cache_world.serve(Echo(), policy=reading())
        assert await results(cache_world, b"", b"") == ["MISS", "HIT"]
        for expected in ("MISS", "HIT"):
            assert (await cache_world.request("GET", PATH + "/history")).get("x-cache") == expected

    async def test_callers_do_not_share_responses(self, cache_world: World) -> None:
        await cache_world.serve(Echo(), policy=reading())
        body = {"channel": "C1"}
        assert await results(cache_world, body, body) == ["MISS", "HIT"]
        assert await results(cache_world, body, key=cache_world.other_key) == ["MISS"]

    async def test_without_post_among_the_methods_nothing_changes(self, world: World) -> None:
        await world.serve(Echo(), policy=reading(KeyPolicy(), ("GET", "HEAD")))
        response = await post(world, {"channel": "C1"})
        assert (response.get("x-cache"), response.get("cache-status")) == ("BYPASS", "gateway; fwd=method")

    async def test_a_method_that_is_not_listed_is_passed_on(self, world: World) -> None:
        await world.serve(Echo(), policy=reading(KeyPolicy(), ("POST",)))
        for method in ("GET", "HEAD", "GET"):
            response = await world.request(method, PATH + "/history")
            assert response.get("cache-status") == "gateway; fwd=method"
        assert await results(world, b"", b"") == ["MISS", "HIT"]

    async def test_a_route_that_invalidates_is_never_a_read(self, cache_world: World) -> None:
        writing = msgspec.structs.replace(reading(), invalidates=("x",))
        origin = await cache_world.serve(Echo(), policy=writing)
        assert await results(cache_world, b"", b"") == ["BYPASS", "BYPASS"]
        assert len(origin.requests) == 2


class TestBypass:
    @pytest.mark.parametrize(
        ("headers", "kind", "detail"),
        [
            ([], "text/plain", "content-type"),
            ([], "application/xml; charset=utf-8", "content-type"),
            ([("Content-Type", "text/plain")], JSON, "content-type"),
            ([("Content-Encoding", "gzip")], JSON, "content-encoding"),
            ([("If-None-Match", '"a"')], JSON, "precondition"),
            ([("If-Match", '"a"')], JSON, "precondition"),
            ([("Accept", "text/event-stream")], JSON, "event-stream"),
            ([("X-Auth-Token", "t")], JSON, "credential"),
        ],
    )
    async def test_the_body_is_sent_as_it_is(
        self, world: World, headers: list[tuple[str, str]], kind: str, detail: str
    ) -> None:
        await world.serve(Echo(cache_control="max-age=60"), policy=reading())
        for _ in range(2):
            response = await post(world, b"any bytes", kind, headers=headers)
            assert (response.get("x-cache"), response.body) == ("BYPASS", b"any bytes")
            assert (response.get("cache-status") or "").replace('"', "") == f"gateway; fwd=bypass; detail={detail}"

    @pytest.mark.parametrize("length", [True, False])
    async def test_a_large_body_loses_nothing(
        self, world: World, monkeypatch: pytest.MonkeyPatch, length: bool
    ) -> None:
        for module in (bypass, content):
            monkeypatch.setattr(module, "MAX_CONTENT_BYTES", 100)
        await world.serve(Echo(), policy=reading())
        pieces = [b'{"channel":"', b"x" * 60, b"y" * 60, b'"}']
        headers = [("Content-Type", JSON)]
        for _ in range(2):
            response = await world.request("POST", PATH + "/history", headers, body=pieces, length=length)
            assert (response.get("x-cache"), response.body) == ("BYPASS", b"".join(pieces))
            assert response.get("cache-status") == 'gateway; fwd=bypass; detail="content-length"'

    async def test_one_over_the_gateways_limit_is_refused(self, world: World) -> None:
        await world.serve(Echo(), policy=reading())
        pieces = [b'{"channel":"', b"x" * 2_000, b'"}']
        for length in (True, False):
            response = await world.request(
                "POST", PATH + "/history", [("Content-Type", JSON)], body=pieces, length=length
            )
            assert (response.status, response.json()["code"]) == (413, "body_too_large")

    async def test_ambiguous_content_is_not_stored_where_tags_need_its_fields(self, cache_world: World) -> None:
        await cache_world.serve(Echo(), policy=reading(tags=("channel:{body.channel}",)))
        bad = '{"channel":"C1","channel":"C2"}'
        for _ in range(2):
            response = await post(cache_world, bad)
            assert (response.get("x-cache"), response.body) == ("BYPASS", bad.encode())
            assert response.get("cache-status") == 'gateway; fwd=bypass; detail="ambiguous-content"'

    async def test_an_idempotency_key_is_honoured_as_without_a_cache(self, world: World) -> None:
        origin = await world.serve(Echo(), policy=msgspec.structs.replace(reading(), idempotency=True))
        headers = [("Idempotency-Key", "k1")]
        for _ in range(2):
            response = await post(world, {"channel": "C1"}, headers=headers)
            assert (response.get("x-cache"), response.status) == ("BYPASS", 200)
        assert response.get("idempotency-replayed") == "true"
        assert (await post(world, {"channel": "C2"}, headers=headers)).status == 422
        assert len(origin.requests) == 1

    async def test_it_invalidates_nothing(self, cache_world: World) -> None:
        await cache_world.serve(Echo(), policy=reading())
        assert await results(cache_world, {"channel": "C1"}, b"", b"") == ["MISS", "MISS", "HIT"]
        assert (await cache_world.request("GET", PATH + "/history")).get("x-cache") == "MISS"
        for kind in ("text/plain", JSON):
            await post(cache_world, b"any", kind)
        assert await results(cache_world, {"channel": "C1"}, b"") == ["HIT", "HIT"]
        assert (await cache_world.request("GET", PATH + "/history")).get("x-cache") == "HIT"

    async def test_directives_of_the_request_hold(self, cache_world: World) -> None:
        await cache_world.serve(Echo(), policy=reading())
        only = [("Cache-Control", "only-if-cached")]
        assert (await post(cache_world, b"", headers=only)).json()["code"] == "not_cached"
        assert await results(cache_world, b"", b"") == ["MISS", "HIT"]
        assert (await post(cache_world, b"", headers=[("Cache-Control", "no-cache")])).get("x-cache") == "MISS"
        assert (await post(cache_world, b"", headers=[("Range", "bytes=0-1")])).status == 200


def dripping(world: World, *, length: bytes = b"16") -> tuple[Request, asyncio.Event, asyncio.Event]:
    """A POST whose body is sent in two pieces; when its first piece is taken, and when the second may be."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def drip() -> AsyncIterator[bytes]:
        begun.set()
        yield b'{"channel'
        await go.wait()
        yield b'":"C1"}'

    headers = [(b"host", b"gateway.test"), (b"content-length", length), (b"content-type", JSON.encode())]
    request = Request("POST", b"/api/v1/crm/history", b"", headers, "192.0.2.1")
    request.headers.append((b"x-api-key", world.key.encode()))
    request.body = drip()
    return request, begun, go


class TestSlowClients:
    async def test_a_body_that_drips_delays_nobody(self, cache_world: World) -> None:
        await cache_world.serve(Echo(), policy=reading())
        slow, begun, go = dripping(cache_world)
        waiting = asyncio.ensure_future(cache_world.gateway.handle(slow))
        await begun.wait()
        async with asyncio.timeout(5):
            assert await results(cache_world, {"channel": "C1"}, {"channel": "C1"}) == ["MISS", "HIT"]
        go.set()
        response = await waiting
        assert (dict(response.headers)[b"x-cache"], response.body) == (b"HIT", b'{"channel":"C1"}')

    async def test_one_that_stops_is_given_up_after_the_clients_time(self, cache_world: World) -> None:
        timeout = msgspec.structs.replace(QUICK, idle=0.05)
        origin = await cache_world.serve(Echo(), policy=msgspec.structs.replace(reading(), timeout=timeout))
        slow, _, _ = dripping(cache_world)
        assert (await cache_world.gateway.handle(slow)).status == 408
        assert not origin.requests

    async def test_one_that_takes_too_long_is_passed_on_without_the_cache(
        self, cache_world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(content, "CONTENT_SECONDS", 0.0)
        await cache_world.serve(Echo(), policy=reading())
        slow, _, go = dripping(cache_world)
        go.set()
        response = await cache_world.gateway.handle(slow)
        assert response.body == b'{"channel":"C1"}'
        assert dict(response.headers)[b"cache-status"] == b'gateway; fwd=bypass; detail="slow-content"'


class Numbered:
    """Responds with the number of the call and the content of the request."""

    def __init__(self, *, hold: asyncio.Event | None = None, **headers: Any) -> None:
        self.calls = 0
        self._hold = hold
        self._headers = headers

    async def __call__(self, peer: Peer) -> None:
        self.calls += 1
        number = self.calls
        body = await peer.read_body()
        if self._hold is not None:
            await self._hold.wait()
        await peer.send(reply(200, b"%d %b" % (number, body), **self._headers))


class TestFetches:
    async def test_concurrent_requests_share_one(self, cache_world: World) -> None:
        go = asyncio.Event()
        origin = await cache_world.serve(Numbered(hold=go), policy=reading())
        same = [post(cache_world, {"channel": "C1", "ts": number}) for number in range(10)]
        pending = [asyncio.ensure_future(each) for each in [*same, post(cache_world, {"channel": "C2"})]]
        await asyncio.wait_for(origin.requested.wait(), 5)
        await let_tasks_run()
        go.set()
        responses = await asyncio.gather(*pending)
        assert len(origin.requests) == 2
        assert len({response.body for response in responses[:10]}) == 1
        assert b'"C2"' in responses[10].body

    async def test_a_background_refresh_sends_the_same_body(self, cache_world: World) -> None:
        numbered = Numbered(etag='"1"')
        origin = await cache_world.serve(numbered, policy=reading(ttl=10, stale_while_revalidate=60))
        for length in (True, False):
            body = b'{"channel":"C1"}'
            more = {"body": [body], "length": length, "headers": [("Content-Type", JSON)]}
            await cache_world.request("POST", PATH + f"/{length}", **more)
            cache_world.clock.advance(11)
            stale = await cache_world.request("POST", PATH + f"/{length}", **more)
            assert (stale.get("x-cache"), stale.body[2:]) == ("STALE", body)
            found: str | None = "STALE"
            while found == "STALE":
                found = (await cache_world.request("POST", PATH + f"/{length}", **more)).get("x-cache")
                await let_tasks_run()
            assert found == "HIT"
            first, second = origin.requests[-2:]
            assert (second.line, second.body) == (first.line, body)
            names = [name for name, _ in second.fields]
            assert {b"if-none-match", b"content-type"} & set(names) == {b"content-type"}

    async def test_a_stale_response_is_fetched_anew_without_preconditions(self, cache_world: World) -> None:
        origin = await cache_world.serve(Numbered(etag='"1"', cache_control="max-age=10"), policy=reading())
        await post(cache_world, {"channel": "C1"})
        cache_world.clock.advance(11)
        response = await post(cache_world, {"channel": "C1"})
        assert (response.get("x-cache"), response.body[:1]) == ("MISS", b"2")
        assert b"if-none-match" not in dict(origin.requests[1].fields)
        assert await results(cache_world, {"channel": "C1"}) == ["HIT"]

    async def test_no_cache_with_a_validator_is_not_stored(self, cache_world: World) -> None:
        await cache_world.serve(Numbered(etag='"1"', cache_control="no-cache"), policy=reading())
        assert await results(cache_world, b"", b"") == ["MISS", "MISS"]

    async def test_a_stale_response_stands_in_for_a_failure(self, world: World) -> None:
        await world.serve(Numbered(), reply(503), policy=reading(ttl=10))
        await post(world, {"channel": "C1"})
        world.clock.advance(11)
        response = await post(world, {"channel": "C1"})
        assert (response.get("x-cache"), response.status) == ("STALE", 200)

    async def test_it_is_retried_like_a_get(self, world: World) -> None:
        async def lose(peer: Peer) -> None:
            await peer.read_body()
            peer.reset()

        policy = msgspec.structs.replace(reading(), retries=Retries(attempts=2, budget=1.0))
        origin = await world.serve(lose, Echo(), policy=policy)
        response = await post(world, {"channel": "C1"})
        assert (response.status, response.body) == (200, b'{"channel":"C1"}')
        assert len(origin.requests) == 2

    async def test_a_fallback_service_gets_the_body(self, world: World) -> None:
        fails: Script = reply(503)
        policy = msgspec.structs.replace(reading(), fallback=Fallback(service="replica", has_response=False))
        await world.serve(fails, policy=policy)
        await world.serve(Echo(), name="replica")
        response = await post(world, {"channel": "C1"})
        assert (response.status, response.body) == (200, b'{"channel":"C1"}')
        assert response.get("x-gateway-fallback") == "replica"

    async def test_it_is_not_recorded_for_warming(self, cache_world: World) -> None:
        await cache_world.serve(Echo(), policy=reading())
        await results(cache_world, {"channel": "C1"}, {"channel": "C1"}, b"", b"")
        await cache_world.hit_counter.flush()
        assert await cache_world.hit_counter.top("crm", 10) == []


class TestInvalidation:
    TAGGED = reading(KeyPolicy(body=("channel",)), tags=("channel:{body.channel}", "all"))

    async def test_tags_name_fields_of_the_body(self, cache_world: World) -> None:
        await cache_world.serve(Echo(), policy=self.TAGGED)
        one, other = {"channel": "C1"}, {"channel": "C2"}
        assert await results(cache_world, one, other, b"") == ["MISS"] * 3
        assert await cache_world.cache.invalidate("crm", ["channel:C1"]) == 1
        assert await results(cache_world, one, other, b"") == ["MISS", "HIT", "HIT"]
        assert await cache_world.cache.invalidate("crm", ["all"]) == 3

    async def test_tags_name_parameters_of_the_query(self, cache_world: World) -> None:
        await cache_world.serve(Echo(), policy=reading(KeyPolicy(), tags=("channel:{query.channel}",)))
        paths = ["/h?channel=C1", "/h?channel=C2", "/h", "/h?channel=C1&channel=C2"]
        for path in paths:
            await cache_world.request("GET", PATH + path)
        assert await cache_world.cache.invalidate("crm", ["channel:C1"]) == 2
        found = [(await cache_world.request("GET", PATH + path)).get("x-cache") for path in paths]
        assert found == ["MISS", "HIT", "HIT", "MISS"]

    async def test_a_write_to_the_uri_ends_them(self, world: World) -> None:
        await world.serve(Echo(), policy=reading())
        body = {"channel": "C1"}
        assert await results(world, body, body) == ["MISS", "HIT"]
        assert (await world.request("DELETE", PATH + "/history")).status == 200
        assert await results(world, body) == ["MISS"]


class TestQueries:
    KEY = KeyPolicy(query=QueryPolicy(ignore=("_", "ts"), sort=True))

    async def test_ignored_parameters_and_the_order_are_no_part_of_the_key(self, world: World) -> None:
        origin = await world.serve(Echo(), policy=reading(self.KEY, ("GET", "HEAD")))
        for query, expected in (("a=1&b=2&ts=7", "MISS"), ("b=2&a=1&_=9", "HIT"), ("b=2&a=2", "MISS")):
            assert (await world.request("GET", f"{PATH}/h?{query}")).get("x-cache") == expected
        assert origin.requests[0].line == b"GET /h?a=1&b=2&ts=7 HTTP/1.1"

    @pytest.mark.parametrize("query", ["a=1&b=2", "b=2&ts=3&a=1", "a=1&b=2&ts=7"])
    async def test_a_write_by_any_spelling_ends_the_response(self, cache_world: World, query: str) -> None:
        """Also one to a route of its own, with other settings."""
        origin = await ScriptedOrigin(Echo()).__aenter__()
        cache_world.origins.append(origin)
        routes = (
            RoutePattern("/h", ("GET",), reading(self.KEY, ("GET",))),
            RoutePattern("/h", ("PUT",), RoutePolicy(timeout=QUICK, cache=None)),
        )
        cache_world.add(Service("crm", (origin.target,), routes=routes))
        read = f"{PATH}/h?a=1&b=2&ts=7"
        assert (await cache_world.request("GET", read)).get("x-cache") == "MISS"
        assert (await cache_world.request("PUT", f"{PATH}/h?{query}", body=[b""])).status == 200
        assert (await cache_world.request("GET", read)).get("x-cache") == "MISS"

    async def test_header_fields_are_part_of_the_key(self, cache_world: World) -> None:
        await cache_world.serve(Echo(), policy=reading(KeyPolicy(headers=("x-team", "x-user-id")), ("GET",)))
        sent = [[("X-Team", "a")], [("X-Team", "a")], [("X-Team", "b")], [], [("X-User-Id", "1")], [("X-User-Id", "1")]]
        found = [(await cache_world.request("GET", PATH, headers)).get("x-cache") for headers in sent]
        assert found == ["MISS", "HIT", "MISS", "MISS", "MISS", "HIT"]


class TestCookies:
    @pytest.mark.parametrize(
        ("scope", "names", "expected"),
        [
            (Scope.USER, None, ["MISS", "MISS", "MISS", "MISS"]),
            (Scope.USER, (), ["MISS", "HIT", "HIT", "HIT"]),
            (Scope.USER, ("session",), ["MISS", "HIT", "MISS", "HIT"]),
            (Scope.SHARED, None, ["MISS", "HIT", "HIT", "HIT"]),
            (Scope.SHARED, ("session",), ["MISS", "HIT", "MISS", "HIT"]),
        ],
    )
    async def test_only_those_that_are_named_are_part_of_the_key(
        self, cache_world: World, scope: Scope, names: tuple[str, ...] | None, expected: list[str]
    ) -> None:
        """A client sends back the cookies of load balancers and bot detection, which change no response."""
        origin = await cache_world.serve(Echo(), policy=reading(KeyPolicy(), ("GET",), scope=scope, cookies=names))
        sent = ["", "__cf_bm=1", "session=a; __cf_bm=2", "__cf_bm=3;session=a; sessionx=b"]
        found = []
        for cookie in sent:
            headers = [("Cookie", cookie)] if cookie else []
            found.append((await cache_world.request("GET", PATH, headers)).get("x-cache"))
        assert found == expected
        if scope is Scope.USER and not names:
            assert dict(origin.requests[-1].fields).get(b"cookie") == (None if names == () else sent[-1].encode())


class TestGetWithContent:
    async def test_its_content_is_part_of_the_key_where_fields_are_named(self, world: World) -> None:
        await world.serve(Echo(etag='"1"', cache_control="max-age=10"), policy=reading())
        headers = [("Content-Type", JSON)]
        for body, expected in (
            (b'{"channel":"C1"}', "MISS"),
            (b'{"channel":"C1"}', "HIT"),
            (b'{"channel":"C2"}', "MISS"),
        ):
            response = await world.request("GET", PATH, headers, body=[body])
            assert (response.get("x-cache"), response.body) == (expected, body)
        for expected in ("MISS", "HIT"):
            response = await world.request("GET", PATH, headers)
            assert (response.get("x-cache"), response.body) == (expected, b"")

    async def test_it_is_revalidated_with_its_content(self, cache_world: World) -> None:
        other = reply(304, etag='"2"')
        origin = await cache_world.serve(reply(etag='"1"', cache_control="max-age=10"), other, Echo(), policy=reading())
        more = {"headers": [("Content-Type", JSON)], "body": [b'{"channel":"C1"}']}
        await cache_world.request("GET", PATH, **more)
        cache_world.clock.advance(11)
        response = await cache_world.request("GET", PATH, **more)
        assert (response.get("x-cache"), response.body) == ("MISS", b'{"channel":"C1"}')
        assert [b"if-none-match" in dict(request.fields) for request in origin.requests] == [False, True, False]


async def test_a_post_response_is_shared_where_the_scope_says_so(cache_world: World) -> None:
    await cache_world.serve(Echo(), policy=reading(scope=Scope.SHARED))
    body = {"channel": "C1"}
    assert await results(cache_world, body) == ["MISS"]
    assert await results(cache_world, body, key=cache_world.other_key) == ["HIT"]

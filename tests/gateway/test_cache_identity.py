"""What decides a response is part of its cache key, or the request bypasses the cache: no caller gets another's."""

import asyncio
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest

from resilience.cache.policy import CachePolicy, Scope
from routing.balancing.rules import canary_point
from routing.gateway_rules import GatewayRules
from routing.http import Request
from routing.router.backend_identity import backend_identity
from routing.router.policy import Auth, Retries, RoutePolicy, Target
from routing.router.table import RouteTable, Service
from routing.tls.policy import TlsPolicy
from tests.gateway.cache_steps import PATH, reply
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.entry_points import ReceivedResponse
from tests.internal_ca import InternalCa
from tests.origin import Peer, ScriptedOrigin

FRESH = "max-age=60"
OPEN = RoutePolicy(auth=Auth.NONE, timeout=QUICK)
SHARED = RoutePolicy(auth=Auth.NONE, timeout=QUICK, cache=CachePolicy(scope=Scope.SHARED))


class Echo:
    """Responds with the value that one field, or the content, of the request had, and counts the calls."""

    def __init__(self, *fields: str, **headers: str) -> None:
        self.fields = [field.encode() for field in fields]
        self.headers = headers
        self.calls = 0

    async def __call__(self, peer: Peer) -> None:
        self.calls += 1
        content = await peer.read_body()
        received = dict(peer.request.fields)
        body = b"|".join([*(received.get(name, b"-") for name in self.fields), content])
        await peer.send(reply(200, body, **self.headers))


async def bodies(world: World, *requests: dict[str, Any], path: str = "/a") -> list[str]:
    """What each of these requests is answered, one after the other, with the name of the cache's verdict."""
    results = []
    for request in requests:
        response = await world.request("GET", PATH + path, **request)
        results.append(f"{response.get('x-cache')} {response.body.decode()}")
    return results


class TestContent:
    async def test_a_get_with_content_bypasses_the_cache(self, world: World) -> None:
        echo = Echo(cache_control=FRESH)
        await world.serve(echo)
        cats, dogs = {"body": [b"cats"]}, {"body": [b"dogs"]}
        assert await bodies(world, cats, dogs, {}, cats, {}) == [
            "BYPASS cats",
            "BYPASS dogs",
            "MISS ",
            "BYPASS cats",
            "HIT ",
        ]

    async def test_so_does_a_chunked_one_and_a_head(self, cache_world: World) -> None:
        await cache_world.serve(Echo(cache_control=FRESH))
        chunked = {"body": [b"cats"], "length": False}
        assert await bodies(cache_world, {}, chunked) == ["MISS ", "BYPASS cats"]
        response = await cache_world.request("HEAD", PATH + "/a", body=[b"cats"])
        assert (response.get("x-cache"), response.get("cache-status")) == (
            "BYPASS",
            "gateway; fwd=bypass; detail=content",
        )

    async def test_an_empty_content_is_none(self, cache_world: World) -> None:
        await cache_world.serve(Echo(cache_control=FRESH))
        assert await bodies(cache_world, {}, {"headers": [("Content-Length", "0")]}) == ["MISS ", "HIT "]

    async def test_nobody_waits_for_a_content_that_drips(self, cache_world: World) -> None:
        origin = await cache_world.serve(Echo(cache_control=FRESH))
        arrived = asyncio.Event()

        async def drip() -> Any:
            yield b"c"
            await arrived.wait()
            yield b"ats"

        slow = Request(
            "GET", b"/api/v1/crm/a", b"", [(b"host", b"gateway.test"), (b"content-length", b"4")], "192.0.2.1"
        )
        slow.headers.append((b"x-api-key", cache_world.key.encode()))
        slow.body = drip()
        dripping = asyncio.ensure_future(cache_world.gateway.handle(slow))
        await asyncio.wait_for(origin.requested.wait(), 5)
        async with asyncio.timeout(2):
            assert await bodies(cache_world, {}) == ["MISS "]
        arrived.set()
        assert (await dripping).body == b"cats"

    async def test_only_if_cached_is_refused(self, cache_world: World) -> None:
        await cache_world.serve(Echo(cache_control=FRESH))
        response = await cache_world.request("GET", PATH, [("Cache-Control", "only-if-cached")], body=[b"cats"])
        assert (response.status, response.json()["code"]) == (504, "not_cached")


class TestHostAndScheme:
    HOSTS = ("a.example.com", "b.example.com")

    async def test_each_host_has_its_own_responses(self, world: World) -> None:
        await world.serve(Echo("x-forwarded-host", cache_control=FRESH), hosts=self.HOSTS, policy=SHARED)
        a, b = ({"host": host} for host in self.HOSTS)
        for _, verdict in enumerate(["MISS", "HIT"]):
            responses = [await world.request("GET", "/page", **host) for host in (a, b)]
            assert [(response.get("x-cache"), response.body) for response in responses] == [
                (verdict, b"a.example.com|"),
                (verdict, b"b.example.com|"),
            ]

    async def test_each_scheme_has_its_own_responses(self) -> None:
        rules = GatewayRules(trusted_proxies=(ip_network("192.0.2.1/32"),))
        for entry_point in ("http1", "asgi"):
            world = make_world(entry_point, rules)
            await world.serve(Echo("x-forwarded-proto", cache_control=FRESH), policy=SHARED)
            plain: dict[str, Any] = {}
            tls: dict[str, Any] = {"headers": [("X-Forwarded-Proto", "https")]}
            stranger = {**tls, "client": "198.51.100.7"}
            assert await bodies(world, plain, tls, stranger, plain, tls, stranger) == [
                "MISS http|",
                "MISS https|",
                "HIT http|",
                "HIT http|",
                "HIT https|",
                "HIT http|",
            ]
            await world.close()

    async def test_a_write_ends_the_responses_under_every_host(self, cache_world: World) -> None:
        await cache_world.serve(Echo("x-forwarded-host", cache_control=FRESH), hosts=self.HOSTS)
        for host in self.HOSTS:
            assert (await cache_world.request("GET", "/a", host=host)).get("x-cache") == "MISS"
        assert await bodies(cache_world, {}) == ["MISS gateway.test|"]
        await cache_world.request("POST", "/a", host=self.HOSTS[0], body=[b"x"])
        for host in self.HOSTS:
            assert (await cache_world.request("GET", "/a", host=host)).get("x-cache") == "MISS"
        assert await bodies(cache_world, {}) == ["MISS gateway.test|"]


class TestCredentialsOfTheBackend:
    @pytest.mark.parametrize("name", ["X-Auth-Token", "private-token", "X-Api-Token", "X-CSRFToken", "x_auth_token"])
    @pytest.mark.parametrize(
        "policy", [OPEN, SHARED, RoutePolicy(timeout=QUICK)], ids=["open", "shared", "behind a key"]
    )
    async def test_a_well_known_one_bypasses_the_cache(
        self, cache_world: World, name: str, policy: RoutePolicy
    ) -> None:
        await cache_world.serve(Echo(name.lower(), cache_control=FRESH), policy=policy)
        ann, bob = ({"headers": [(name, owner)]} for owner in ("ann", "bob"))
        assert await bodies(cache_world, ann, bob, {}, ann, {}) == [
            "BYPASS ann|",
            "BYPASS bob|",
            "MISS -|",
            "BYPASS ann|",
            "HIT -|",
        ]

    @pytest.mark.parametrize("scope", [Scope.USER, Scope.SHARED])
    async def test_one_that_the_route_names_is_part_of_the_key(self, world: World, scope: Scope) -> None:
        cache = CachePolicy(scope=scope, credentials=("X-Auth-Token", "x-own"))
        await world.serve(
            Echo("x-auth-token", "x-own", cache_control=FRESH), policy=RoutePolicy(timeout=QUICK, cache=cache)
        )
        ann, bob = ({"headers": [("X-Auth-Token", owner)]} for owner in ("ann", "bob"))
        own = {"headers": [("X-Own", "ann")]}
        first = ["MISS ann|-|", "MISS bob|-|", "MISS -|ann|", "MISS -|-|"]
        assert await bodies(world, ann, bob, own, {}) == first
        assert await bodies(world, ann, bob, own, {}) == [text.replace("MISS", "HIT") for text in first]

    async def test_one_that_selects_a_variant_is_known(self, cache_world: World) -> None:
        cache = CachePolicy(scope=Scope.SHARED, vary=("X-Auth-Token",))
        await cache_world.serve(Echo("x-auth-token"), policy=RoutePolicy(timeout=QUICK, cache=cache))
        ann, bob = ({"headers": [("X-Auth-Token", owner)]} for owner in ("ann", "bob"))
        assert await bodies(cache_world, ann, bob, ann, bob) == ["MISS ann|", "MISS bob|", "HIT ann|", "HIT bob|"]

    async def test_an_empty_list_says_that_there_are_none(self, cache_world: World) -> None:
        cache = CachePolicy(scope=Scope.SHARED, credentials=())
        await cache_world.serve(Echo(), policy=RoutePolicy(timeout=QUICK, cache=cache))
        tokens = [{"headers": [("X-CSRF-Token", value)]} for value in ("1", "2")]
        assert await bodies(cache_world, *tokens) == ["MISS ", "HIT "]

    @pytest.mark.parametrize(
        ("cache_control", "policy", "verdict"),
        [
            (None, OPEN, "MISS"),
            (None, SHARED, "HIT"),
            ("max-age=60", OPEN, "HIT"),
            ("s-maxage=60", OPEN, "HIT"),
            ("public", OPEN, "HIT"),
            ("must-revalidate", OPEN, "MISS"),
            (None, RoutePolicy(timeout=QUICK), "HIT"),
            (None, RoutePolicy(auth=Auth.OPTIONAL, timeout=QUICK), "HIT"),
        ],
    )
    async def test_an_anonymous_response_is_stored_only_if_it_says_how_long_it_is_fresh(
        self, cache_world: World, cache_control: str | None, policy: RoutePolicy, verdict: str
    ) -> None:
        response = reply(cache_control=cache_control) if cache_control else reply()
        await cache_world.serve(response, policy=policy)
        for expected in ("MISS", verdict):
            assert (await cache_world.request("GET", PATH)).get("x-cache") == expected

    async def test_an_anonymous_caller_of_an_optional_route_too(self, cache_world: World) -> None:
        await cache_world.serve(reply(), policy=RoutePolicy(auth=Auth.OPTIONAL, timeout=QUICK))
        for _ in range(2):
            response = await cache_world.request("GET", PATH, key="")
            assert response.get("x-cache") == "MISS"
            assert "no explicit lifetime" in str(response.get("cache-status"))


class TestCredentialsInResponses:
    """Some backends hand out sessions and tokens in fields of their own, as others do in cookies."""

    @pytest.mark.parametrize(
        ("policy", "verdict"),
        [
            (SHARED, "MISS"),
            (OPEN, "MISS"),
            (RoutePolicy(timeout=QUICK, cache=CachePolicy(scope=Scope.TENANT)), "MISS"),
            (RoutePolicy(timeout=QUICK), "HIT"),
        ],
    )
    @pytest.mark.parametrize("name", ["x_csrf_token", "access_token", "authorization", "set_cookie2"])
    async def test_are_stored_for_one_caller_alone(
        self, cache_world: World, name: str, policy: RoutePolicy, verdict: str
    ) -> None:
        await cache_world.serve(reply(200, b"ann", cache_control=FRESH, **{name: "of ann"}), policy=policy)
        for expected in ("MISS", verdict):
            assert (await cache_world.request("GET", PATH)).get("x-cache") == expected

    async def test_a_field_that_the_backend_withholds_from_caches_is_left_out(self, cache_world: World) -> None:
        response = reply(cache_control='max-age=60, no-cache="x-csrf-token"', x_csrf_token="of ann")
        await cache_world.serve(response, policy=SHARED)
        responses = [await cache_world.request("GET", PATH) for _ in range(2)]
        tokens = [(response.get("x-cache"), response.get("x-csrf-token")) for response in responses]
        assert tokens == [("MISS", "of ann"), ("HIT", None)]


class TestFieldsThatSelectAResponse:
    """Many backends do not name in Vary what decides which version, part or mask of a resource they send."""

    @pytest.mark.parametrize(
        "name", ["X-Goog-FieldMask", "Accept-Profile", "Stripe-Version", "Prefer", "HX-Request", "X-Requested-With"]
    )
    async def test_are_part_of_the_key(self, world: World, name: str) -> None:
        await world.serve(Echo(name.lower(), cache_control=FRESH), policy=SHARED)
        one, two = ({"headers": [(name, value)]} for value in ("1", "2"))
        assert await bodies(world, {}, one, two, {}, one, two) == [
            "MISS -|",
            "MISS 1|",
            "MISS 2|",
            "HIT -|",
            "HIT 1|",
            "HIT 2|",
        ]

    async def test_select_variants_where_the_policy_says_so(self, cache_world: World) -> None:
        policy = RoutePolicy(timeout=QUICK, cache=CachePolicy(vary=("prefer",)))
        await cache_world.serve(Echo("prefer", cache_control=FRESH), policy=policy)
        one = {"headers": [("Prefer", "count=exact")]}
        assert await bodies(cache_world, {}, one, {}, one) == [
            "MISS -|",
            "MISS count=exact|",
            "HIT -|",
            "HIT count=exact|",
        ]

    async def test_do_not_count_where_the_policy_says_so(self, cache_world: World) -> None:
        policy = RoutePolicy(timeout=QUICK, cache=CachePolicy(ignore_vary=("x-requested-with",)))
        await cache_world.serve(Echo("x-requested-with", cache_control=FRESH), policy=policy)
        script = {"headers": [("X-Requested-With", "XMLHttpRequest")]}
        assert await bodies(cache_world, script, {}) == ["MISS XMLHttpRequest|", "HIT XMLHttpRequest|"]


class TestFieldsThatEndAtTheGateway:
    async def test_a_field_that_connection_lists_selects_no_variant(self, cache_world: World) -> None:
        await cache_world.serve(Echo("accept-language", cache_control=FRESH, vary="Accept-Language"), policy=SHARED)
        french = {"headers": [("Accept-Language", "fr")]}
        kept = {"headers": [("Accept-Language", "fr"), ("Connection", "close, accept-language")]}
        assert await bodies(cache_world, kept, french, kept, {}) == ["MISS -|", "MISS fr|", "HIT -|", "HIT -|"]

    async def test_nor_is_it_part_of_the_key(self, cache_world: World) -> None:
        await cache_world.serve(Echo("cookie", cache_control=FRESH))
        ann = {"headers": [("Cookie", "s=ann")]}
        kept = {"headers": [("Cookie", "s=ann"), ("Connection", "cookie")]}
        assert await bodies(cache_world, kept, ann, kept, {}) == ["MISS -|", "MISS s=ann|", "HIT -|", "HIT -|"]


class TestEventStreams:
    @pytest.mark.parametrize(
        "media_type",
        [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "multipart/x-mixed-replace;boundary=x",
            "application/grpc+proto",
        ],
    )
    async def test_are_never_stored(self, cache_world: World, media_type: str) -> None:
        await cache_world.serve(reply(content_type=media_type, cache_control=FRESH), policy=SHARED)
        for _ in range(2):
            assert (await cache_world.request("GET", PATH)).get("x-cache") == "MISS"

    @pytest.mark.parametrize("field", [("Last-Event-ID", "7"), ("Accept", "text/event-stream")])
    async def test_a_request_for_one_bypasses_the_cache(self, world: World, field: tuple[str, str]) -> None:
        await world.serve(Echo("last-event-id", cache_control=FRESH))
        assert await bodies(world, {}, {"headers": [field]}, {}) == [
            "MISS -|",
            f"BYPASS {'7' if field[1] == '7' else '-'}|",
            "HIT -|",
        ]

    async def test_a_second_reader_is_released_as_soon_as_the_head_shows_it(self, cache_world: World) -> None:
        head_sent, last = asyncio.Event(), asyncio.Event()

        async def stream(peer: Peer) -> None:
            if head_sent.is_set():
                await peer.send(reply(200, b"second", content_type="text/event-stream"))
                return
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata")
            head_sent.set()
            await last.wait()
            await peer.send(b": 1\n\n")

        await cache_world.serve(stream)
        first = asyncio.ensure_future(cache_world.request("GET", PATH))
        await asyncio.wait_for(head_sent.wait(), 5)
        async with asyncio.timeout(1):
            assert (await cache_world.request("GET", PATH)).body == b"second"
        last.set()
        assert (await first).body == b"data: 1\n\n"


class TestConfirmations:
    """A 304 may say that what was stored for all is not for all any more."""

    STALE = RoutePolicy(timeout=QUICK, retries=Retries(attempts=1), cache=CachePolicy(scope=Scope.SHARED))

    async def statuses(self, world: World, confirmation: bytes) -> list[int]:
        """Of a request, one that gets this 304, and another caller's while the backend fails."""
        first, down = reply(200, b"first", cache_control="max-age=0", etag='"1"'), reply(503)
        await world.serve(first, b'HTTP/1.1 304 Same\r\nETag: "1"\r\n' + confirmation, down, policy=self.STALE)
        keys = (world.key, world.key, world.other_key)
        return [(await world.request("GET", PATH + "/a", key=key)).status for key in keys]

    @pytest.mark.parametrize("field", ["Cache-Control: private", "Vary: X-Gateway-Caller", "Vary: *"])
    async def test_one_that_forbids_to_store_ends_what_is_stored(self, cache_world: World, field: str) -> None:
        confirmation = field.encode() + b"\r\nSet-Cookie: a=b\r\n\r\n"
        assert await self.statuses(cache_world, confirmation) == [200, 200, 503]

    @pytest.mark.parametrize("field", ["Set-Cookie: a=b", "X-CSRF-Token: ann", "Cache-Control: max-age=0"])
    async def test_any_other_does_not(self, cache_world: World, field: str) -> None:
        assert await self.statuses(cache_world, field.encode() + b"\r\n\r\n") == [200, 200, 200]

    async def test_one_that_varies_by_the_caller_is_for_that_caller(self, cache_world: World) -> None:
        confirmation = b'HTTP/1.1 304 Same\r\nETag: "1"\r\nCache-Control: max-age=60\r\nVary: X-Gateway-Caller\r\n\r\n'
        second = reply(200, b"second", cache_control=FRESH, vary="X-Gateway-Caller")
        first = reply(200, b"first", cache_control="max-age=0", etag='"1"')
        await cache_world.serve(first, confirmation, second, policy=self.STALE)
        keys = (cache_world.key, cache_world.key, cache_world.other_key)
        bodies = [(await cache_world.request("GET", PATH + "/a", key=key)).body for key in keys]
        assert bodies == [b"first", b"first", b"second"]


class TestConfiguration:
    """What the backend would respond after a change of the configuration is not what is stored."""

    async def change(self, world: World, **changes: Any) -> None:
        (service,) = world.live.table.services.values()
        world.live.table = RouteTable([msgspec.structs.replace(service, **changes)])

    async def get(self, world: World) -> ReceivedResponse:
        return await world.request("GET", PATH + "/a")

    async def test_another_target_has_other_responses(self, cache_world: World) -> None:
        await cache_world.serve(reply(200, b"staging", cache_control=FRESH))
        assert (await self.get(cache_world)).body == b"staging"
        async with ScriptedOrigin(reply(200, b"production", cache_control=FRESH)) as production:
            await self.change(cache_world, targets=(production.target,))
            assert (await self.get(cache_world)).body == b"production"

    @pytest.mark.parametrize(
        "changes",
        [
            {"headers": ((b"authorization", b"Bearer new"),)},
            {"forward_authorization": True},
            {"cache": CachePolicy(vary=("x-country",))},
            {"cache": CachePolicy(tags=("a",))},
            {"cache": CachePolicy(scope=Scope.SHARED)},
        ],
        ids="-".join,
    )
    async def test_so_has_another_setting_that_backends_see(self, cache_world: World, changes: dict[str, Any]) -> None:
        await cache_world.serve(reply(cache_control=FRESH))
        assert [(await self.get(cache_world)).get("x-cache") for _ in range(2)] == ["MISS", "HIT"]
        (service,) = cache_world.live.table.services.values()
        await self.change(cache_world, policy=msgspec.structs.replace(service.policy, **changes))
        assert (await self.get(cache_world)).get("x-cache") == "MISS"

    async def test_so_has_a_service_that_was_removed_and_made_again(self, cache_world: World) -> None:
        await cache_world.serve(reply(cache_control=FRESH))
        await self.get(cache_world)
        await self.change(cache_world, incarnation=7)
        assert (await self.get(cache_world)).get("x-cache") == "MISS"

    async def test_a_canary_has_responses_of_its_own(self, cache_world: World) -> None:
        """Else what it answers to its few callers would be stored for all."""
        world = cache_world
        usual = await world.serve(reply(200, b"usual", cache_control=FRESH), policy=SHARED)
        async with ScriptedOrigin(reply(200, b"canary", cache_control=FRESH)) as canary:
            await self.change(world, targets=(usual.target, msgspec.structs.replace(canary.target, canary=50)))
            points = {f"192.0.2.{n}": canary_point("crm", f"192.0.2.{n}") for n in range(1, 9)}
            for verdicts in ({"MISS", "HIT"}, {"HIT"}):
                found = {client: await world.request("GET", PATH + "/a", key="", client=client) for client in points}
                received = {client: response.body for client, response in found.items()}
                assert received == {each: b"canary" if point < 50 else b"usual" for each, point in points.items()}
                assert {response.get("x-cache") for response in found.values()} == verdicts
            assert len(usual.requests) == len(canary.requests) == 1

    async def test_what_a_canary_answers_for_want_of_other_targets_is_not_stored(self, cache_world: World) -> None:
        """Else all callers would get it, long after the others have come back."""
        world = cache_world
        usual = await world.serve(reply(200, b"usual", cache_control=FRESH), policy=SHARED)
        async with ScriptedOrigin(reply(200, b"canary", cache_control=FRESH)) as canary:
            targets = usual.target, msgspec.structs.replace(canary.target, canary=50)
            client = next(each for n in range(1, 99) if canary_point("crm", each := f"192.0.2.{n}") >= 50)

            async def get(target: Target) -> tuple[bytes, str | None]:
                await self.change(world, targets=(target, targets[1]))
                response = await world.request("GET", PATH + "/a", key="", client=client)
                return response.body, response.get("x-cache")

            disabled = msgspec.structs.replace(usual.target, weight=0)
            assert [await get(disabled), await get(disabled)] == [(b"canary", "MISS")] * 2
            assert [await get(usual.target), await get(disabled)] == [(b"usual", "MISS"), (b"usual", "HIT")]

    def test_a_server_by_another_name_or_for_another_client_has_other_responses(self) -> None:
        """A renewed certificate keeps what is stored."""
        ca, policy = InternalCa(), RoutePolicy()

        def identity(**tls: Any) -> bytes:
            target = Target("https://192.0.2.1", tls=TlsPolicy(**tls) if tls else None)
            return backend_identity(Service("crm", (target,)), policy, b"")

        first, renewed, other = ca.client("a"), ca.client("a"), ca.client("b")
        known = [
            identity(),
            identity(server_name="a.example"),
            identity(server_name="b.example"),
            identity(certificate=first.pem, key=first.key_pem),
            identity(certificate=other.pem, key=other.key_pem),
            identity(certificate=other.pem, key=other.key_pem, server_name="a.example"),
        ]
        assert len(set(known)) == len(known)
        assert identity(certificate=renewed.pem, key=renewed.key_pem) == known[3]
        assert identity(ca=ca.pem) == known[0]

    async def test_weights_health_and_lifetimes_keep_what_is_stored(self, cache_world: World) -> None:
        await cache_world.serve(reply(cache_control=FRESH))
        await self.get(cache_world)
        (service,) = cache_world.live.table.services.values()
        (target,) = service.targets
        await self.change(
            cache_world,
            targets=(msgspec.structs.replace(target, weight=9, always_up=True),),
            policy=msgspec.structs.replace(
                service.policy, max_concurrency=3, cache=CachePolicy(ttl=7, stale_if_error=9)
            ),
        )
        assert (await self.get(cache_world)).get("x-cache") == "HIT"


class TestMisdirectedRequests:
    ALLOWED = ("gateway.test", ".example.org", "[::1]")

    @pytest.fixture(params=["http1", "asgi"])
    async def world(self, request: pytest.FixtureRequest) -> Any:
        world = make_world(request.param, GatewayRules(allowed_hosts=self.ALLOWED))
        await world.serve(Echo("x-forwarded-host", cache_control=FRESH), policy=SHARED, hosts=("crm.example.com",))
        yield world
        await world.close()

    @pytest.mark.parametrize(
        "host", ["evil.example", "gateway.test.evil.example", "127.0.0.1", "[::2]", "xexample.org"]
    )
    @pytest.mark.parametrize("path", [PATH + "/a", "/api/v1/", "/api/v1/nothing"])
    async def test_are_refused_whoever_sends_them(self, world: World, host: str, path: str) -> None:
        for key in (world.key, ""):
            for _ in range(2):
                response = await world.request("GET", path, host=host, key=key)
                assert (response.status, response.json()["code"]) == (421, "misdirected_request")
        assert not world.origins[0].requests

    @pytest.mark.parametrize(
        "host",
        [
            "gateway.test",
            "GATEWAY.test:8000",
            "gateway.test.",
            "example.org",
            "a.b.example.org:1",
            "[::1]:8000",
            "[::1]",
        ],
    )
    async def test_allowed_hosts_match_as_djangos(self, world: World, host: str) -> None:
        assert (await world.request("GET", PATH + "/a", host=host)).body == host.encode() + b"|"

    @pytest.mark.parametrize("host", ["crm.example.com", "CRM.example.com:443", "crm.example.com."])
    async def test_a_services_own_host_is_served(self, world: World, host: str) -> None:
        assert (await world.request("GET", "/a", host=host)).status == 200
        assert (await world.request("GET", "/a", host=host)).get("x-cache") == "HIT"


async def test_keys_hold_no_secret_of_the_configuration(cache_world: World) -> None:
    """A key derives from a configured credential by a keyed digest only."""
    await cache_world.serve(reply(), policy=RoutePolicy(headers=((b"authorization", b"Bearer secret"),)))
    (service,) = cache_world.live.table.services.values()
    one, other = (backend_identity(service, service.policy, key) for key in (b"a" * 64, b"b" * 64))
    assert one != other
    assert backend_identity(service, msgspec.structs.replace(service.policy), b"a" * 64) == one

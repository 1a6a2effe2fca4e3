"""What selects a response besides its key: fields that backends read in other ways, forget to name, or misspell."""

import random

import pytest

from resilience.cache.policy import CachePolicy, KeyPolicy, Scope
from routing.router.policy import Auth, RoutePolicy
from routing.steps.cache import bypass
from tests.gateway.cache_steps import PATH
from tests.gateway.conftest import QUICK, World
from tests.gateway.entry_points import ReceivedResponse
from tests.origin import Peer

SHARED = RoutePolicy(auth=Auth.NONE, timeout=QUICK, cache=CachePolicy(scope=Scope.SHARED))
OPEN = RoutePolicy(auth=Auth.NONE, timeout=QUICK)
MALFORMED = ["x-lang cookie", "cookie; x-lang", '"x-lang"', "x-lang\t*", "*x-lang"]


class Backend:
    """Responds with the value of one request field, as a backend reads it that takes underscores for hyphens."""

    def __init__(self, field: str, *headers: tuple[str, str], lenient: bool = True) -> None:
        self.field = field.encode()
        self.headers = [("Cache-Control", "max-age=60"), *headers]
        self.lenient = lenient

    async def __call__(self, peer: Peer) -> None:
        fields = [(k.replace(b"_", b"-") if self.lenient else k, v) for k, v in peer.request.fields]
        body = dict(fields).get(self.field, b"-")
        lines = ["HTTP/1.1 200 OK", *[f"{name}: {value}" for name, value in self.headers]]
        await peer.send("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)


async def ask(world: World, *fields: tuple[str, str], method: str = "GET") -> str:
    response: ReceivedResponse = await world.request(method, PATH + "/a", fields)
    return f"{response.get('x-cache')} {response.body.decode()}"


class TestUnderscores:
    """An entry in the cache must not be that of a client that writes `Accept_Language`."""

    @pytest.mark.parametrize("lenient", [True, False], ids=["read as a hyphen", "not read"])
    async def test_select_a_variant_of_their_own(self, world: World, lenient: bool) -> None:
        backend = Backend("accept-language", ("Vary", "Accept-Language"), lenient=lenient)
        await world.serve(backend, policy=SHARED)
        read = "fr" if lenient else "-"
        assert await ask(world, ("Accept_Language", "fr")) == f"MISS {read}"
        assert await ask(world) == "MISS -"
        assert await ask(world, ("Accept-Language", "fr")) == "MISS fr"
        assert await ask(world, ("Accept_Language", "fr")) == f"HIT {read}"

    @pytest.mark.parametrize("lenient", [True, False], ids=["read as a hyphen", "not read"])
    async def test_are_another_field_of_the_key(self, cache_world: World, lenient: bool) -> None:
        cache = CachePolicy(scope=Scope.SHARED, key=KeyPolicy(headers=("X-Team",)))
        await cache_world.serve(Backend("x-team", lenient=lenient), policy=RoutePolicy(timeout=QUICK, cache=cache))
        assert await ask(cache_world, ("X_Team", "red")) == f"MISS {'red' if lenient else '-'}"
        assert await ask(cache_world) == "MISS -"
        assert await ask(cache_world, ("X-Team", "red")) == "MISS red"
        assert await ask(cache_world, ("X-Team", "red")) == "HIT red"

    @pytest.mark.parametrize("name", ["If_None_Match", "Cache_Control", "If_Range", "Last_Event_ID", "If_Match"])
    async def test_of_a_condition_or_a_directive_bypass_the_cache(self, cache_world: World, name: str) -> None:
        await cache_world.serve(Backend(name.lower().replace("_", "-")), policy=SHARED)
        assert await ask(cache_world) == "MISS -"
        assert await ask(cache_world, (name, "x")) == "BYPASS x"
        assert await ask(cache_world) == "HIT -"


@pytest.mark.parametrize("vary", MALFORMED)
async def test_a_response_with_a_malformed_vary_is_not_stored(cache_world: World, vary: str) -> None:
    await cache_world.serve(Backend("x-lang", ("Vary", vary)), policy=SHARED)
    assert await ask(cache_world, ("X-Lang", "fr")) == "MISS fr"
    assert await ask(cache_world) == "MISS -"


class TestContentCodings:
    """nginx compresses without `Vary: Accept-Encoding` by default."""

    async def test_a_coding_is_for_those_who_accept_it(self, world: World) -> None:
        await world.serve(Backend("accept-encoding", ("Content-Encoding", "gzip")), policy=SHARED)
        assert await ask(world, ("Accept-Encoding", "gzip")) == "MISS gzip"
        assert await ask(world) == "MISS -"
        assert await ask(world, ("Accept-Encoding", "gzip;q=1.0")) == "HIT gzip"
        assert await ask(world, ("Accept-Encoding", "gzip;q=0")) == "MISS gzip;q=0"

    async def test_identity_is_none(self, cache_world: World) -> None:
        await cache_world.serve(Backend("accept-encoding", ("Content-Encoding", "identity")), policy=SHARED)
        assert await ask(cache_world, ("Accept-Encoding", "gzip")) == "MISS gzip"
        assert await ask(cache_world) == "HIT gzip"

    async def test_ignore_vary_says_that_all_accept_it(self, cache_world: World) -> None:
        cache = CachePolicy(ignore_vary=("accept-encoding",))
        backend = Backend("accept-encoding", ("Content-Encoding", "gzip"))
        await cache_world.serve(backend, policy=RoutePolicy(timeout=QUICK, cache=cache))
        assert await ask(cache_world, ("Accept-Encoding", "gzip")) == "MISS gzip"
        assert await ask(cache_world) == "HIT gzip"


class TestOtherRanges:
    """PostgREST sends pages of rows with the status 200 and `Content-Range: 0-14/*`."""

    async def test_a_range_in_another_unit_has_a_response_of_its_own(self, cache_world: World) -> None:
        await cache_world.serve(Backend("range", ("Content-Range", "0-14/*")), policy=SHARED)
        first, second = ("Range", "0-14"), ("Range", "15-29")
        assert [await ask(cache_world, page) for page in (first, second)] == ["MISS 0-14", "MISS 15-29"]
        assert await ask(cache_world) == "MISS -"
        assert [await ask(cache_world, page) for page in (first, second)] == ["HIT 0-14", "HIT 15-29"]
        assert await ask(cache_world) == "HIT -"

    async def test_bytes_with_the_status_200_are_not_stored(self, cache_world: World) -> None:
        await cache_world.serve(Backend("range", ("Content-Range", "bytes 0-1/9")), policy=SHARED)
        assert await ask(cache_world, ("Range", "bytes=0-1")) == "MISS bytes=0-1"
        assert await ask(cache_world) == "MISS -"


async def test_a_prohibition_after_a_semicolon_holds_for_stale_responses_too(cache_world: World) -> None:
    backend = Backend("x-lang")
    backend.headers = [("Cache-Control", "max-age=60;private")]
    await cache_world.serve(backend, b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", policy=SHARED)
    assert await ask(cache_world, ("X-Lang", "fr")) == "MISS fr"
    assert (await cache_world.request("GET", PATH + "/a")).status == 503


async def test_a_backend_cannot_end_its_cache_control_at_the_gateway(cache_world: World) -> None:
    backend = Backend("x-lang", ("Connection", "cache-control"))
    backend.headers[0] = ("Cache-Control", "private")
    await cache_world.serve(backend, policy=SHARED)
    assert await ask(cache_world, ("X-Lang", "fr")) == "MISS fr"
    assert await ask(cache_world) == "MISS -"


class TestCredentialsByTheirNames:
    @pytest.mark.parametrize(
        "name",
        [
            "Stripe-Account",
            "Xero-Tenant-Id",
            "OpenAI-Organization",
            "X-Acme-Token",
            "X_Acme_Token",
            "X-Acme-Api-Key",
            "X-Octopus-ApiKey",
            "X-Acme-Session",
            "X-Auth-Acme",
            "X-ClickHouse-User",
            "es-security-runas-user",
            "__tenant",
            "Authorization-Token",
            "X-Userid",
            "X-Uid",
            "X_Project_Id",
            "X-User-Roles",
            "X-Member-Id",
            "X-Apigateway-Api-Userinfo",
            "Remote-Groups",
            "X-Email",
            "X-On-Behalf-Of",
        ],
    )
    async def test_any_that_looks_like_one_bypasses_the_cache(self, cache_world: World, name: str) -> None:
        field = name.lower().replace("_", "-")
        await cache_world.serve(Backend(field), policy=OPEN)
        assert await ask(cache_world) == "MISS -"
        for owner in ("ann", "bob"):
            assert await ask(cache_world, (name, owner)) == f"BYPASS {owner}"
        assert await ask(cache_world) == "HIT -"

    @pytest.mark.parametrize(
        "name",
        [
            "User-Agent",
            "X-Stripe-Client-User-Agent",
            "Idempotency-Key",
            "Sec-WebSocket-Key",
            "X-User-Timezone",
            "X-Goog-Api-Client",
            "X-Goog-User-Project",
            "X-Author",
            "X-Authority",
            "X-Api-Key",
            "X-Forwarded-User",
            "X-Keyboard",
            "X-Device-Id",
            "X-Wap-Profile",
            "X-Group-By",
            "X-Request-Uuid",
            "X-Spinner",
        ],
    )
    async def test_other_fields_are_not_part_of_the_key(self, cache_world: World, name: str) -> None:
        await cache_world.serve(Backend("x-none"), policy=RoutePolicy(timeout=QUICK))
        headers = () if name == "X-Api-Key" else ((name, "1"),)
        assert [await ask(cache_world, *headers) for _ in range(2)] == ["MISS -", "HIT -"]

    async def test_one_that_the_route_names_is_part_of_the_key(self, cache_world: World) -> None:
        cache = CachePolicy(credentials=("X-Acme-Token",))
        await cache_world.serve(Backend("x-acme-token"), policy=RoutePolicy(timeout=QUICK, cache=cache))
        owners = [("X-Acme-Token", owner) for owner in ("ann", "bob")]
        assert [await ask(cache_world, owner) for owner in owners * 2] == ["MISS ann", "MISS bob", "HIT ann", "HIT bob"]

    async def test_there_are_none_where_the_route_says_so(self, cache_world: World) -> None:
        cache = CachePolicy(credentials=())
        await cache_world.serve(Backend("x-none"), policy=RoutePolicy(timeout=QUICK, cache=cache))
        tokens = [("X-Acme-Token", value) for value in ("1", "2")]
        assert [await ask(cache_world, token) for token in tokens] == ["MISS -", "HIT -"]


class Bound:
    """Authenticates the connection by its first request, as IIS does with NTLM."""

    def __init__(self) -> None:
        self.users: dict[object, bytes] = {}

    async def __call__(self, peer: Peer) -> None:
        authorization = dict(peer.request.fields).get(b"authorization", b"")
        if authorization.lower().startswith((b"ntlm", b"negotiate")):
            self.users[peer.writer] = authorization
        user = self.users.get(peer.writer, b"nobody")
        await peer.send(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n" % len(user) + user)


async def test_event_streams_are_accepted_in_any_case(cache_world: World) -> None:
    await cache_world.serve(Backend("accept"), policy=SHARED)
    assert await ask(cache_world) == "MISS -"
    assert await ask(cache_world, ("Accept", "Text/Event-Stream")) == "BYPASS Text/Event-Stream"


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate", "negotiate"])
async def test_a_connection_that_a_caller_has_authenticated_is_for_no_other(world: World, scheme: str) -> None:
    policy = RoutePolicy(auth=Auth.NONE, timeout=QUICK, forward_authorization=True)
    backend = Bound()
    origin = await world.serve(backend, policy=policy)
    assert await ask(world) == "MISS nobody"
    ann = await world.request("GET", PATH + "/a", [("Authorization", f"{scheme} YW5u")], key="")
    assert ann.body.decode() == f"{scheme} YW5u"
    assert await ask(world) == "MISS nobody"
    assert await ask(world) == "MISS nobody"
    assert origin.connections == 2  # others go on sharing theirs


def test_names_that_clients_invent_are_remembered_within_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    known: set[bytes] = set()
    monkeypatch.setattr(bypass, "PLAIN_FIELDS", known)
    assert bypass.has_plain_fields({b"x" * 30_000: b""})
    assert known == set()
    for number in range(bypass.MAX_PLAIN_FIELDS + 10):
        assert bypass.has_plain_fields({b"x-%d" % number: b""})
    assert len(known) == bypass.MAX_PLAIN_FIELDS
    assert not bypass.has_plain_fields({b"x-acme-token": b""})


FIELDS = {
    "X-Lang": ["1", "2"],
    "x_lang": ["1", "2"],
    "Accept-Language": ["de", "en"],
    "accept_language": ["de", "en"],
    "Accept-Encoding": ["gzip", "br"],
    "Cookie": ["a=1", "b=2", "a=1; sessionid=staff"],
    "X-Team": ["1", "2"],
    "x_team": ["1", "2"],
    "Range": ["bytes=0-3", "items=0-1", "0-9"],
    "Connection": ["x-lang", "close, x-team", "cookie", "accept-language, accept-encoding"],
    "X-Acme-Token": ["ann", "bob"],
    "If_None_Match": ['"a"'],
}
OF_ONE_REQUEST = {b"x-request-id", b"traceparent", b"x-gateway-timeout-ms", b"cache-control", b"host"}


async def test_a_hit_is_what_the_backend_would_say_to_this_very_request(cache_world: World) -> None:
    """The backend says all that it was sent, and what it varies by."""

    async def say(peer: Peer) -> None:
        body = repr(sorted(field for field in peer.request.fields if field[0] not in OF_ONE_REQUEST)).encode()
        vary = b"Vary: X-Lang, Accept-Language, Accept-Encoding, Cookie, Range\r\n"
        await peer.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n%b" % vary)
        await peer.send(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    cache = CachePolicy(scope=Scope.SHARED, key=KeyPolicy(headers=("X-Team",)), cookies=("a", "b"))
    policy = RoutePolicy(auth=Auth.NONE, timeout=QUICK, cache=cache)
    await cache_world.serve(say, policy=policy, hosts=("a.test",))
    pick, hits = random.Random(15), 0
    for _ in range(400):
        cache_world.clock.advance(0.1)
        fields = [(name, pick.choice(FIELDS[name])) for name in pick.sample([*FIELDS], pick.choice([0, 1, 1, 2, 3]))]
        host, path = pick.choice([("gateway.test", PATH + "/a"), ("gateway.test:80", PATH + "/a"), ("a.test", "/a")])
        response = await cache_world.request("GET", path, fields, host=host, key="")
        if response.get("x-cache") == "HIT" and response.status == 200:
            hits += 1
            fresh = [*fields, ("Cache-Control", "no-store")]
            assert response.body == (await cache_world.request("GET", path, fresh, host=host, key="")).body, fields
    assert hits > 50

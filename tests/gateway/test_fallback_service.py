"""A service whose fallback is another service, through each entry point."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.api_keys import ApiKeys, KeyRecord, generate_api_key
from routing.authentication.signatures.policy import SignaturePolicy
from routing.caller import Caller
from routing.consumers.policy import Plan, ServiceAccess
from routing.consumers.subscription import Subscription
from routing.errors import BadGateway
from routing.http import Request
from routing.router.fallback import fallback_match
from routing.router.policy import Auth, Fallback, Retries, RoutePolicy, Target, Timeout
from routing.router.table import Match, RoutePattern, RouteTable, Service
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.entry_points import ReceivedResponse
from tests.origin import Peer, Script, ScriptedOrigin
from tests.resilience.waiting import until

REPLICA = Fallback(service="replica", has_response=False)
POLICY = RoutePolicy(
    timeout=QUICK, fallback=REPLICA, cache=None, retries=Retries(attempts=1), breaker=BreakerPolicy(failure_threshold=3)
)
PLAIN = RoutePolicy(timeout=QUICK, cache=None)
PATH = "/api/v1/crm/x"


def reply(status: int, body: bytes = b"", *fields: bytes) -> bytes:
    head = b"HTTP/1.1 %d Status\r\nContent-Length: %d\r\n" % (status, len(body))
    return head + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


OTHER = reply(200, b"other")


async def reset(peer: Peer) -> None:
    await peer.read_body()
    peer.reset()


async def hang(peer: Peer) -> None:
    await peer.wait_closed()


async def serve(
    world: World,
    first: Script,
    second: Script = OTHER,
    *,
    policy: RoutePolicy = POLICY,
    other: RoutePolicy = PLAIN,
    routes: tuple[RoutePattern, ...] = (),
) -> tuple[ScriptedOrigin, ScriptedOrigin]:
    """The services crm and replica."""
    replica = await world.serve(second, name="replica", policy=other, routes=routes)
    return await world.serve(first, policy=policy), replica


async def open_circuit(world: World) -> None:
    await world.breakers.of("crm", POLICY.breaker).override(
        world.breakers.of("crm", POLICY.breaker).state().FORCED_OPEN
    )


def refusing() -> Target:
    """A target that accepts no connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Target(f"http://127.0.0.1:{server.getsockname()[1]}")


def outcome(response: ReceivedResponse) -> tuple[int, bytes, str | None]:
    return response.status, response.body, response.get("x-gateway-fallback")


FROM_OTHER = (200, b"other", "replica")


@pytest.mark.parametrize("failure", [reset, reply(500), reply(502), reply(503), reply(504)])
async def test_a_call_that_failed_goes_to_the_fallback(world: World, failure: Script) -> None:
    first, second = await serve(world, failure)
    assert outcome(await world.request("GET", PATH + "?q=1")) == FROM_OTHER
    assert [request.line for request in second.requests] == [b"GET /x?q=1 HTTP/1.1"]
    assert len(first.requests) == 1


async def test_what_is_no_failure_does_not_go_to_the_fallback(world: World) -> None:
    _, second = await serve(world, reply(404))
    assert outcome(await world.request("GET", PATH)) == (404, b"", None)
    assert not second.requests


async def test_a_call_that_timed_out_goes_to_the_fallback_within_the_time_that_is_left(world: World) -> None:
    policy = msgspec.structs.replace(POLICY, timeout=Timeout(connect=1, read=0.3, total=1.2))
    _, second = await serve(world, hang, policy=policy)
    assert outcome(await world.request("GET", PATH)) == FROM_OTHER
    timeout_ms = dict(second.requests[0].fields)[b"x-gateway-timeout-ms"]
    assert 0 < int(timeout_ms) <= 900
    await serve(world, hang, hang, policy=policy)
    started = asyncio.get_running_loop().time()
    assert (await world.request("GET", PATH)).status == 504
    assert asyncio.get_running_loop().time() - started < 3


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_an_open_circuit_goes_to_the_fallback_whatever_the_method(world: World, method: str) -> None:
    first, second = await serve(world, reply(200))
    await open_circuit(world)
    body = [b"ab", b"c"] if method in ("POST", "PUT") else None
    response = await world.request(method, PATH, body=body)
    assert outcome(response) == FROM_OTHER
    assert response.get("x-circuit-state") == "FORCED_OPEN"
    assert [request.body for request in second.requests] == [b"abc" if body else b""]
    assert not first.requests


async def test_a_body_that_was_sent_before_is_sent_again(world: World) -> None:
    async def read_body_and_fail(peer: Peer) -> None:
        await peer.read_body()
        await peer.send(reply(503))

    _, second = await serve(world, read_body_and_fail)
    assert outcome(await world.request("PUT", PATH, body=[b"ab", b"c"])) == FROM_OTHER
    assert [request.body for request in second.requests] == [b"abc"]


@pytest.mark.parametrize("failure", [reset, reply(503)])
@pytest.mark.parametrize("fields", [[], [("Idempotency-Key", "k1")]])
async def test_a_write_that_was_sent_is_not_sent_again(world: World, failure: Script, fields: Any) -> None:
    _, second = await serve(world, failure)
    response = await world.request("POST", PATH, fields, body=[b"1"])
    assert response.status in (502, 503)
    assert not second.requests


async def test_a_write_that_was_never_sent_goes_to_the_fallback(world: World) -> None:
    _, second = await serve(world, OTHER)
    policy = msgspec.structs.replace(POLICY, retries=Retries(attempts=2, budget=1))
    world.add(Service("crm", (refusing(), refusing()), policy=policy))
    assert outcome(await world.request("POST", PATH, body=[b"1"])) == FROM_OTHER
    assert [request.body for request in second.requests] == [b"1"]


async def test_a_large_body_that_was_sent_is_not_sent_again(world: World) -> None:
    big = make_world("http1")
    try:
        big.gateway._gatekeeper._max_body_bytes = 200_000
        big.gateway._calls._max_body_bytes = 200_000
        _, second = await serve(big, reset)
        assert (await big.request("PUT", PATH, body=[b"x" * 50_000] * 3)).status == 502
        assert not second.requests
    finally:
        await big.close()


async def test_the_stale_response_comes_before_the_fallback(world: World) -> None:
    policy = msgspec.structs.replace(POLICY, cache=CachePolicy(scope=Scope.SHARED, ttl=10, stale_if_error=20))
    scripts = iter([reply(200, b"old")])

    async def once(peer: Peer) -> None:
        await peer.send(next(scripts, reply(503)))

    _, second = await serve(world, once, policy=policy)
    await world.request("GET", PATH)
    world.clock.advance(11)
    assert outcome(await world.request("GET", PATH)) == (200, b"old", None)
    await open_circuit(world)
    assert outcome(await world.request("GET", PATH)) == (200, b"old", None)
    assert not second.requests
    world.clock.advance(21)
    assert outcome(await world.request("GET", PATH)) == FROM_OTHER


async def test_its_response_is_never_stored(world: World) -> None:
    policy = msgspec.structs.replace(POLICY, cache=CachePolicy(scope=Scope.SHARED, ttl=300))
    response = reply(200, b"other", b"Cache-Control: public, max-age=600")
    other = msgspec.structs.replace(PLAIN, cache=CachePolicy(scope=Scope.SHARED))
    first, second = await serve(world, reply(503), response, policy=policy, other=other)
    responses = [await world.request("GET", PATH) for _ in range(3)]
    assert [outcome(response) for response in responses] == [FROM_OTHER] * 3
    assert {response.get("x-cache") for response in responses} == {"MISS"}
    assert responses[0].get("cache-status") == "gateway; fwd=uri-miss; detail=fallback"
    await world.request("GET", "/api/v1/replica/x")
    assert len(second.requests) == 4
    assert len(first.requests) == 3


async def test_a_write_through_the_fallback_invalidates_what_the_service_has_stored(world: World) -> None:
    policy = msgspec.structs.replace(POLICY, cache=CachePolicy(scope=Scope.SHARED, ttl=300))
    first, _ = await serve(world, reply(200, b"old"), policy=policy)
    await world.request("GET", PATH)
    await open_circuit(world)
    assert (await world.request("GET", PATH)).get("x-cache") == "HIT"
    assert outcome(await world.request("PUT", PATH, body=[b"1"])) == FROM_OTHER
    assert outcome(await world.request("GET", PATH)) == FROM_OTHER
    assert len(first.requests) == 1


async def test_requests_that_wait_for_one_fetch_each_get_the_fallbacks_response(
    world: World, waiting: Callable[[], int]
) -> None:
    go_on = asyncio.Event()

    async def fail_late(peer: Peer) -> None:
        await go_on.wait()
        await peer.send(reply(503))

    policy = msgspec.structs.replace(POLICY, cache=CachePolicy(scope=Scope.SHARED))
    first, second = await serve(world, fail_late, policy=policy)
    requests = [asyncio.create_task(world.request("GET", PATH)) for _ in range(5)]
    await until(lambda: bool(first.requests) and waiting() == 4)
    go_on.set()
    assert [outcome(response) for response in await asyncio.gather(*requests)] == [FROM_OTHER] * 5
    assert len(first.requests) == 1
    assert len(second.requests) == 5


async def test_the_header_fields_are_those_of_the_other_service(world: World) -> None:
    policy = msgspec.structs.replace(POLICY, headers=((b"authorization", b"Bearer first"), (b"x-first", b"1")))
    other = msgspec.structs.replace(PLAIN, headers=((b"x-token", b"second"),))
    first, second = await serve(world, reply(503), policy=policy, other=other)
    fields = [("Cookie", "sessionid=ours; mine=1"), ("X-Own", "kept")]
    await world.request("GET", PATH, fields)
    sent = dict(second.requests[0].fields)
    assert dict(first.requests[0].fields)[b"authorization"] == b"Bearer first"
    assert sent[b"x-token"] == b"second"
    assert sent[b"x-own"] == b"kept"
    assert sent[b"cookie"] == b"mine=1"
    assert sent[b"host"] == second.url.removeprefix("http://").encode()
    assert sent[b"x-forwarded-prefix"] == b"/api/v1/crm"
    assert sent[b"x-request-id"] == dict(first.requests[0].fields)[b"x-request-id"]
    assert not sent.keys() & {b"authorization", b"x-first", b"x-api-key"}


async def test_a_direct_request_keeps_its_own_prefix_after_a_fallback(world: World) -> None:
    _, second = await serve(world, reply(503))
    for path in ("/api/v1/replica/x", PATH, "/api/v1/replica/x"):
        await world.request("GET", path)
    prefixes = [dict(request.fields)[b"x-forwarded-prefix"] for request in second.requests]
    assert prefixes == [b"/api/v1/replica", b"/api/v1/crm", b"/api/v1/replica"]


async def test_the_callers_authorization_goes_where_the_other_service_wants_it(world: World) -> None:
    async def sent_to(policy: RoutePolicy, other: RoutePolicy) -> list[bytes | None]:
        origins = await serve(world, reply(503), policy=policy, other=other)
        await world.request("GET", PATH, [("Authorization", "Bearer theirs")])
        return [dict(origin.requests[0].fields).get(b"authorization") for origin in origins]

    forwarding = msgspec.structs.replace(POLICY, forward_authorization=True)
    assert await sent_to(forwarding, PLAIN) == [b"Bearer theirs", None]
    both = msgspec.structs.replace(PLAIN, forward_authorization=True)
    assert await sent_to(forwarding, both) == [b"Bearer theirs", b"Bearer theirs"]


async def test_redirects_stay_where_the_client_sees_the_service(world: World) -> None:
    _, second = await serve(world, reply(503), OTHER)
    second._scripts = [reply(302, b"", b"Location: %b/y" % second.url.encode())]
    assert (await world.request("GET", PATH)).get("location") == "/api/v1/crm/y"


@pytest.mark.parametrize(
    "other",
    [
        msgspec.structs.replace(PLAIN, scopes=("admin",)),
        msgspec.structs.replace(PLAIN, enabled=False),
    ],
    ids=["scopes", "disabled"],
)
async def test_it_gives_a_caller_no_more_than_a_request_of_their_own(world: World, other: RoutePolicy) -> None:
    own = generate_api_key()
    record = KeyRecord(prefix=own.prefix, digest=own.digest, name="crm only", scopes=frozenset({"crm", "replica"}))
    world.live.keys = ApiKeys([record])
    _, second = await serve(world, reply(503), other=other)
    assert (await world.request("GET", PATH, key=own.key)).status == 503
    assert not second.requests


async def test_a_key_for_the_first_service_alone_does_not_reach_the_other(world: World) -> None:
    own = generate_api_key()
    record = KeyRecord(prefix=own.prefix, digest=own.digest, name="crm only", scopes=frozenset({"crm"}))
    world.live.keys = ApiKeys([record])
    _, second = await serve(world, reply(503))
    assert (await world.request("GET", PATH, key=own.key)).status == 503
    assert not second.requests


def test_a_signature_by_looser_rules_does_not_reach_the_other() -> None:
    """Nor does a method that the caller's plan does not include there."""
    loose, caller = SignaturePolicy(components=("@method",)), Caller("signature+acme:k", scopes=frozenset({"*"}))
    signed = msgspec.structs.replace(POLICY, auth=Auth.SIGNATURE, signature=loose)
    for rules, is_found in ((loose, True), (None, False)):
        other = msgspec.structs.replace(PLAIN, auth=Auth.SIGNATURE, signature=rules)
        assert isinstance(fallback_of(signed, other, caller), Match) is is_found
    plan = Plan(name="p", services=(ServiceAccess("crm"), ServiceAccess("replica", ("GET",))))
    subscribed = Caller("key:a", scopes=frozenset({"*"}), subscription=Subscription(None, None, None, plan))
    for method, is_found in (("GET", True), ("HEAD", True), ("POST", False)):
        assert isinstance(fallback_of(POLICY, PLAIN, subscribed, method), Match) is is_found


def fallback_of(policy: RoutePolicy, other: RoutePolicy, caller: Caller, method: str = "GET") -> object:
    services = [Service(name, (refusing(),), policy=each) for name, each in (("crm", policy), ("replica", other))]
    table = RouteTable(services)
    return fallback_match(table, table.match("crm", method, b"/x"), method, caller)


async def test_an_anonymous_caller_does_not_reach_a_service_that_requires_a_credential(world: World) -> None:
    policy = msgspec.structs.replace(POLICY, auth=Auth.NONE)
    _, second = await serve(world, reply(503), policy=policy)
    assert (await world.request("GET", PATH, key="")).status == 503
    assert (await world.request("GET", PATH)).status == 503, "a credential that was never checked"
    assert not second.requests


async def test_the_other_services_routes_hold_for_every_spelling(world: World) -> None:
    guarded = RoutePattern("/admin", (), msgspec.structs.replace(PLAIN, scopes=("admin",)))
    own = generate_api_key()
    record = KeyRecord(prefix=own.prefix, digest=own.digest, name="k", scopes=frozenset({"crm", "replica"}))
    world.live.keys = ApiKeys([record])
    _, second = await serve(world, reply(503), routes=(guarded, RoutePattern("/only-post", ("POST",), PLAIN)))
    for path in ("/admin", "/admin/", "/%61dmin", "/only-post"):
        assert (await world.request("GET", f"/api/v1/crm{path}", key=own.key)).status == 503
    assert not second.requests
    assert outcome(await world.request("GET", PATH, key=own.key)) == FROM_OTHER


async def test_its_own_rate_limit_holds(world: World) -> None:
    other = msgspec.structs.replace(PLAIN, rate_limit=RatePolicy(2, 60))
    await serve(world, reply(503), other=other)
    statuses = [(await world.request("GET", PATH)).status for _ in range(4)]
    assert statuses == [200, 200, 503, 503]


async def test_its_own_circuit_holds_and_there_is_one_hop_only(world: World) -> None:
    third = await world.serve(OTHER, name="third")
    other = msgspec.structs.replace(
        PLAIN, fallback=Fallback(service="third", has_response=False), breaker=BreakerPolicy(failure_threshold=2)
    )
    _, second = await serve(world, reply(500, b"first"), reply(500, b"second"), other=other)
    responses = [outcome(await world.request("GET", PATH)) for _ in range(3)]
    assert responses == [(500, b"first", None)] * 3
    assert len(second.requests) == 2, "then its circuit is open"
    assert not third.requests
    assert outcome(await world.request("GET", "/api/v1/replica/x")) == (200, b"other", "third")


async def test_a_fallback_that_is_gone_or_is_the_service_itself_is_not_called(world: World) -> None:
    first = await world.serve(reply(503), policy=POLICY)
    assert (await world.request("GET", PATH)).status == 503
    itself = msgspec.structs.replace(POLICY, fallback=Fallback(service="crm", has_response=False))
    world.live.table = RouteTable([Service("crm", (first.target,), policy=itself)])
    assert (await world.request("GET", PATH)).status == 503
    assert len(first.requests) == 2


async def test_the_configured_response_comes_last(world: World) -> None:
    both = Fallback(service="replica", status=203, body="later")
    policy = msgspec.structs.replace(POLICY, fallback=both)
    await serve(world, reply(200), reply(503), policy=policy)
    await open_circuit(world)
    assert outcome(await world.request("GET", PATH)) == (203, b'"later"', None)
    await serve(world, reply(200), OTHER, policy=policy)
    assert outcome(await world.request("GET", PATH)) == FROM_OTHER


async def test_a_write_with_a_key_is_answered_again_from_the_fallbacks_response(world: World) -> None:
    policy = msgspec.structs.replace(POLICY, idempotency=True)
    first, second = await serve(world, reply(200), policy=policy)
    await open_circuit(world)
    fields = [("Idempotency-Key", "k1")]
    responses = [await world.request("POST", PATH, fields, body=[b"1"]) for _ in range(2)]
    assert [outcome(response) for response in responses] == [FROM_OTHER] * 2
    assert responses[1].get("idempotency-replayed") == "true"
    assert len(second.requests) == 1
    assert not first.requests


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"


async def test_an_event_stream_falls_back_before_its_head(world: World) -> None:
    await serve(world, reply(503), STREAM + b"0\r\n\r\n")
    assert outcome(await world.request("GET", PATH)) == (200, b"data: 1\n\n", "replica")


async def test_an_event_stream_that_has_begun_does_not_fall_back() -> None:
    async def cut(peer: Peer) -> None:
        await peer.send(STREAM)
        peer.reset()

    world = make_world("http1")
    _, second = await serve(world, cut)
    with contextlib.suppress(BadGateway):
        assert not (await world.request("GET", PATH)).complete
    assert not second.requests
    await world.close()


async def test_a_backend_cannot_say_that_a_response_is_a_fallbacks(world: World) -> None:
    await world.serve(reply(200, b"", b"X-Gateway-Fallback: forged"), policy=POLICY)
    assert (await world.request("GET", PATH)).get("x-gateway-fallback") is None


async def test_the_log_and_the_debug_field_say_what_happened(world: World) -> None:
    await serve(world, reply(503))
    response = await world.request("GET", PATH, [("X-Gateway-Debug", "1")])
    assert 'desc="replica"' in (response.get("x-gateway-debug") or "")
    event = world.observer.requests[-1]
    assert (event.service, event.fallback, event.status, event.code) == ("crm", "replica", 200, "")
    assert (event.call, event.reason) == ("bad_gateway", "status 503")
    await open_circuit(world)
    await world.request("GET", PATH)
    assert (world.observer.requests[-1].call, world.observer.requests[-1].fallback) == ("circuit_open", "replica")


async def test_a_refresh_in_the_background_and_a_warming_request_do_not_fall_back(world: World) -> None:
    policy = msgspec.structs.replace(
        POLICY, cache=CachePolicy(scope=Scope.SHARED, ttl=10, stale_while_revalidate=100, stale_if_error=0)
    )
    scripts = iter([reply(200, b"old")])

    async def once(peer: Peer) -> None:
        await peer.send(next(scripts, reply(503)))

    first, second = await serve(world, once, policy=policy)
    await world.request("GET", PATH)
    world.clock.advance(11)
    assert (await world.request("GET", PATH)).body == b"old"
    await until(lambda: len(first.requests) == 2)
    await asyncio.sleep(0.05)
    assert not second.requests
    request = Request("GET", PATH.encode() + b"2", b"", [(b"host", b"localhost")], "127.0.0.1")
    assert (await world.gateway.refetch(request)).status == 503
    assert not second.requests


async def test_no_slot_of_either_service_is_lost(world: World) -> None:
    limited = {"max_concurrency": 2}
    policy, other = (msgspec.structs.replace(each, **limited) for each in (POLICY, PLAIN))
    policy = msgspec.structs.replace(policy, breaker=BreakerPolicy(failure_threshold=1000))
    await serve(world, reply(500), policy=policy, other=other)
    for _ in range(12):
        assert outcome(await world.request("GET", PATH)) == FROM_OTHER
    await serve(world, reply(500, b"1"), reply(500), policy=policy, other=other)
    for _ in range(4):
        assert outcome(await world.request("GET", PATH)) == (500, b"1", None)

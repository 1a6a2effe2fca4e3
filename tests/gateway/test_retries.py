"""Several targets, retries and one deadline, as seen by a client and a backend."""

import contextlib
import socket
from collections import Counter

import msgspec
import pytest

from resilience.breaker.policy import BreakerPolicy
from routing.balancing.rules import EJECT_AFTER, EJECT_AFTER_NO_RESPONSE, canary_point
from routing.observability.events import BackendEventKind
from routing.router.policy import Auth, Retries, RoutePolicy, Target, Timeout
from routing.router.table import Service
from tests.gateway.conftest import QUICK, World, make_world
from tests.origin import Peer, ScriptedOrigin
from tests.routing.backend.crossing import Crossing

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PLAIN = RoutePolicy(timeout=QUICK, cache=None)


def failing(status: int) -> bytes:
    return b"HTTP/1.1 %d Oops\r\nContent-Length: 0\r\n\r\n" % status


async def reset_connection(peer: Peer) -> None:
    peer.reset()


async def read_and_reset(peer: Peer) -> None:
    await peer.read_body()
    peer.reset()


async def serve_two_targets(
    world: World, first: object, second: object, policy: RoutePolicy = PLAIN
) -> list[ScriptedOrigin]:
    """A service over two scripted targets."""
    origins = [await world.serve(script, name=f"t{n}") for n, script in enumerate((first, second))]  # type: ignore[arg-type]
    world.add(Service("crm", tuple(origin.target for origin in origins), policy=policy))
    return origins


async def test_a_call_whose_connection_was_reset_is_retried_on_the_other_target(world: World) -> None:
    await serve_two_targets(world, reset_connection, OK)
    for _ in range(10):
        assert (await world.request("GET", "/api/v1/crm/x")).status == 200
    assert not world.observer.circuits


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_gateway_error_of_one_target_is_retried_on_the_other(world: World, status: int) -> None:
    await serve_two_targets(world, failing(status), OK)
    assert {(await world.request("GET", "/api/v1/crm/x")).status for _ in range(8)} == {200}


@pytest.mark.parametrize("script", [reset_connection, failing(503)])
async def test_a_canary_gets_no_retries_of_others_callers(world: World, script: object) -> None:
    policy = msgspec.structs.replace(PLAIN, auth=Auth.NONE)
    _, canary = await serve_two_targets(world, script, OK, policy)
    service = world.live.table.services["crm"]
    targets = (service.targets[0], msgspec.structs.replace(canary.target, canary=50))
    world.add(msgspec.structs.replace(service, targets=targets))
    by_share = {canary_point("crm", client) < 50: client for client in map("192.0.2.{}".format, range(20))}
    for is_canarys, client in by_share.items():
        before = len(canary.requests)
        response = await world.request("GET", "/api/v1/crm/x", key="", client=client)
        assert (response.status == 200, len(canary.requests) - before) == (is_canarys, is_canarys)


async def test_a_500_and_the_503_of_the_only_target_are_not_retried(world: World) -> None:
    origin = await world.serve(failing(503), policy=PLAIN)
    assert (await world.request("GET", "/api/v1/crm/x")).status == 503
    assert len(origin.requests) == 1
    origins = await serve_two_targets(world, failing(500), failing(500))
    assert (await world.request("GET", "/api/v1/crm/x")).status == 500
    assert sum(len(origin.requests) for origin in origins) == 1


async def test_a_post_is_retried_only_with_an_idempotency_key(world: World) -> None:
    origins = await serve_two_targets(world, read_and_reset, read_and_reset)
    assert (await world.request("POST", "/api/v1/crm/x", body=[b"1"])).status == 502
    assert sum(len(origin.requests) for origin in origins) == 1
    assert (await world.request("POST", "/api/v1/crm/x", [("Idempotency-Key", "k1")], body=[b"1"])).status == 502
    assert sum(len(origin.requests) for origin in origins) == 3


@pytest.mark.parametrize(
    ("method", "body"), [("POST", None), ("POST", [b"ab", b"c"]), ("PATCH", [b"ab", b"c"]), ("GET", None)]
)
async def test_a_request_whose_connection_is_refused_goes_to_the_next_target(
    world: World, method: str, body: list[bytes] | None
) -> None:
    live = await world.serve(OK, name="t1")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        refusing = Target(f"http://127.0.0.1:{bound.getsockname()[1]}")
        unknown = Target("http://no-such-name.invalid")
        for first in (refusing, unknown):
            world.add(Service("crm", (first, live.target), policy=PLAIN))
            for _ in range(64):  # which of the two is called first is random
                assert (await world.request(method, "/api/v1/crm/x", body=body)).status == 200
                if world.observer.requests[-1].retries:
                    break
    assert {request.body for request in live.requests} == {b"".join(body or ())}
    reasons = {event.detail for event in world.observer.events if event.kind is BackendEventKind.RETRIED}
    assert "connection refused" in reasons


@pytest.mark.parametrize("world", ["http1", "asgi"], indirect=True)
@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_post_that_crosses_the_end_of_its_connection_is_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    """Nothing of it has arrived, and it is no failure of the target."""
    crossing = Crossing(monkeypatch, OK)

    async def respond(peer: Peer) -> None:
        await peer.read_body()
        await peer.send(OK)

    policy = RoutePolicy(timeout=QUICK, retries=Retries(attempts=attempts))
    origin = await world.serve(crossing.keep, respond, policy=policy)
    for body in (b"1", b"2"):
        assert (await world.request("POST", "/api/v1/crm/x", body=[body])).status == 200
    assert [request.body for request in origin.requests] == [b"1", b"2"]
    assert (origin.connections, world.observer.requests[-1].retries) == (2, 0)
    assert not world.observer.events


async def test_a_post_whose_bytes_were_read_is_not_repeated(world: World) -> None:
    """Neither on another target nor on a new connection to the same one, whose kept connection was closed."""

    async def serve_once(peer: Peer) -> None:
        await peer.send(OK)

    async def cut(peer: Peer) -> None:
        await peer.read_body()
        peer.close()

    origin = await world.serve(serve_once, cut, OK, policy=PLAIN)
    assert (await world.request("POST", "/api/v1/crm/x", body=[b"1"])).status == 200
    assert (await world.request("POST", "/api/v1/crm/x", body=[b"2"])).status == 502
    assert [request.body for request in origin.requests][1:] == [b"2"]


async def test_why_a_call_failed_is_logged_and_shown_to_a_debugging_caller_only(world: World) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        world.add(Service("crm", (Target(f"http://127.0.0.1:{bound.getsockname()[1]}"),), policy=PLAIN))
        debugging = await world.request("GET", "/api/v1/crm/x", [("X-Gateway-Debug", "1")])
        plain = await world.request("GET", "/api/v1/crm/x", [("X-Gateway-Debug", "1")], key=world.other_key)
    assert [request.reason for request in world.observer.requests][:1] == ["connection refused"]
    assert "connection refused" in (debugging.get("x-gateway-debug") or "")
    for response in (debugging, plain):
        assert "refused" not in response.json()["detail"]
    assert plain.get("x-gateway-debug") is None
    assert not any(b"refused" in value for _, value in plain.headers)


async def test_why_a_body_broke_off_is_logged() -> None:
    async def cut(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
        peer.close()

    world = make_world("asgi")
    await world.serve(cut, policy=PLAIN)
    with contextlib.suppress(Exception):
        await world.request("GET", "/api/v1/crm/x")
    await world.close()
    event = world.observer.requests[-1]
    assert (event.aborted, event.reason) == ("bad_gateway", "connection closed during the response")


async def test_a_put_is_retried_with_its_whole_body(world: World) -> None:
    origins = await serve_two_targets(world, read_and_reset, read_and_reset)
    await world.request("PUT", "/api/v1/crm/x", body=[b"ab", b"c"])
    assert [origin.requests[0].body for origin in origins] == [b"abc", b"abc"]


async def test_a_failing_target_is_ejected_and_gets_no_more_calls(world: World) -> None:
    policy = RoutePolicy(
        timeout=QUICK, cache=None, retries=Retries(attempts=1), breaker=BreakerPolicy(failure_threshold=1_000)
    )
    failing_origin, _ = await serve_two_targets(world, failing(500), OK, policy)
    for _ in range(60):
        await world.request("GET", "/api/v1/crm/x")
    assert len(failing_origin.requests) == EJECT_AFTER
    assert [event.target for event in world.observer.events if event.kind is BackendEventKind.EJECTED] == [
        failing_origin.url
    ]


async def test_killing_one_of_two_targets_fails_no_request(world: World) -> None:
    """Idempotent requests, while one target goes away."""
    doomed, _ = await serve_two_targets(world, OK, OK)
    statuses = Counter[int]()
    for number in range(200):
        if number == 50:
            await doomed.__aexit__()
        statuses[(await world.request("GET", "/api/v1/crm/x")).status] += 1
    assert statuses == {200: 200}
    kinds = Counter(event.kind for event in world.observer.events)
    assert kinds == {BackendEventKind.RETRIED: EJECT_AFTER_NO_RESPONSE, BackendEventKind.EJECTED: 1}
    assert kinds[BackendEventKind.RETRIED] <= 0.2 * 200


async def test_retries_stop_when_the_budget_is_used_up(world: World) -> None:
    policy = RoutePolicy(timeout=QUICK, cache=None, retries=Retries(attempts=5, budget=0.0))
    origins = await serve_two_targets(world, reset_connection, OK, policy)
    statuses = Counter([(await world.request("GET", "/api/v1/crm/x")).status for _ in range(20)])
    assert statuses[502] == len(origins[0].requests) == EJECT_AFTER_NO_RESPONSE


async def test_no_retry_is_made_into_an_open_circuit(world: World) -> None:
    async def open_circuit(peer: Peer) -> None:
        breaker = world.breakers.of("crm", policy.breaker)
        await breaker.override(breaker.state().FORCED_OPEN, reason="now")
        peer.reset()

    policy = RoutePolicy(timeout=QUICK, cache=None)
    origins = await serve_two_targets(world, open_circuit, open_circuit, policy)
    assert (await world.request("GET", "/api/v1/crm/x")).status == 502
    assert sum(len(origin.requests) for origin in origins) == 1


async def test_a_half_open_probe_is_not_retried(world: World) -> None:
    policy = RoutePolicy(
        timeout=QUICK, cache=None, retries=Retries(attempts=1), breaker=BreakerPolicy(failure_threshold=1)
    )
    origins = await serve_two_targets(world, reset_connection, reset_connection, policy)
    await world.request("GET", "/api/v1/crm/x")
    retried = RoutePolicy(timeout=QUICK, cache=None, retries=Retries(attempts=3), breaker=policy.breaker)
    world.add(Service("crm", tuple(origin.target for origin in origins), policy=retried))
    world.clock.advance(60)
    await world.request("GET", "/api/v1/crm/x")
    assert sum(len(origin.requests) for origin in origins) == 2


async def test_a_target_of_weight_zero_gets_no_calls_even_if_the_other_is_down(world: World) -> None:
    failing_origin, drained = await world.serve(reset_connection, name="t0"), await world.serve(OK, name="t1")
    world.add(Service("crm", (failing_origin.target, Target(drained.url, 0)), policy=PLAIN))
    for _ in range(4):
        assert (await world.request("GET", "/api/v1/crm/x")).status == 502
    assert drained.requests == []


async def test_with_all_targets_of_weight_zero_the_service_is_disabled(world: World) -> None:
    origin = await world.serve(OK, name="t0")
    world.add(Service("crm", (Target(origin.url, 0),), policy=PLAIN))
    responses = [await world.request("GET", "/api/v1/crm/x") for _ in range(8)]
    assert {response.json()["code"] for response in responses} == {"service_disabled"}


async def test_a_call_to_a_hanging_target_is_retried_elsewhere_within_one_deadline(world: World) -> None:
    async def hang(peer: Peer) -> None:
        await peer.wait_closed()

    policy = RoutePolicy(timeout=Timeout(connect=2, read=0.2, total=10), cache=None)
    origins = await serve_two_targets(world, hang, OK, policy)
    for _ in range(64):  # which of the two is called first is random
        assert (await world.request("GET", "/api/v1/crm/x")).status == 200
        if origins[0].requests:
            break
    remaining = [int(dict(request.fields)[b"x-gateway-timeout-ms"]) for request in origins[1].requests]
    assert all(0 < milliseconds <= 10_000 for milliseconds in remaining)
    assert min(remaining) <= 9_800
    assert (world.observer.requests[-1].target, world.observer.requests[-1].retries) == (origins[1].url, 1)


async def test_the_remaining_time_is_set_by_the_gateway_and_shown_to_a_debugging_caller(world: World) -> None:
    origin = await world.serve(OK, policy=PLAIN)
    headers = [("X-Gateway-Timeout-Ms", "1"), ("X_Gateway_Timeout_Ms", "2"), ("X-Gateway-Debug", "1")]
    response = await world.request("GET", "/api/v1/crm/x", headers)
    fields = [value for name, value in origin.requests[0].fields if name.replace(b"_", b"-") == b"x-gateway-timeout-ms"]
    assert len(fields) == 1
    assert 9_000 < int(fields[0]) <= 10_000
    debug = response.get("x-gateway-debug") or ""
    assert "attempt-1" in debug
    assert "of 10000 ms left" in debug
    assert str(origin.port) not in debug


async def test_refused_calls_are_reported_as_events(world: World) -> None:
    await world.serve(
        failing(500), policy=RoutePolicy(timeout=QUICK, cache=None, breaker=BreakerPolicy(failure_threshold=1))
    )
    for _ in range(3):
        await world.request("GET", "/api/v1/crm/x")
    assert [(event.kind, event.detail) for event in world.observer.events] == [
        (BackendEventKind.REFUSED, "circuit_open")
    ] * 2

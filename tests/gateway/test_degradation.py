"""What counts as a failure, and what callers get if a service cannot be called."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from resilience.breaker.machine import State
from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy
from routing.caller import Caller
from routing.http import ClientGone, Request
from routing.observability.events import BackendEventKind
from routing.router.policy import Fallback, Retries, RoutePolicy, Target, Timeout
from routing.router.table import RoutePattern, Service
from routing.upstream.registry import RESERVE
from tests.gateway.conftest import QUICK, World
from tests.origin import Peer, Script, ScriptedOrigin
from tests.resilience.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ONE_ATTEMPT = Retries(attempts=1)
SENSITIVE = BreakerPolicy(failure_threshold=1)


def reply(status: int) -> bytes:
    return b"HTTP/1.1 %d Word\r\nContent-Length: 0\r\n\r\n" % status


def sensitive(**more: Any) -> RoutePolicy:
    """A policy whose circuit opens at the first failure."""
    return RoutePolicy(**{"timeout": QUICK, "cache": None, "retries": ONE_ATTEMPT, "breaker": SENSITIVE, **more})


def state(world: World) -> State:
    return world.breakers.of("crm", SENSITIVE).state()


async def hang(peer: Peer) -> None:
    await peer.wait_closed()


async def reset_connection(peer: Peer) -> None:
    peer.reset()


# Failures (contract section 6)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_status_that_counts_as_a_failure(world: World, status: int) -> None:
    await world.serve(reply(status), policy=sensitive())
    assert (await world.request("GET", "/api/v1/crm/x")).status == status
    assert state(world) is State.OPEN


@pytest.mark.parametrize("status", [200, 204, 301, 304, 400, 401, 403, 404, 408, 409, 422, 429, 501, 505, 507])
async def test_a_status_that_does_not_count_as_a_failure(world: World, status: int) -> None:
    await world.serve(reply(status), policy=sensitive())
    assert (await world.request("GET", "/api/v1/crm/x")).status == status
    assert state(world) is State.CLOSED


@pytest.mark.parametrize(("script", "status"), [(reset_connection, 502), (hang, 504), (b"no HTTP\r\n\r\n", 502)])
async def test_a_reset_a_timeout_or_a_malformed_response_is_a_failure(world: World, script: Any, status: int) -> None:
    await world.serve(script, policy=sensitive(timeout=Timeout(connect=2, read=0.1, total=10)))
    assert (await world.request("GET", "/api/v1/crm/x")).status == status
    assert state(world) is State.OPEN


async def test_a_route_may_have_its_own_slow_call_threshold(world: World) -> None:
    async def respond_late(peer: Peer) -> None:
        await asyncio.sleep(0.05)
        await peer.send(OK)

    slow = sensitive(breaker=BreakerPolicy(failure_threshold=1, slow_call=0.01))
    await world.serve(respond_late, policy=sensitive(), routes=(RoutePattern("/quick", (), slow),))
    assert (await world.request("GET", "/api/v1/crm/report")).status == 200
    assert state(world) is State.CLOSED
    assert (await world.request("GET", "/api/v1/crm/quick")).status == 200
    assert state(world) is State.OPEN


@pytest.mark.parametrize("world", ["asgi"], indirect=True)
async def test_a_cancelled_probe_has_no_outcome_and_returns_its_permit(world: World) -> None:
    origin = await world.serve(reply(500), hang, hang, OK, policy=sensitive())
    await world.request("GET", "/api/v1/crm/x")
    world.clock.advance(60)
    for number in (2, 3):
        probe = asyncio.create_task(world.request("GET", "/api/v1/crm/x"))
        await until(lambda number=number: len(origin.requests) == number)  # type: ignore[misc]
        probe.cancel()
        await asyncio.wait([probe])
    assert state(world) is State.HALF_OPEN
    await until(lambda: not world.breakers.of("crm", SENSITIVE).snapshot.leases)
    assert [(await world.request("GET", "/api/v1/crm/x")).status for _ in range(2)] == [200] * 2
    assert state(world) is State.CLOSED


async def test_the_gateways_own_errors_are_not_failures_of_the_backend(world: World) -> None:
    async def abort_upload(_: Any = None) -> Any:
        yield b"a"
        raise ClientGone

    origin = await world.serve(hang, policy=sensitive(timeout=Timeout(connect=2, read=5, total=10)))
    too_large = await world.request("POST", "/api/v1/crm/x", body=[b"a" * 600, b"b" * 600], length=False)
    assert too_large.status == 413
    fields, caller = [(b"host", b"h")], Caller("key:a")
    upload = Request("POST", b"/api/v1/crm/x", b"", fields, "192.0.2.1", body=abort_upload(), caller=caller)
    await world.gateway.handle(upload)
    world.add(Service("crm", (Target(origin.url, 0),), policy=sensitive()))
    assert (await world.request("GET", "/api/v1/crm/x")).json()["code"] == "service_disabled"
    assert state(world) is State.CLOSED


# Retries


async def test_one_retry_budget_is_shared_by_all_routes_of_a_service(world: World) -> None:
    policy = RoutePolicy(timeout=QUICK, cache=None, breaker=BreakerPolicy(failure_threshold=1_000))
    routes = (RoutePattern("/a", (), policy), RoutePattern("/b", (), policy))
    origin = await world.serve(reset_connection, policy=policy, routes=routes)
    for number in range(60):
        await world.request("GET", f"/api/v1/crm/{'ab'[number % 2]}")
    retries_made = len(origin.requests) - 60
    assert RESERVE <= retries_made <= RESERVE + 0.2 * 60
    assert Counter(event.kind for event in world.observer.events)[BackendEventKind.RETRIED] == retries_made


async def test_backoff_is_drawn_from_a_doubling_range(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses, sleep = list[float](), asyncio.sleep

    async def record_sleep(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr("routing.steps.retries.random.random", lambda: 0.5)
    monkeypatch.setattr("routing.steps.retries.asyncio.sleep", record_sleep)
    await world.serve(reset_connection, policy=sensitive(retries=Retries(attempts=8), breaker=BreakerPolicy()))
    await world.request("GET", "/api/v1/crm/x")
    assert [pause for pause in pauses if pause] == [0.025, 0.05, 0.1, 0.2, 0.4, 0.5, 0.5]


async def test_no_retry_is_made_past_the_deadline(world: World) -> None:
    async def reset_late(peer: Peer) -> None:
        await asyncio.sleep(0.1)
        peer.reset()

    policy = sensitive(timeout=Timeout(connect=2, read=5, total=0.5), retries=Retries(attempts=10))
    origin = await world.serve(reset_late, policy=policy)
    assert (await world.request("GET", "/api/v1/crm/x")).status in (502, 504)
    remaining = [int(dict(request.fields)[b"x-gateway-timeout-ms"]) for request in origin.requests]
    assert remaining == sorted(remaining, reverse=True)
    assert 500 >= remaining[0] > remaining[-1] > 0
    assert len(remaining) < 10


# Bulkhead


@pytest.mark.parametrize("world", ["asgi"], indirect=True)  # cancelling a call leaves Django's upload open
async def test_with_a_full_bulkhead_a_caller_gets_its_own_stale_response_or_an_error(world: World) -> None:
    async def respond_once_then_hang(peer: Peer) -> None:
        if len(origin.requests) == 1:
            await peer.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=10\r\nContent-Length: 3\r\n\r\nold")
        else:
            await hang(peer)

    policy = sensitive(cache=CachePolicy(stale_if_error=300), max_concurrency=1, timeout=Timeout(read=5, total=5))
    origin = await world.serve(respond_once_then_hang, policy=policy)
    await world.request("GET", "/api/v1/crm/x")
    world.clock.advance(11)
    others = [asyncio.create_task(world.request("GET", f"/api/v1/crm/{n}")) for n in range(2)]  # one calls, one queues
    await until(lambda: len(origin.requests) == 2)
    ours, theirs = await asyncio.gather(
        world.request("GET", "/api/v1/crm/x"), world.request("GET", "/api/v1/crm/x", key=world.other_key)
    )
    assert (ours.status, ours.get("x-cache"), ours.body) == (200, "STALE", b"old")
    assert (theirs.status, theirs.json()["code"], theirs.get("retry-after")) == (503, "overloaded", "1")
    assert len(origin.requests) == 2
    assert state(world) is State.CLOSED
    for other in others:
        other.cancel()
    await asyncio.wait(others)


# Stale response, fallback, error


async def test_stale_response_then_fallback_then_error(world: World) -> None:
    async def respond_once(peer: Peer) -> None:
        if peer.request.line == b"GET /kept HTTP/1.1" and not responded:
            responded.append(True)
            await peer.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=10\r\nContent-Length: 3\r\n\r\nold")
        else:
            await peer.send(reply(503))

    responded: list[bool] = []
    policy = sensitive(cache=CachePolicy(stale_if_error=20), fallback=Fallback(status=203, body={"items": []}))
    await world.serve(respond_once, policy=policy, routes=(RoutePattern("/bare", (), sensitive()),))
    await world.request("GET", "/api/v1/crm/kept")
    world.clock.advance(11)
    assert (await world.request("GET", "/api/v1/crm/other")).status == 503, "the backend's own response, while CLOSED"

    async def request_all() -> list[tuple[int, bytes]]:
        requests = [("/kept", world.key), ("/kept", world.other_key), ("/bare", world.key)]
        responses = [await world.request("GET", f"/api/v1/crm{path}", key=key) for path, key in requests]
        assert {response.get("x-circuit-state") for response in responses} == {"OPEN"}
        return [(response.status, response.body[:12]) for response in responses]

    assert await request_all() == [(200, b"old"), (203, b'{"items":[]}'), (503, b'{"type":"urn')]
    world.clock.advance(20)
    assert (await request_all())[0] == (203, b'{"items":[]}'), "older than stale-if-error"


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_fallback_without_content(world: World, status: int) -> None:
    await world.serve(reply(503), policy=sensitive(fallback=Fallback(status=status, body={"items": []})))
    await world.request("GET", "/api/v1/crm/a")
    for method in ("GET", "HEAD", "POST"):
        response = await world.request(method, "/api/v1/crm/a")
        assert (response.status, response.body, response.get("content-type")) == (status, b"", None)
        assert response.get("x-circuit-state") == "OPEN"


# Addresses and fields that a backend or caller cannot choose


async def test_redirects_are_returned_and_not_followed(world: World) -> None:
    other_host = await world.serve(OK, name="elsewhere")
    location = b"%s/latest/meta-data" % other_host.url.encode()
    for status in (301, 302, 303, 307, 308):
        head = b"HTTP/1.1 %d Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, location)
        await world.serve(head, policy=sensitive())
        response = await world.request("GET", "/api/v1/crm/x")
        assert (response.status, response.get("location")) == (status, location.decode())
    assert other_host.connections == 0


@pytest.mark.parametrize("path", ["//169.254.169.254/latest", "/@169.254.169.254/x", "/http://169.254.169.254/"])
async def test_no_path_leads_to_another_host(world: World, path: str) -> None:
    origin = await world.serve(OK)
    response = await world.request("GET", f"/api/v1/crm{path}")
    assert response.status in (200, 400)
    assert all(request.line.split(b" ")[1] == path.encode() for request in origin.requests)
    assert len(origin.requests) == (response.status == 200)


@pytest.mark.parametrize("name", ["a\r\nx-admin: 1", "a\nb", "\x00", "caf\xe9", "a b", "\u2028", "%0d%0a"])
async def test_a_callers_name_cannot_inject_a_field(world: World, name: str) -> None:
    origin = await world.serve(OK)
    caller = Caller(f"firebase:{name}", scopes=None)
    request = Request("GET", b"/api/v1/crm/x", b"", [(b"host", b"h")], "192.0.2.1", caller=caller)
    response = await world.gateway.handle(request)
    assert response.status == 200
    fields = origin.requests[0].fields
    assert next(value for key, value in fields if key == b"x-gateway-caller").startswith(b"firebase:")
    assert b"x-admin" not in dict(fields)
    if not isinstance(response.body, bytes):
        await response.body.aclose()


# Leaks


@pytest.mark.parametrize("world", ["asgi"], indirect=True)
async def test_no_call_leaks_a_slot_or_a_permit_whatever_its_outcome(world: World) -> None:
    async def send_half_and_close(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        peer.close()

    async def send_half_and_wait(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.wait_closed()

    scripts: dict[bytes, Script] = {
        b"ok": OK,
        b"500": reply(500),
        b"204": reply(204),
        b"cut": reset_connection,
        b"half": send_half_and_close,
        b"drip": send_half_and_wait,
    }

    async def play_script(peer: Peer) -> None:
        script = scripts.get(peer.request.line.split(b" ")[1].strip(b"/"), hang)
        await (peer.send(script) if isinstance(script, bytes) else script(peer))

    timeout = Timeout(connect=2, read=0.3, total=0.6)
    policy = RoutePolicy(timeout=timeout, max_concurrency=4, breaker=BreakerPolicy(failure_threshold=5))
    one, other = [await ScriptedOrigin(play_script).__aenter__() for _ in range(2)]
    world.origins += [one, other]
    world.add(Service("crm", (one.target, other.target), policy=policy))
    for _ in range(3):
        pending = [
            asyncio.create_task(world.request(method, f"/api/v1/crm/{path.decode()}"))
            for path in (*scripts, b"hang")
            for method in ("GET", "HEAD", "POST")
        ]
        await asyncio.sleep(0.05)
        for task in pending[::4]:
            task.cancel()
        await asyncio.wait(pending)
        world.clock.advance(61)
    await world.breakers.close()
    upstream = world.gateway._calls._upstreams.of(world.live.table.services["crm"])
    assert [target.outstanding for target in upstream.balancer._states] == [0, 0]
    assert (upstream.bulkhead.in_flight, len(upstream.bulkhead._queue)) == (0, 0)
    assert upstream.breaker.snapshot.leases == ()

"""What counts against a service, and what its callers are given when it cannot be called: rung by rung."""

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
from routing.router.table import Route, Service
from routing.upstream.retry_budget import RESERVE
from tests.gateway.conftest import QUICK, World
from tests.origin import Peer, Script, ScriptedOrigin
from tests.resilience.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ONCE = Retries(attempts=1)
TOUCHY = BreakerPolicy(failure_threshold=1)


def reply(status: int) -> bytes:
    return b"HTTP/1.1 %d Word\r\nContent-Length: 0\r\n\r\n" % status


def touchy(**more: Any) -> RoutePolicy:
    """A policy whose circuit opens at the first failure."""
    return RoutePolicy(**{"timeout": QUICK, "cache": None, "retries": ONCE, "breaker": TOUCHY, **more})


def state(world: World) -> State:
    return world.breakers.of("crm", TOUCHY).state()


async def hangs(peer: Peer) -> None:
    await peer.wait_closed()


async def cut(peer: Peer) -> None:
    peer.reset()


# What counts (contract section 6).


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_these_answers_are_failures(world: World, status: int) -> None:
    await world.serve(reply(status), policy=touchy())
    assert (await world.request("GET", "/api/v1/crm/x")).status == status
    assert state(world) is State.OPEN


@pytest.mark.parametrize("status", [200, 204, 301, 304, 400, 401, 403, 404, 408, 409, 422, 429, 501, 505, 507])
async def test_and_no_others(world: World, status: int) -> None:
    await world.serve(reply(status), policy=touchy())
    assert (await world.request("GET", "/api/v1/crm/x")).status == status
    assert state(world) is State.CLOSED


@pytest.mark.parametrize(("script", "status"), [(cut, 502), (hangs, 504), (b"no HTTP\r\n\r\n", 502)])
async def test_no_answer_in_time_or_none_at_all_is_a_failure(world: World, script: Any, status: int) -> None:
    await world.serve(script, policy=touchy(timeout=Timeout(connect=2, read=0.1, total=10)))
    assert (await world.request("GET", "/api/v1/crm/x")).status == status
    assert state(world) is State.OPEN


async def test_a_route_may_say_what_is_slow_for_itself(world: World) -> None:
    async def dawdles(peer: Peer) -> None:
        await asyncio.sleep(0.05)
        await peer.send(OK)

    slow = touchy(breaker=BreakerPolicy(failure_threshold=1, slow_call=0.01))
    await world.serve(dawdles, policy=touchy(), routes=(Route("/quick", (), slow),))
    assert (await world.request("GET", "/api/v1/crm/report")).status == 200
    assert state(world) is State.CLOSED
    assert (await world.request("GET", "/api/v1/crm/quick")).status == 200
    assert state(world) is State.OPEN


@pytest.mark.parametrize("world", ["asgi"], indirect=True)
async def test_a_client_that_goes_away_says_nothing_and_a_probes_permit_comes_back(world: World) -> None:
    origin = await world.serve(reply(500), hangs, hangs, OK, policy=touchy())
    await world.request("GET", "/api/v1/crm/x")
    world.clock.advance(60)
    for number in (2, 3):
        probe = asyncio.create_task(world.request("GET", "/api/v1/crm/x"))
        await until(lambda number=number: len(origin.requests) == number)  # type: ignore[misc]
        probe.cancel()
        await asyncio.wait([probe])
    assert state(world) is State.HALF_OPEN
    await until(lambda: not world.breakers.of("crm", TOUCHY).snapshot.leases)
    assert [(await world.request("GET", "/api/v1/crm/x")).status for _ in range(2)] == [200] * 2
    assert state(world) is State.CLOSED


async def test_the_gateways_own_refusals_say_nothing(world: World) -> None:
    async def leaves(_: Any = None) -> Any:
        yield b"a"
        raise ClientGone

    origin = await world.serve(hangs, policy=touchy(timeout=Timeout(connect=2, read=5, total=10)))
    too_large = await world.request("POST", "/api/v1/crm/x", body=[b"a" * 600, b"b" * 600], length=False)
    assert too_large.status == 413
    await world.gateway.handle(
        Request("POST", b"/api/v1/crm/x", b"", [(b"host", b"h")], "192.0.2.1", body=leaves(), caller=Caller("key:a"))
    )
    world.add(Service("crm", (Target(origin.url, 0),), policy=touchy()))
    assert (await world.request("GET", "/api/v1/crm/x")).json()["code"] == "service_disabled"
    assert state(world) is State.CLOSED


# Again.


async def test_one_budget_is_shared_by_all_of_a_services_routes(world: World) -> None:
    policy = RoutePolicy(timeout=QUICK, cache=None, breaker=BreakerPolicy(failure_threshold=1_000))
    origin = await world.serve(cut, policy=policy, routes=(Route("/a", (), policy), Route("/b", (), policy)))
    for number in range(60):
        await world.request("GET", f"/api/v1/crm/{'ab'[number % 2]}")
    again = len(origin.requests) - 60
    assert RESERVE <= again <= RESERVE + 0.2 * 60
    assert Counter(event.kind for event in world.observer.events)[BackendEventKind.RETRIED] == again


async def test_pauses_are_drawn_from_a_span_that_doubles(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses, sleep = list[float](), asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr("routing.steps.retries.random.random", lambda: 0.5)
    monkeypatch.setattr("routing.steps.retries.asyncio.sleep", noted)
    await world.serve(cut, policy=touchy(retries=Retries(attempts=8), breaker=BreakerPolicy()))
    await world.request("GET", "/api/v1/crm/x")
    assert [pause for pause in pauses if pause] == [0.025, 0.05, 0.1, 0.2, 0.4, 0.5, 0.5]


async def test_no_repeat_is_made_past_the_deadline(world: World) -> None:
    async def cut_late(peer: Peer) -> None:
        await asyncio.sleep(0.1)
        peer.reset()

    policy = touchy(timeout=Timeout(connect=2, read=5, total=0.5), retries=Retries(attempts=10))
    origin = await world.serve(cut_late, policy=policy)
    assert (await world.request("GET", "/api/v1/crm/x")).status in (502, 504)
    left = [int(dict(request.fields)[b"x-gateway-timeout-ms"]) for request in origin.requests]
    assert left == sorted(left, reverse=True)
    assert 500 >= left[0] > left[-1] > 0
    assert len(left) < 10


# A place.


@pytest.mark.parametrize("world", ["asgi"], indirect=True)  # a call that is cancelled leaves Django's upload open
async def test_a_full_service_refuses_at_once_and_gives_a_caller_its_own_stale_answer(world: World) -> None:
    async def once_then_hang(peer: Peer) -> None:
        if len(origin.requests) == 1:
            await peer.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=10\r\nContent-Length: 3\r\n\r\nold")
        else:
            await hangs(peer)

    policy = touchy(cache=CachePolicy(stale_if_error=300), max_concurrency=1, timeout=Timeout(read=5, total=5))
    origin = await world.serve(once_then_hang, policy=policy)
    await world.request("GET", "/api/v1/crm/x")
    world.clock.advance(11)
    others = [asyncio.create_task(world.request("GET", f"/api/v1/crm/{n}")) for n in range(2)]  # one calls, one waits
    await until(lambda: len(origin.requests) == 2)
    mine, theirs = await asyncio.gather(
        world.request("GET", "/api/v1/crm/x"), world.request("GET", "/api/v1/crm/x", key=world.other_key)
    )
    assert (mine.status, mine.get("x-cache"), mine.body) == (200, "STALE", b"old")
    assert (theirs.status, theirs.json()["code"], theirs.get("retry-after")) == (503, "overloaded", "1")
    assert len(origin.requests) == 2
    assert state(world) is State.CLOSED
    for other in others:
        other.cancel()
    await asyncio.wait(others)


# Stale, fallback, problem.


async def test_the_rungs_in_their_order(world: World) -> None:
    async def once(peer: Peer) -> None:
        if peer.request.line == b"GET /kept HTTP/1.1" and not kept:
            kept.append(True)
            await peer.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=10\r\nContent-Length: 3\r\n\r\nold")
        else:
            await peer.send(reply(503))

    kept: list[bool] = []
    policy = touchy(cache=CachePolicy(stale_if_error=20), fallback=Fallback(status=203, body={"items": []}))
    await world.serve(once, policy=policy, routes=(Route("/bare", (), touchy()),))
    await world.request("GET", "/api/v1/crm/kept")
    world.clock.advance(11)
    assert (await world.request("GET", "/api/v1/crm/other")).status == 503, "the backend's own answer, while CLOSED"

    async def rungs() -> list[tuple[int, bytes]]:
        asked = [("/kept", world.key), ("/kept", world.other_key), ("/bare", world.key)]
        answers = [await world.request("GET", f"/api/v1/crm{path}", key=key) for path, key in asked]
        assert {answer.get("x-circuit-state") for answer in answers} == {"OPEN"}
        return [(answer.status, answer.body[:12]) for answer in answers]

    assert await rungs() == [(200, b"old"), (203, b'{"items":[]}'), (503, b'{"type":"urn')]
    world.clock.advance(20)
    assert (await rungs())[0] == (203, b'{"items":[]}'), "too old to stand in"


# Where a backend cannot lead.


async def test_a_redirection_is_the_callers_to_follow(world: World) -> None:
    elsewhere = await world.serve(OK, name="elsewhere")
    location = b"%s/latest/meta-data" % elsewhere.url.encode()
    for status in (301, 302, 303, 307, 308):
        head = b"HTTP/1.1 %d Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, location)
        await world.serve(head, policy=touchy())
        answer = await world.request("GET", "/api/v1/crm/x")
        assert (answer.status, answer.get("location")) == (status, location.decode())
    assert elsewhere.connections == 0


@pytest.mark.parametrize("path", ["//169.254.169.254/latest", "/@169.254.169.254/x", "/http://169.254.169.254/"])
async def test_no_path_leads_to_another_host(world: World, path: str) -> None:
    origin = await world.serve(OK)
    answer = await world.request("GET", f"/api/v1/crm{path}")
    assert answer.status in (200, 400)
    assert all(request.line.split(b" ")[1] == path.encode() for request in origin.requests)
    assert len(origin.requests) == (answer.status == 200)


@pytest.mark.parametrize("name", ["a\r\nx-admin: 1", "a\nb", "\x00", "caf\xe9", "a b", "\u2028", "%0d%0a"])
async def test_a_callers_name_cannot_become_another_field(world: World, name: str) -> None:
    origin = await world.serve(OK)
    asked = Request(
        "GET", b"/api/v1/crm/x", b"", [(b"host", b"h")], "192.0.2.1", caller=Caller(f"firebase:{name}", scopes=None)
    )
    answer = await world.gateway.handle(asked)
    assert answer.status == 200
    fields = origin.requests[0].fields
    assert next(value for key, value in fields if key == b"x-gateway-caller").startswith(b"firebase:")
    assert b"x-admin" not in dict(fields)
    if not isinstance(answer.body, bytes):
        await answer.body.aclose()


# And nothing is left of it.


@pytest.mark.parametrize("world", ["asgi"], indirect=True)
async def test_whatever_became_of_a_call_it_holds_nothing_afterwards(world: World) -> None:
    async def breaks_off(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        peer.close()

    async def drips(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.wait_closed()

    scripts: dict[bytes, Script] = {
        b"ok": OK,
        b"500": reply(500),
        b"204": reply(204),
        b"cut": cut,
        b"half": breaks_off,
        b"drip": drips,
    }

    async def plays(peer: Peer) -> None:
        script = scripts.get(peer.request.line.split(b" ")[1].strip(b"/"), hangs)
        await (peer.send(script) if isinstance(script, bytes) else script(peer))

    timeout = Timeout(connect=2, read=0.3, total=0.6)
    policy = RoutePolicy(timeout=timeout, max_concurrency=4, breaker=BreakerPolicy(failure_threshold=5))
    one, other = [await ScriptedOrigin(plays).__aenter__() for _ in range(2)]
    world.origins += [one, other]
    world.add(Service("crm", (one.target, other.target), policy=policy))
    for _ in range(3):
        asking = [
            asyncio.create_task(world.request(method, f"/api/v1/crm/{path.decode()}"))
            for path in (*scripts, b"hang")
            for method in ("GET", "HEAD", "POST")
        ]
        await asyncio.sleep(0.05)
        for task in asking[::4]:
            task.cancel()
        await asyncio.wait(asking)
        world.clock.advance(61)
    await world.breakers.close()
    upstream = world.gateway._calls._upstreams.of(world.live.table.services["crm"])
    assert [standing.outstanding for standing in upstream.balancer._states] == [0, 0]
    assert (upstream.bulkhead.in_flight, len(upstream.bulkhead._queue)) == (0, 0)
    assert upstream.breaker.snapshot.leases == ()

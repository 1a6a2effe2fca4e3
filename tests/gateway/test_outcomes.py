"""Responses whose meaning their status does not tell, as seen by clients and backends."""

import asyncio
import gzip

import pytest

from metrics.counting.observer import call_outcome
from resilience.breaker.machine import State
from routing.messages.conditions import MAX_BODY
from routing.observability.events import BackendEventKind
from tests.gateway.backend_limits import OK, SLACK, answer, serve
from tests.gateway.conftest import World
from tests.origin import Peer

PATH = "/api/v1/slack/users.list"


def error(code: str) -> bytes:
    return answer({"ok": False, "error": code})


def circuit(world: World) -> State:
    return world.breakers.of("slack", world.live.table.services["slack"].policy.breaker).state()


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("internal_error", "failed"),
        ("fatal_error", "failed"),
        ("service_unavailable", "failed"),
        ("ratelimited", "limited"),
        ("token_expired", "ours"),
        ("invalid_auth", "ours"),
        ("token_revoked", "ours"),
        ("channel_not_found", "callers"),
        ("missing_scope", "callers"),
        ("not_in_channel", "callers"),
    ],
)
async def test_an_error_in_a_200_has_its_class(world: World, code: str, outcome: str) -> None:
    origin = await serve(world, error(code), outcome=SLACK, retries={"attempts": 1}, breaker={"failure_threshold": 1})
    response = await world.request("GET", PATH)
    assert (response.status, response.json()) == (200, {"ok": False, "error": code})
    assert "stored" not in (response.get("cache-status") or "")
    (request,) = world.observer.requests
    assert request.outcome == outcome
    assert call_outcome(request) == ("failure" if outcome == "failed" else "")
    assert circuit(world) is (State.OPEN if outcome == "failed" else State.CLOSED)
    rejected = [event for event in world.observer.events if event.kind is BackendEventKind.CREDENTIAL_REJECTED]
    assert bool(rejected) is (outcome == "ours")
    if outcome in ("ours", "callers"):
        await world.request("GET", PATH)
        assert len(origin.requests) == 2, "it was stored"


async def test_a_success_is_stored(world: World) -> None:
    origin = await serve(world, answer(OK), outcome=SLACK)
    assert [(await world.request("GET", PATH)).get("x-cache") for _ in range(2)] == ["MISS", "HIT"]
    assert len(origin.requests) == 1
    assert call_outcome(world.observer.requests[0]) == "success"


async def test_a_failure_is_retried_on_the_same_target(world: World) -> None:
    origin = await serve(world, error("fatal_error"), answer(OK), outcome=SLACK)
    response = await world.request("GET", PATH)
    assert (response.json(), len(origin.requests)) == (OK, 2)
    assert world.observer.requests[0].outcome == ""
    assert (await world.request("GET", PATH)).get("x-cache") == "HIT"


async def test_a_write_that_failed_is_not_retried(world: World) -> None:
    origin = await serve(world, error("fatal_error"), answer(OK), outcome=SLACK)
    response = await world.request("POST", PATH, body=[b"{}"])
    assert (response.json()["error"], len(origin.requests)) == ("fatal_error", 1)


async def test_a_failure_is_replaced_by_a_stale_response(world: World) -> None:
    cache = {"ttl": 10, "stale_if_error": 300}
    await serve(world, answer(OK), error("fatal_error"), outcome=SLACK, cache=cache)
    await world.request("GET", PATH)
    world.clock.advance(20)
    response = await world.request("GET", PATH)
    assert (response.json(), response.get("x-cache")) == (OK, "STALE")


async def test_a_failure_is_replaced_by_the_fallback_service(world: World) -> None:
    await serve(world, error("fatal_error"), outcome=SLACK, fallback={"service": "other"})
    await serve(world, answer({"ok": True, "from": "other"}), name="other")
    response = await world.request("GET", PATH)
    assert (response.json()["from"], response.get("x-gateway-fallback")) == ("other", "other")


async def test_a_status_can_be_declared_to_be_the_callers_fault(world: World) -> None:
    outcome = {"callers": {"status": 500, "body": {"error": "bad_input"}}}
    bad = answer({"error": "bad_input"}, 500)
    origin = await serve(world, bad, outcome=outcome, breaker={"failure_threshold": 1})
    assert [(await world.request("GET", PATH)).status for _ in range(3)] == [500] * 3
    assert (len(origin.requests), circuit(world)) == (3, State.CLOSED)


async def test_a_failed_response_is_not_kept_for_its_idempotency_key(world: World) -> None:
    route = {"path": "/chat.postMessage", "methods": ["POST"], "idempotency": True}
    origin = await serve(world, error("fatal_error"), answer(OK), outcome=SLACK, routes=[route])
    key = [("Idempotency-Key", "k1")]
    path = "/api/v1/slack/chat.postMessage"
    bodies = [(await world.request("POST", path, key, body=[b"{}"])).json() for _ in range(3)]
    assert ([body["ok"] for body in bodies], len(origin.requests)) == ([False, True, True], 2)


async def test_an_error_invalidates_nothing(world: World) -> None:
    routes = [
        {"path": "/post", "methods": ["POST"], "invalidates": ["list"]},
        {"path": "/*", "cache": {"tags": ["list"]}},
    ]
    origin = await serve(world, answer(OK), error("channel_not_found"), answer(OK), outcome=SLACK, routes=routes)
    await world.request("GET", PATH)
    await world.request("POST", "/api/v1/slack/post", body=[b"{}"])
    assert (await world.request("GET", PATH)).get("x-cache") == "HIT"
    await world.request("POST", "/api/v1/slack/post", body=[b"{}"])
    await world.request("GET", PATH)
    assert len(origin.requests) == 4


async def test_a_compressed_error_has_its_class(world: World) -> None:
    content = gzip.compress(b'{"ok": false, "error": "channel_not_found"}')
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    origin = await serve(world, head % len(content) + content, outcome=SLACK)
    response = await world.request("GET", PATH, [("Accept-Encoding", "br, zstd;q=0.9, gzip;q=0.5")])
    assert (response.body, world.observer.requests[0].outcome) == (content, "callers")
    assert dict(origin.requests[0].fields)[b"accept-encoding"] == b"gzip;q=0.5"


async def test_codings_are_left_alone_where_no_body_is_judged(world: World) -> None:
    origin = await serve(world, answer(OK), outcome={"limited": {"status": 429}})
    await world.request("GET", PATH, [("Accept-Encoding", "br, gzip")])
    assert dict(origin.requests[0].fields)[b"accept-encoding"] == b"br, gzip"


async def test_a_body_in_pieces_is_judged_as_a_whole(world: World) -> None:
    async def in_pieces(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b'{"ok": fal', b'se, "error": ', b'"channel_not_found"}'):
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0.01)
        await peer.send(b"0\r\n\r\n")

    await serve(world, in_pieces, outcome=SLACK)
    response = await world.request("GET", PATH)
    assert response.json()["error"] == "channel_not_found"
    assert world.observer.requests[0].outcome == "callers"


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_large_body_is_judged_by_its_head_and_passed_on_whole(world: World, chunked: bool) -> None:
    content = b'{"ok": false, "error": "' + b"x" * (MAX_BODY + 100_000) + b'"}'
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(content)
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content) if chunked else content
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%b\r\n\r\n" % framing
    await serve(world, head + framed, outcome=SLACK)
    response = await world.request("GET", PATH)
    assert response.body == content
    assert world.observer.requests[0].outcome == ""


async def test_a_stream_is_not_waited_for(world: World) -> None:
    first_part, rest = asyncio.Event(), asyncio.Event()

    async def stream(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        first_part.set()
        await rest.wait()
        peer.close()

    await serve(world, stream, outcome=SLACK)
    asking = asyncio.ensure_future(world.request("GET", PATH))
    await first_part.wait()
    rest.set()
    assert (await asking).body == b"data: 1\n\n"
    assert world.observer.requests[0].outcome == ""


async def test_a_body_that_breaks_off_while_it_is_judged_is_a_failure(world: World) -> None:
    async def broken(peer: Peer) -> None:
        await peer.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"ok"')
        peer.close()

    origin = await serve(world, broken, answer(OK), outcome=SLACK)
    response = await world.request("GET", PATH)
    assert (response.json(), len(origin.requests)) == (OK, 2)


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"ok": false, "n": NaN}', b"<html>", b"\xff\xfe{", b""],
)
async def test_a_body_that_is_no_json_is_passed_on(world: World, content: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
    await serve(world, head + content, outcome=SLACK)
    response = await world.request("GET", PATH)
    assert (response.status, response.body) == (200, content)


async def test_head_and_304_are_judged_by_their_heads(world: World) -> None:
    stored = answer(OK, etag='"1"')
    unchanged = b'HTTP/1.1 304 X\r\nETag: "1"\r\nContent-Type: application/json\r\n\r\n'
    await serve(
        world,
        stored,
        unchanged,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n",
        outcome=SLACK,
        cache={"ttl": 10},
    )
    await world.request("GET", PATH)
    world.clock.advance(20)
    response = await world.request("GET", PATH)
    assert (response.json(), response.get("x-cache")) == (OK, "REVALIDATED")
    assert (await world.request("HEAD", "/api/v1/slack/other")).status == 200


async def test_those_who_wait_for_a_failed_fetch_make_their_own(world: World) -> None:
    async def late(peer: Peer) -> None:
        await asyncio.sleep(0.05)
        await peer.send(error("channel_not_found"))

    origin = await serve(world, late, outcome=SLACK)
    responses = await asyncio.gather(*(world.request("GET", PATH) for _ in range(3)))
    assert {response.json()["error"] for response in responses} == {"channel_not_found"}
    assert len(origin.requests) == 3

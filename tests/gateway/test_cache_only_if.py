"""`cache.only_if`: a response is stored only if its status, header and JSON fields are as the route says."""

import asyncio
import gzip
from typing import Any

import msgspec
import pytest

from resilience.cache.policy import KeyPolicy
from routing.configuration.conditions import conditions
from routing.messages.conditions import MAX_BODY
from routing.router.policy import RoutePolicy
from tests.gateway.cache_steps import PATH, get, policy, reply, run_steps
from tests.gateway.conftest import World
from tests.gateway.entry_points import ReceivedResponse
from tests.gateway.test_coalescing import HeldReply, let_tasks_run
from tests.origin import Peer

JSON: dict[str, Any] = {"content_type": "application/json; charset=utf-8"}
OK = reply(200, b'{"ok":true,"channels":[]}', **JSON)
NOT_OK = reply(200, b'{"ok":false,"error":"channel_not_found"}', **JSON)


def only(condition: Any, **cache: Any) -> RoutePolicy:
    return policy(only_if=conditions(condition), **cache)


IF_OK = only({"body": {"ok": True}})


class TestStatusAndFields:
    async def test_a_response_that_matches_is_stored(self, world: World) -> None:
        await run_steps(world, [OK], [get("MISS"), get("HIT"), get("HIT")], IF_OK)

    async def test_any_other_is_passed_on(self, world: World) -> None:
        steps = [get("MISS", body=b'{"ok":false,"error":"channel_not_found"}'), get("MISS"), get("HIT")]
        await run_steps(world, [NOT_OK, OK], steps, IF_OK)

    async def test_cache_status_and_the_debug_field_say_so(self, world: World) -> None:
        await world.serve(NOT_OK, OK, policy=IF_OK)
        refused = await world.request("GET", PATH + "/x", [("X-Gateway-Debug", "1")])
        assert refused.get("cache-status") == ('gateway; fwd=uri-miss; detail="the response does not match only_if"')
        assert "the response does not match only_if" in (refused.get("x-gateway-debug") or "")
        stored = await world.request("GET", PATH + "/x")
        assert (stored.get("cache-status") or "").startswith("gateway; fwd=uri-miss; stored; ttl=")

    @pytest.mark.parametrize(
        ("condition", "is_stored"),
        [
            ({"status": 200}, True),
            ({"status": [201, 404]}, False),
            ({"header": {"X-Ok": True}}, True),
            ({"header": {"X-Ok": ["no", "yes"]}}, True),
            ({"header": {"X-Ok": "no"}}, False),
            ({"header": {"X-Error": False}, "body": {"ok": True}}, True),
            ([{"status": 404}, {"body": {"ok": [True, "yes"]}}], True),
            ({"body": {"ok": "true"}}, False),
            ({"body": {"data.0.id": 1}}, True),
        ],
    )
    async def test_all_parts_of_a_condition_must_match(
        self, cache_world: World, condition: Any, is_stored: bool
    ) -> None:
        response = reply(200, b'{"ok":true,"data":[{"id":1.0}]}', x_ok="yes", **JSON)
        await run_steps(cache_world, [response], [get("MISS"), get("HIT" if is_stored else "MISS")], only(condition))

    async def test_what_the_rules_forbid_stays_forbidden(self, cache_world: World) -> None:
        private = reply(200, b'{"ok":true}', cache_control="private", **JSON)
        await run_steps(cache_world, [private], [get("MISS"), get("MISS")], IF_OK)

    async def test_a_stored_response_stays_while_a_later_one_does_not_match(self, cache_world: World) -> None:
        fresh = reply(200, b'{"ok":true}', cache_control="max-age=10", **JSON)
        steps = [get("MISS"), get("MISS", 11, body=b'{"ok":false,"error":"channel_not_found"}'), get("STALE")]
        await run_steps(cache_world, [fresh, NOT_OK, reply(503)], steps, IF_OK)

    async def test_a_confirmation_is_judged_with_the_stored_body(self, cache_world: World) -> None:
        route = only({"header": {"X-State": "good"}, "body": {"ok": True}})
        fresh = reply(200, b'{"ok":true}', cache_control="max-age=10", etag='"1"', x_state="good", **JSON)
        same, other = reply(304, cache_control="max-age=10"), reply(304, cache_control="max-age=10", x_state="bad")
        steps = [get("MISS"), get("REVALIDATED", 11), get("HIT"), get("REVALIDATED", 11), get("REVALIDATED", 1)]
        await run_steps(cache_world, [fresh, same, other], steps, route)


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            (b'{"ok":true', JSON),
            (b'{"ok":true}', {"content_type": "text/plain"}),
            (b'{"ok":true}', {}),
            (b'\xff{"ok":true}', JSON),
            (b'{"ok":true}', {**JSON, "content_encoding": "br"}),
            (b'{"ok":true}', {**JSON, "content_encoding": "gzip"}),
            (b'{"ok":NaN}', JSON),
            (b'{"ok":' + b"[" * 100_000, JSON),
            (b'{"ok":true,"ok":false}', JSON),
            (b"", JSON),
        ],
    )
    async def test_one_that_cannot_be_judged_is_passed_on_and_not_stored(
        self, cache_world: World, body: bytes, fields: dict[str, Any]
    ) -> None:
        steps = [get("MISS", body=body), get("MISS", body=body)]
        await run_steps(cache_world, [reply(200, body, **fields)], steps, IF_OK)

    async def test_gzip_is_decoded(self, world: World) -> None:
        packed = gzip.compress(b'{"ok":true}')
        steps = [get("MISS", body=packed), get("HIT", body=packed)]
        await run_steps(world, [reply(200, packed, content_encoding="gzip", **JSON)], steps, IF_OK)

    async def test_the_backend_is_asked_only_for_codings_that_are(self, world: World) -> None:
        origin = await world.serve(OK, policy=IF_OK)
        await world.request("GET", PATH + "/x", [("Accept-Encoding", "br;q=1.0, gzip;q=0.8, zstd")])
        assert dict(origin.requests[0].fields)[b"accept-encoding"] == b"gzip;q=0.8"

    @pytest.mark.parametrize("is_chunked", [True, False])
    async def test_a_long_one_is_passed_on_whole(self, world: World, is_chunked: bool) -> None:
        body = b'{"ok":true,"text":"' + b"x" * MAX_BODY + b'"}'

        async def respond(peer: Peer) -> None:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            if not is_chunked:
                await peer.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                return
            await peer.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(body), 50_000):
                piece = body[start : start + 50_000]
                await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await peer.send(b"0\r\n\r\n")

        await world.serve(respond, policy=IF_OK)
        for _ in range(2):
            response = await world.request("GET", PATH + "/x")
            assert (response.get("x-cache"), response.body, response.complete) == ("MISS", body, True)

    async def test_one_of_the_largest_size_is_judged(self, cache_world: World) -> None:
        body = b'{"ok":true,"text":"' + b"x" * (MAX_BODY - 21) + b'"}'
        assert len(body) == MAX_BODY
        await run_steps(cache_world, [reply(200, body, **JSON)], [get("MISS", body=body), get("HIT", body=body)], IF_OK)

    async def test_one_that_arrives_in_pieces_is_judged_whole(self, cache_world: World) -> None:
        async def respond(peer: Peer) -> None:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in (b'{"ok"', b":tr", b"ue}"):
                await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                await let_tasks_run()
            await peer.send(b"0\r\n\r\n")

        await cache_world.serve(respond, policy=IF_OK)
        for expected in ("MISS", "HIT"):
            response = await cache_world.request("GET", PATH + "/x")
            assert (response.get("x-cache"), response.body) == (expected, b'{"ok":true}')

    async def test_one_that_breaks_off_is_a_bad_gateway_or_a_stale_response(self, world: World) -> None:
        async def break_off(peer: Peer) -> None:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
            peer.close()

        fresh = reply(200, b'{"ok":true}', cache_control="max-age=10", **JSON)
        await run_steps(world, [fresh, break_off], [get("MISS"), get("STALE", 11), get("STALE")], IF_OK)  # type: ignore[list-item]
        response = await world.request("GET", PATH + "/y")
        assert (response.status, response.json()["code"]) == (502, "bad_gateway")

    async def test_a_stream_is_not_waited_for(self, world: World) -> None:
        async def respond(peer: Peer) -> None:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}\n\n")
            peer.close()

        await world.serve(respond, policy=IF_OK)
        response = await world.request("GET", PATH + "/x")
        assert (response.status, response.body) == (200, b"data: {}\n\n")


class TestFetches:
    async def gather(self, world: World, held: HeldReply, count: int) -> list[ReceivedResponse]:
        pending = [asyncio.create_task(world.request("GET", PATH + "/x")) for _ in range(count)]
        await held.requested.wait()
        await let_tasks_run()
        held.go.set()
        return await asyncio.gather(*pending)

    async def test_those_who_wait_share_one_that_matches(self, cache_world: World) -> None:
        held = HeldReply(OK)
        origin = await cache_world.serve(held, policy=IF_OK)
        responses = await self.gather(cache_world, held, 10)
        assert len(origin.requests) == 1
        assert {response.status for response in responses} == {200}

    async def test_and_get_their_own_in_place_of_one_that_does_not(self, cache_world: World) -> None:
        held = HeldReply(NOT_OK)
        origin = await cache_world.serve(held, policy=IF_OK)
        responses = await self.gather(cache_world, held, 5)
        assert len(origin.requests) == 5
        assert {response.body for response in responses} == {b'{"ok":false,"error":"channel_not_found"}'}

    async def test_a_post_that_reads_is_judged_too(self, world: World) -> None:
        route = only({"body": {"ok": True}}, methods=("GET", "HEAD", "POST"), key=KeyPolicy(body=("channel",)))
        await world.serve(NOT_OK, OK, policy=route)
        body = [msgspec.json.encode({"channel": "C1"})]
        found = []
        for _ in range(3):
            response = await world.request("POST", PATH + "/x", [("Content-Type", "application/json")], body=body)
            found.append(response.get("x-cache"))
        assert found == ["MISS", "MISS", "HIT"]

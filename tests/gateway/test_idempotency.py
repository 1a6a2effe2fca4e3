"""Requests with an Idempotency-Key, through each entry point."""

import asyncio
from typing import Any

import msgspec
import pytest

from resilience.breaker.policy import BreakerPolicy
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from routing.idempotency.driver import Idempotency
from routing.idempotency.record import MAX_SAVED_BYTES
from routing.idempotency.redis import RedisStore
from routing.observability.events import BackendEventKind
from routing.router.policy import Auth, Fallback, Retries, RoutePolicy
from routing.router.table import RoutePattern
from tests.gateway.conftest import QUICK, World
from tests.gateway.entry_points import ReceivedResponse
from tests.origin import Peer, Script, ScriptedOrigin
from tests.redis_server import RedisServer
from tests.resilience.waiting import until

POLICY = RoutePolicy(timeout=QUICK, idempotency=True)


def created(number: int, *fields: bytes) -> bytes:
    head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 1\r\n"
    return head + b"".join(field + b"\r\n" for field in fields) + b"\r\n%d" % number


async def serve(world: World, *scripts: Script, policy: RoutePolicy = POLICY) -> ScriptedOrigin:
    return await world.serve(
        *scripts, routes=(RoutePattern("/m", ("POST", "PATCH"), policy), RoutePattern("/plain", ("POST",)))
    )


async def write(world: World, key: str = "k1", body: bytes = b"{}", **more: Any) -> ReceivedResponse:
    request = {"method": "POST", "path": "/api/v1/crm/m", **more}
    fields = [("Idempotency-Key", key), *request.pop("headers", ())]
    return await world.request(request.pop("method"), request.pop("path"), fields, body=[body], **request)


async def test_a_retry_gets_the_first_response_and_the_backend_is_called_once(world: World) -> None:
    origin = await serve(world, created(1, b"X-Kind: caf\xe9", b"Set-Cookie: s=1"), created(2))
    first, retried = await write(world), await write(world)
    assert (first.status, first.body, first.get("idempotency-replayed")) == (201, b"1", None)
    assert (retried.status, retried.body, retried.get("idempotency-replayed")) == (201, b"1", "true")
    assert (first.get("x-kind"), retried.get("x-kind")) == ("caf\xe9", "caf\xe9")
    assert (first.get("set-cookie"), retried.get("set-cookie")) == ("s=1", None)
    assert first.get("x-request-id") != retried.get("x-request-id")
    assert [request.body for request in origin.requests] == [b"{}"]
    assert (b"idempotency-key", b"k1") in origin.requests[0].fields
    assert [event.kind for event in world.observer.events] == [BackendEventKind.REPLAYED]


async def test_another_key_or_caller_or_no_key_is_another_write(world: World) -> None:
    origin = await serve(world, created(1))
    await write(world)
    await write(world, "k2")
    await write(world, key="k1", headers=[("X-Other", "1")], path="/api/v1/crm/plain")
    await world.request("POST", "/api/v1/crm/m", body=[b"{}"])
    others = [("Idempotency-Key", "k1")]
    assert (await world.request("POST", "/api/v1/crm/m", others, body=[b"{}"], key=world.other_key)).status == 201
    assert len(origin.requests) == 5


@pytest.mark.parametrize(
    ("preserve_host", "hosts", "status"),
    [(True, ("a.test",), 422), (False, ("a.test", "b.test"), 422), (False, ("a.test",), 201)],
)
async def test_a_key_is_of_one_host_where_a_service_has_several(
    world: World, preserve_host: bool, hosts: tuple[str, ...], status: int
) -> None:
    """Behind each there may be another shop."""
    policy = msgspec.structs.replace(POLICY, preserve_host=preserve_host)
    await world.serve(created(1), routes=(RoutePattern("/m", ("POST",), policy),), hosts=hosts)
    assert (await write(world, host="a.test:81", path="/m")).status == 201
    assert (await write(world, host="A.test", path="/m")).get("idempotency-replayed") == "true"
    assert (await write(world, host="gateway.test")).status == status


@pytest.mark.parametrize(
    "difference",
    [{"body": b"[]"}, {"method": "PATCH"}, {"path": "/api/v1/crm/m?a=1"}, {"headers": [("Cookie", "u=2")]}],
)
async def test_the_same_key_for_another_request_is_an_error(world: World, difference: dict[str, Any]) -> None:
    origin = await serve(world, created(1))
    await write(world)
    response = await write(world, **difference)
    assert (response.status, response.json()["code"]) == (422, "idempotency_mismatch")
    assert len(origin.requests) == 1


async def test_a_retry_while_the_first_request_is_in_progress_is_a_conflict(world: World) -> None:
    released = asyncio.Event()

    async def respond_when_released(peer: Peer) -> None:
        await peer.read_body()
        await released.wait()
        await peer.send(created(1))

    origin = await serve(world, respond_when_released)
    first = asyncio.create_task(write(world))
    await origin.requested.wait()
    response = await write(world)
    assert (response.status, response.json()["code"], response.get("retry-after")) == (409, "idempotency_conflict", "1")
    released.set()
    assert (await first).status == 201
    assert (await write(world)).get("idempotency-replayed") == "true"


@pytest.mark.parametrize("world", ["asgi"], indirect=True)  # Django's thread is not notified of a disconnect
async def test_a_client_that_disconnects_gets_its_response_when_it_retries(world: World) -> None:
    released = asyncio.Event()

    async def respond_when_released(peer: Peer) -> None:
        await peer.read_body()
        await released.wait()
        await peer.send(created(1))

    origin = await serve(world, respond_when_released)
    first = asyncio.create_task(write(world))
    await origin.requested.wait()
    first.cancel()
    await asyncio.wait([first])
    assert (await write(world)).status == 409
    released.set()
    await until(lambda: not world.gateway._idempotency._tasks)
    assert (await write(world)).get("idempotency-replayed") == "true"
    assert len(origin.requests) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_response_that_invites_a_retry_is_not_saved(world: World, status: int) -> None:
    await serve(world, b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status, created(1))
    assert [(await write(world)).status for _ in range(2)] == [status, 201]


@pytest.mark.parametrize("status", [400, 409, 500])
async def test_any_other_failure_is_saved(world: World, status: int) -> None:
    origin = await serve(world, b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status, created(1))
    assert [(await write(world)).status for _ in range(2)] == [status] * 2
    assert len(origin.requests) == 1


async def test_a_call_whose_connection_was_reset_may_be_retried(world: World) -> None:
    async def reset_connection(peer: Peer) -> None:
        peer.reset()

    policy = RoutePolicy(timeout=QUICK, idempotency=True, retries=Retries(attempts=1))
    await serve(world, reset_connection, created(1), policy=policy)
    assert [(await write(world)).status for _ in range(2)] == [502, 201]


async def test_a_fallback_is_not_saved(world: World) -> None:
    policy = RoutePolicy(
        timeout=QUICK, idempotency=True, breaker=BreakerPolicy(failure_threshold=1), fallback=Fallback(body="soon")
    )
    await world.serve(
        b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
        created(1),
        policy=policy,
        routes=(RoutePattern("/m", (), policy),),
    )
    assert (await write(world)).status == 503
    assert (await write(world)).json() == "soon"
    world.clock.advance(60)
    assert (await write(world)).body == b"1"


async def test_a_saved_response_expires_after_a_day(world: World) -> None:
    await serve(world, created(1), created(2))
    await write(world)
    world.clock.advance(86_399)
    assert (await write(world)).body == b"1"
    world.clock.advance(1)
    assert (await write(world)).body == b"2"


async def test_a_large_response_is_relayed_but_not_saved(world: World) -> None:
    large = b"x" * (MAX_SAVED_BYTES + 5)
    origin = await serve(world, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(large), large))
    first, retried = await write(world), await write(world)
    assert (first.status, first.body == large, first.complete) == (200, True, True)
    assert (retried.status, retried.json()["code"]) == (409, "idempotency_conflict")
    assert len(origin.requests) == 1


async def test_an_event_stream_is_relayed_but_not_saved(world: World) -> None:
    async def send_events(peer: Peer) -> None:
        await peer.read_body()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.send(b"2\r\na\n\r\n0\r\n\r\n")

    await serve(world, send_events)
    assert (await write(world)).body == b"a\n"
    assert (await write(world)).status == 409


async def test_a_malformed_key_is_rejected(world: World) -> None:
    origin = await serve(world, created(1))
    assert (await write(world, "")).status == 400
    assert origin.requests == []


async def test_the_key_of_an_anonymous_request_is_ignored(world: World) -> None:
    policy = RoutePolicy(timeout=QUICK, idempotency=True, auth=Auth.NONE)
    origin = await world.serve(created(1), created(2), policy=policy)
    responses = [
        await world.request("POST", "/api/v1/crm/m", [("Idempotency-Key", "k")], body=[b""], key="") for _ in range(2)
    ]
    assert [response.body for response in responses] == [b"1", b"2"]
    assert len(origin.requests) == 2


class UnavailableStore:
    async def begin(self, *_: Any) -> None:
        raise StoreUnavailable

    finish = release = begin


async def test_without_the_store_a_request_with_a_key_is_rejected_and_others_are_served(world: World) -> None:
    origin = await serve(world, created(1))
    world.gateway._idempotency = Idempotency(UnavailableStore())
    response = await write(world)
    assert (response.status, response.json()["code"], response.get("retry-after")) == (
        503,
        "idempotency_unavailable",
        "1",
    )
    assert origin.requests == []
    assert (await world.request("POST", "/api/v1/crm/m", body=[b"{}"])).status == 201


@pytest.mark.parametrize("world", ["asgi"], indirect=True)
async def test_redis_stores_neither_caller_nor_key_nor_request(
    world: World, redis_url: str, shared_redis: RedisServer
) -> None:
    link = RedisLink(redis_url)
    world.gateway._idempotency = Idempotency(RedisStore(link))
    await serve(world, created(1))
    secrets = {"key": "an-idempotency-key", "query": "a-query", "body": "a-body", "cookie": "a-cookie"}
    path = f"/api/v1/crm/m?{secrets['query']}"
    for _ in range(2):
        response = await write(
            world, secrets["key"], secrets["body"].encode(), path=path, headers=[("Cookie", f"s={secrets['cookie']}")]
        )
        assert response.body == b"1"
    with shared_redis.client() as client:
        names = [name for name in client.scan_iter() if name.startswith(b"gw:idempotency:")]
        stored = b"".join([*names, *(client.get(name) or b"" for name in names)])
    assert len(names) == 1
    prefix = world.key.split("_")[1]
    assert not [secret for secret in (*secrets.values(), prefix, world.key) if secret.encode() in stored]
    await link.close()

"""Interim responses of backends (RFC 9110 section 15.2)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from resilience.cache.policy import CachePolicy, Scope
from routing.backend.response_parser import MAX_INTERIM
from routing.router.policy import Auth, RoutePolicy
from tests.gateway.conftest import QUICK, World, make_world
from tests.http1_client import Client, Worker
from tests.origin import Peer
from tests.resilience.cache.entries import until

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OPEN = RoutePolicy(auth=Auth.NONE, timeout=QUICK)
STORED = RoutePolicy(auth=Auth.NONE, timeout=QUICK, cache=CachePolicy(ttl=60, scope=Scope.SHARED))


@pytest.fixture
async def http1() -> Any:
    world = make_world("http1")
    yield world
    await world.close()


async def answered(client: Client) -> bytes:
    while client.worker.tasks:
        await asyncio.wait(client.worker.tasks)
    return client.received


def client_of(world: World) -> Client:
    return Client(Worker(world.gateway.answer))


async def received(world: World, method: bytes = b"GET", version: bytes = b"1.1", more: bytes = b"") -> bytes:
    client = client_of(world)
    client.send(method + b" /api/v1/crm/x HTTP/" + version + b"\r\nHost: a\r\n" + more + b"\r\n")
    return await answered(client)


async def test_they_reach_the_client_before_the_final_response(http1: World) -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\n" + HINTS + b"HTTP/1.1 142 Own\r\nX-Own: 1\r\n\r\n"
    await http1.serve(b"HTTP/1.1 100 Continue\r\n\r\n" + interim + FINAL, policy=OPEN)
    data = await received(http1)
    assert data.startswith(
        b"HTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nlink: </api/v1/crm/a.css>; rel=preload\r\n\r\n"
        b"HTTP/1.1 142 \r\nx-own: 1\r\n\r\n"
        b"HTTP/1.1 200 OK\r\n"
    )
    assert data.endswith(b"\r\n\r\nok")
    assert b"100 Continue" not in data


async def test_they_are_dropped_for_proxies_that_take_them_for_final_ones() -> None:
    world = make_world("http1", passes_interim=False)
    await world.serve(HINTS + FINAL, policy=OPEN)
    data = await received(world)
    await world.close()
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.count(b"HTTP/1.1 ") == 1


async def test_they_are_sent_as_they_come(http1: World) -> None:
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.send(HINTS)
        await more.wait()
        await peer.send(FINAL)

    await http1.serve(script, policy=OPEN)
    client = client_of(http1)
    client.send(b"GET /api/v1/crm/x HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: b"Early Hints" in client.received)
    assert b" 200 " not in client.received
    more.set()
    assert b"HTTP/1.1 200 OK" in await answered(client)
    assert not client.transport.closed


async def test_clients_of_http_1_0_get_the_final_response_only(http1: World) -> None:
    await http1.serve(HINTS + FINAL, policy=OPEN)
    data = await received(http1, version=b"1.0")
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.count(b"HTTP/1.1 ") == 1


async def test_a_client_that_expects_100_gets_one(http1: World) -> None:
    await http1.serve(b"HTTP/1.1 100 Continue\r\n\r\n" + HINTS + FINAL, policy=OPEN)
    client = client_of(http1)
    client.send(
        b"POST /api/v1/crm/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    )
    await asyncio.sleep(0.05)
    client.send(b"abc")
    data = await answered(client)
    assert data.count(b"HTTP/1.1 100 ") == data.count(b"HTTP/1.1 103 ") == data.count(b"HTTP/1.1 200 ") == 1


async def test_head_and_errors_have_them_too(http1: World) -> None:
    await http1.serve(HINTS + b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", policy=OPEN)
    for method in (b"HEAD", b"FOO"):
        data = await received(http1, method)
        assert [line.split(b" ")[1] for line in data.split(b"\r\n") if line.startswith(b"HTTP/")] == [b"103", b"404"]


async def test_they_are_not_stored_and_not_sent_to_those_who_wait_for_the_same_fetch(
    http1: World, waiting: Callable[[], int]
) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.send(HINTS)
        await go_on.wait()
        await peer.send(FINAL)

    origin = await http1.serve(script, policy=STORED)
    clients = [client_of(http1) for _ in range(3)]
    for client in clients:
        client.send(b"GET /api/v1/crm/x HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: origin.requested.is_set() and waiting() == 2)
    go_on.set()
    got = [await answered(client) for client in clients]
    assert sorted(data.count(b"103 Early Hints") for data in got) == [0, 0, 1]
    hit = await received(http1)
    assert b"x-cache: HIT" in hit
    assert b"Early Hints" not in hit
    assert len(origin.requests) == 1


async def test_fields_that_belong_to_the_final_response_or_the_connection_are_dropped(http1: World) -> None:
    fields = (
        b"Connection: x-hop\r\nX-Hop: 1\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\nX-Cache: HIT\r\n"
        b"Clear-Site-Data: *\r\nAlt-Svc: clear\r\nNEL: {}\r\nAccess-Control-Allow-Origin: *\r\nLink: </a>\r\n"
    )
    await http1.serve(b"HTTP/1.1 103 Early Hints\r\n" + fields + b"\r\n" + FINAL, policy=OPEN)
    data = await received(http1)
    assert data.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </api/v1/crm/a>\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert data.endswith(b"ok")


async def test_their_number_is_limited(http1: World) -> None:
    await http1.serve(HINTS * 100 + FINAL, policy=OPEN)
    data = await received(http1)
    assert data.count(b"HTTP/1.1 103 ") == MAX_INTERIM
    assert data.endswith(b"\r\n\r\nok")


async def test_their_size_is_limited(http1: World) -> None:
    large = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 10_000 + b"\r\n\r\n"
    await http1.serve(large * 8 + FINAL, policy=OPEN)
    data = await received(http1)
    assert b"HTTP/1.1 502 " in data
    assert data.count(b"HTTP/1.1 103 ") == 2 * 6  # of two attempts


async def test_101_is_no_interim_response(http1: World) -> None:
    await http1.serve(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + FINAL, policy=OPEN)
    assert (await received(http1)).startswith(b"HTTP/1.1 502 ")


async def test_an_endless_series_does_not_delay_the_timeout(http1: World) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0.02)

    policy = RoutePolicy(auth=Auth.NONE, timeout=type(QUICK)(connect=2, read=0.3, total=2))
    await http1.serve(script, policy=policy)
    assert b"HTTP/1.1 504 " in await received(http1)


async def test_every_entry_point_returns_the_final_response(world: World) -> None:
    """ASGI has no message for them, so other servers' clients do not get them."""
    await world.serve(HINTS + FINAL)
    response = await world.request("GET", "/api/v1/crm/x")
    assert (response.status, response.body, response.get("link")) == (200, b"ok", None)


@pytest.mark.parametrize(("length", "body"), [(b"002", b"ok"), (b"0000", b""), (b"0" * 100 + b"2", b"ok")])
async def test_a_length_with_leading_zeros_is_a_length(world: World, length: bytes, body: bytes) -> None:
    """RFC 9110 section 8.6: `1*DIGIT`."""
    data = b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n" + body
    await world.serve(data)
    for _ in range(3):  # the third has a head that is cached
        response = await world.request("GET", "/api/v1/crm/x", [("Cache-Control", "no-store")])
        assert (response.status, response.body) == (200, body)
        assert response.get("content-length") == str(len(body))


async def test_the_length_of_a_response_to_head_may_have_leading_zeros(world: World) -> None:
    await world.serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0012\r\n\r\n")
    response = await world.request("HEAD", "/api/v1/crm/x")
    assert (response.status, response.get("content-length")) == (200, "12")


@pytest.mark.parametrize("length", [b"+2", b"-2", b"0x2", b"2 2", b"2,2", b"", b"\xb2"])
async def test_any_other_length_is_a_bad_gateway(world: World, length: bytes) -> None:
    await world.serve(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\nok")
    assert (await world.request("GET", "/api/v1/crm/x")).status == 502


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"content-length: 000\r\n", b""]
)
@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "OPTIONS"])
async def test_a_204_has_no_length(world: World, fields: bytes, method: str) -> None:
    """RFC 9110 section 8.6."""
    await world.serve(b"HTTP/1.1 204 No Content\r\n" + fields + b"\r\n")
    for _ in range(3):
        response = await world.request(method, "/api/v1/crm/x")
        assert (response.status, response.body) == (204, b"")
        assert response.get("content-length") is None
        assert response.get("transfer-encoding") is None

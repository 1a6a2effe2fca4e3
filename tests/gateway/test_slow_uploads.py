"""A slow upload gives its slot of the bulkhead to a call that waits for one; the slowest upload first."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from routing.caller import Caller
from routing.http import Request, Response
from routing.messages import request_body
from routing.router.policy import RoutePolicy, Timeout
from tests.gateway.conftest import World, make_world
from tests.origin import Peer
from tests.resilience.waiting import until

pytestmark = pytest.mark.slow
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = make_world("asgi")
    yield made
    await made.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "SLOW_UPLOAD_SECONDS", 0.05)


def policy(slots: int) -> RoutePolicy:
    timeout = Timeout(connect=30.0, read=30.0, total=60.0, idle=30.0)
    return RoutePolicy(timeout=timeout, cache=None, max_concurrency=slots)


async def respond(peer: Peer) -> None:
    await peer.read_body()
    await peer.send(OK)


async def dripping(received: list[bytes], piece: bytes = b"a") -> AsyncIterator[bytes]:
    while True:
        await asyncio.sleep(0.02)
        received.append(piece)
        yield piece


def request(method: str, body: AsyncIterator[bytes] | None = None) -> Request:
    framing = [(b"transfer-encoding", b"chunked")] if body else []
    return Request(method, b"/api/v1/crm/x", b"", [(b"host", b"h"), *framing], "", body=body, caller=Caller("key:a"))


async def send(world: World, sent: Request) -> Response:
    return await world.gateway.handle(sent)


def in_flight(world: World) -> int:
    return world.gateway._calls.in_flight


async def drip(world: World, piece: bytes = b"a") -> "asyncio.Task[Response]":
    """An upload that has been waited for."""
    received = list[bytes]()
    upload = asyncio.create_task(send(world, request("POST", dripping(received, piece))))
    await until(lambda: len(received) > 10)
    return upload


@pytest.mark.usefixtures("impatient")
async def test_a_call_that_waits_gets_the_slot_of_a_slow_upload(world: World) -> None:
    await world.serve(respond, policy=policy(1))
    upload = await drip(world)
    response = await send(world, request("GET"))
    assert (response.status, response.body) == (200, b"ok")
    slow = await upload
    assert slow.status == 408
    assert isinstance(slow.body, bytes)
    assert b'"code":"request_timeout"' in slow.body
    assert in_flight(world) == 0
    assert not any(event.kind == "failure" for event in world.observer.events)


@pytest.mark.usefixtures("impatient")
async def test_the_slowest_upload_is_the_one_interrupted(world: World) -> None:
    await world.serve(respond, policy=policy(2))
    faster, slower = await drip(world, b"aaa"), await drip(world)
    assert (await send(world, request("GET"))).status == 200
    assert (await slower).status == 408
    assert not faster.done()
    faster.cancel()
    await asyncio.wait((faster,))
    assert in_flight(world) == 0


@pytest.mark.usefixtures("impatient")
async def test_an_upload_is_not_interrupted_while_slots_are_free(world: World) -> None:
    await world.serve(respond, policy=policy(2))
    upload = await drip(world)
    assert (await send(world, request("GET"))).status == 200
    assert not upload.done()
    upload.cancel()
    await asyncio.wait((upload,))
    assert in_flight(world) == 0


async def test_an_upload_that_has_only_begun_keeps_its_slot(world: World) -> None:
    await world.serve(respond, policy=policy(1))
    upload = await drip(world)
    assert (await send(world, request("GET"))).status == 503
    assert not upload.done()
    upload.cancel()
    await asyncio.wait((upload,))
    assert in_flight(world) == 0

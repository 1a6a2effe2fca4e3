"""The targets of a WebSocket: its handshake is tried, counted and ejected as a GET is."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from resilience.breaker.policy import BreakerPolicy
from routing.balancing.rules import EJECT_AFTER, EJECT_AFTER_NO_RESPONSE
from routing.observability.events import BackendEventKind
from routing.realtime.proxy import SocketProxy
from routing.router.policy import Retries, RoutePolicy, Timeout
from tests.clock import FakeClock
from tests.gateway.conftest import World
from tests.gateway.websocket_world import client_of, closed_with, greet, proxy_of, websocket_world
from tests.origin import Peer, ScriptedOrigin
from tests.resilience.waiting import until as waiting_until
from tests.system.echo import websocket_server

CHAT = RoutePolicy(websocket=True, timeout=Timeout(connect=2, read=5, total=10))


@contextmanager
def refusing(status: int, requests: list[str]) -> Iterator[int]:
    """A backend that refuses every handshake with `status`. Yields its port."""

    def refuse(ws: ServerConnection, request: Request) -> Response:
        requests.append(request.path)
        return ws.respond(HTTPStatus(status), "no")

    with websocket_server(greet, process_request=refuse) as port:
        yield port


def events(world: World) -> Counter[BackendEventKind]:
    return Counter(event.kind for event in world.observer.events)


async def open_and_close(proxy: SocketProxy, world: World) -> None:
    client = client_of(proxy, world)
    assert await client.connect() is None
    assert (await client.receive())["text"] == "hello"
    await client.disconnect()


async def until(condition: Callable[[], bool], proxy: SocketProxy, world: World, *, limit: int = 200) -> None:
    """Open WebSockets until `condition` holds: which target is tried first is random."""
    for _ in range(limit):
        await open_and_close(proxy, world)
        if condition():
            return
    raise AssertionError("the condition never held")


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_handshake_that_one_target_refuses_goes_to_the_next(status: int) -> None:
    refused: list[str] = []
    with refusing(status, refused) as bad, websocket_server(greet) as good:
        world = websocket_world(bad, good, policy=CHAT)
        proxy = proxy_of(world, FakeClock())
        await until(lambda: events(world)[BackendEventKind.EJECTED] > 0, proxy, world)
    assert len(refused) == EJECT_AFTER
    retried = [event for event in world.observer.events if event.kind is BackendEventKind.RETRIED]
    assert {event.detail for event in retried} == {str(status)}
    assert len(retried) == EJECT_AFTER
    assert not world.observer.circuits
    assert {(request.status, request.code) for request in world.observer.requests} == {(101, "")}
    assert sum(request.retries for request in world.observer.requests) == EJECT_AFTER
    assert all(request.backend is not None for request in world.observer.requests)


async def test_a_target_that_refuses_connections_is_ejected() -> None:
    with socket.socket() as bound, websocket_server(greet) as good:
        bound.bind(("127.0.0.1", 0))
        world = websocket_world(bound.getsockname()[1], good, policy=CHAT)
        proxy = proxy_of(world, FakeClock())
        await until(lambda: events(world)[BackendEventKind.EJECTED] > 0, proxy, world)
    assert events(world)[BackendEventKind.RETRIED] == EJECT_AFTER_NO_RESPONSE
    assert not world.observer.circuits


async def test_a_target_that_accepts_and_closes_is_tried_elsewhere() -> None:
    async def close(peer: Peer) -> None:
        peer.close()

    async with ScriptedOrigin(close) as bad:
        with websocket_server(greet) as good:
            world = websocket_world(bad.port, good, policy=CHAT)
            proxy = proxy_of(world, FakeClock())
            await until(lambda: events(world)[BackendEventKind.EJECTED] > 0, proxy, world)
    assert not world.observer.circuits


@pytest.mark.parametrize("status", [400, 401, 404, 408, 425, 429, 500, 501])
async def test_other_refusals_are_the_response(status: int) -> None:
    refused: list[str] = []
    with refusing(status, refused) as one, refusing(status, refused) as other:
        world = websocket_world(one, other, policy=CHAT)
        assert await closed_with(client_of(proxy_of(world, FakeClock()), world)) == 1014
    assert len(refused) == 1
    assert events(world)[BackendEventKind.RETRIED] == 0
    last = world.observer.requests[-1]
    assert (last.code, last.reason) == ("bad_gateway", f"handshake refused with {status}")


async def test_targets_that_all_refuse_open_the_circuit_and_leak_no_slot() -> None:
    """Only the last attempt counts for the circuit; a slot that is not returned would be `overloaded`."""
    refused: list[str] = []
    with refusing(503, refused) as one, refusing(503, refused) as other:
        policy = RoutePolicy(
            websocket=True, max_concurrency=1, breaker=BreakerPolicy(failure_threshold=3, failure_rate=1.0)
        )
        world = websocket_world(one, other, policy=policy)
        proxy = proxy_of(world, FakeClock())
        codes = [await closed_with(client_of(proxy, world)) for _ in range(4)]
    assert codes == [1014, 1014, 1014, 1013]
    assert len(refused) == 6
    assert world.observer.circuits == [("chat", "CLOSED", "OPEN")]
    assert [request.code for request in world.observer.requests] == ["bad_gateway"] * 3 + ["circuit_open"]
    assert [request.retries for request in world.observer.requests] == [1, 1, 1, 0]


async def test_the_budget_and_the_number_of_attempts_limit_retries() -> None:
    refused: list[str] = []
    with refusing(503, refused) as one, refusing(503, refused) as other:
        for retries, expected in ((Retries(attempts=1), 1), (Retries(budget=0.0), 1), (Retries(attempts=2), 2)):
            refused.clear()
            world = websocket_world(one, other, policy=RoutePolicy(websocket=True, retries=retries))
            await closed_with(client_of(proxy_of(world, FakeClock()), world))
            assert len(refused) == expected


async def test_a_target_that_does_not_respond_is_left_within_the_read_timeout() -> None:
    async def wait(peer: Peer) -> None:
        await peer.wait_closed()

    async with ScriptedOrigin(wait) as silent:
        with websocket_server(greet) as good:
            timeout = Timeout(connect=0.2, read=0.2, total=30)
            world = websocket_world(silent.port, good, policy=RoutePolicy(websocket=True, timeout=timeout))
            proxy = proxy_of(world, FakeClock())
            async with asyncio.timeout(30):
                await until(lambda: bool(silent.requests), proxy, world)
    retried = [event.detail for event in world.observer.events if event.kind is BackendEventKind.RETRIED]
    assert retried == ["handshake timeout"]


async def test_open_websockets_have_a_bulkhead_of_their_own() -> None:
    with websocket_server(greet) as good:
        world = websocket_world(good, policy=RoutePolicy(websocket=True, max_concurrency=1))
        proxy = proxy_of(world, FakeClock())
        first = client_of(proxy, world)
        assert await first.connect() is None
        queued, refused = (client_of(proxy, world) for _ in range(2))
        waiting = asyncio.create_task(queued.connect())
        places = proxy._opening._calls._upstreams.of(world.live.table.services["chat"]).websockets
        await waiting_until(lambda: len(places._queue) == 1)  # it has one place
        assert await closed_with(refused) == 1013
        assert world.observer.requests[-1].code == "overloaded"
        await first.disconnect()
        assert await waiting is None
        await queued.disconnect()

"""How fast a client sends and reads, and that it leaves, says nothing about the backend."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import StreamingHttpResponse

from metrics.counting.observer import call_outcome
from resilience.breaker.machine import State
from resilience.breaker.policy import BreakerPolicy
from routing import asgi, runtime
from routing.balancing.rules import TargetCondition
from routing.caller import Caller
from routing.django_http import to_django_response
from routing.http import ClientGone, Request, Response
from routing.router.policy import Retries, RoutePolicy, Target, Timeout
from routing.router.table import Service
from tests.gateway.conftest import World, make_world
from tests.gateway.entry_points import install
from tests.origin import Peer
from tests.resilience.waiting import until

pytestmark = pytest.mark.slow
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SENSITIVE = BreakerPolicy(failure_threshold=1)
SLOW = 0.05
SCOPE: Final = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
ENVIRON: Final = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.input": io.BytesIO()}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client is slow after a moment."""
    monkeypatch.setattr("routing.backend.timers.SLOW_CLIENT_SECONDS", SLOW)
    monkeypatch.setattr("routing.steps.retries.SLOW_CLIENT_SECONDS", SLOW)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = make_world("asgi")
    yield made
    await made.close()


def policy(breaker: BreakerPolicy = SENSITIVE, /, **timeouts: float) -> RoutePolicy:
    """One failure opens the circuit, one call fills the bulkhead."""
    timeout = Timeout(**{"connect": 2.0, "read": 5.0, "total": 10.0, **timeouts})
    return RoutePolicy(timeout=timeout, cache=None, breaker=breaker, max_concurrency=1, retries=Retries(attempts=3))


async def dripping(count: int, pause: float = 0.03) -> AsyncIterator[bytes]:
    for _ in range(count):
        await asyncio.sleep(pause)
        yield b"a"


def upload(body: AsyncIterator[bytes], length: int | None = None, method: str = "PUT") -> Request:
    framing = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length)
    return Request(method, b"/api/v1/crm/x", b"", [(b"host", b"h"), framing], "", body=body, caller=Caller("key:a"))


def download() -> Request:
    return Request("GET", b"/api/v1/crm/x", b"", [(b"host", b"h")], "", caller=Caller("key:a"))


def assert_not_blamed(world: World) -> None:
    """The circuit, the balancer, the retry budget, the bulkhead and the metrics agree."""
    upstream = world.gateway._calls._upstreams.of(world.live.table.services["crm"])
    assert upstream.breaker.state() is State.CLOSED
    assert upstream.breaker.snapshot.failures == ()
    assert set(upstream.balancer.conditions().values()) == {TargetCondition.UP}
    assert upstream.bulkhead.in_flight == 0
    assert [event for event in world.observer.events if event.kind != "refused"] == []
    assert "failure" not in {call_outcome(request) for request in world.observer.requests}


async def read(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    return b"".join([chunk async for chunk in response.body])


@pytest.mark.parametrize("length", [None, 1_000])
@pytest.mark.parametrize("limits", [{"total": 0.2}, {"idle": 0.02}])
async def test_an_upload_that_is_too_slow_is_a_request_timeout(
    world: World, limits: dict[str, float], length: int | None
) -> None:
    async def read_on(peer: Peer) -> None:
        await peer.wait_closed()

    await world.serve(read_on, policy=policy(**limits))
    response = await world.gateway.handle(upload(dripping(1_000), length))
    assert (response.status, b'"code":"request_timeout"' in await read(response)) == (408, True)
    assert_not_blamed(world)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 503 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"])
async def test_a_backend_that_gives_up_on_a_slow_upload_has_not_failed(world: World, answer: bytes) -> None:
    async def give_up(peer: Peer) -> None:
        await asyncio.sleep(0.2)
        await peer.send(answer)
        peer.close()

    await world.serve(give_up, policy=policy())
    response = await world.gateway.handle(upload(dripping(1_000)))
    assert response.status == (503 if answer else 408)
    await read(response)
    assert_not_blamed(world)


async def test_a_backend_that_hangs_up_at_once_has_failed_however_slow_the_client(world: World) -> None:
    async def hang_up(peer: Peer) -> None:
        peer.close()

    await world.serve(hang_up, policy=policy())
    assert (await world.gateway.handle(upload(dripping(100, 0.04), method="POST"))).status == 502
    assert world.breakers.of("crm", SENSITIVE).state() is State.OPEN


async def test_a_backend_that_stops_taking_an_upload_has_failed(world: World) -> None:
    async def never_read(_: Peer) -> None:
        await asyncio.Event().wait()

    async def flood() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0)
            yield bytes(1 << 20)

    world.gateway._calls._max_body_bytes = 1 << 40
    await world.serve(never_read, policy=policy(read=0.2))
    assert (await world.gateway.handle(upload(flood()))).status == 504
    assert world.breakers.of("crm", SENSITIVE).state() is State.OPEN


async def test_the_time_that_the_client_takes_is_not_the_backends(world: World) -> None:
    """Neither for the total time, nor for what counts as a slow call, nor in the metrics."""

    async def answer_late(peer: Peer) -> None:
        await peer.read_body()
        await asyncio.sleep(0.6)
        await peer.send(OK)

    slow_call = BreakerPolicy(failure_threshold=1, slow_call=1.1)
    await world.serve(answer_late, policy=policy(slow_call, total=1.0))
    assert (await world.gateway.handle(upload(dripping(20), 20))).status == 200
    assert_not_blamed(world)
    assert 0.6 <= (world.observer.requests[-1].backend or 0) < 1.0


async def test_an_upload_that_its_client_breaks_off_is_nobodys_failure(world: World) -> None:
    async def broken_off() -> AsyncIterator[bytes]:
        yield b"a"
        raise ClientGone

    async def read_on(peer: Peer) -> None:
        await peer.wait_closed()

    await world.serve(read_on, policy=policy())
    await world.gateway.handle(upload(broken_off()))
    assert_not_blamed(world)


BIG = 4 << 20


async def send_big(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(BIG))


@pytest.mark.parametrize("limits", [{"read": 0.25}, {"total": 0.25}, {"idle": 0.25}])
async def test_a_slow_reader_is_nobodys_failure(world: World, limits: dict[str, float]) -> None:
    await world.serve(send_big, policy=policy(**limits))
    response, size, pauses = await world.gateway.handle(download()), 0, 3
    assert not isinstance(response.body, bytes)
    async for chunk in response.body:
        size += len(chunk)
        if pauses:
            pauses -= 1
            await asyncio.sleep(0.3)
    assert (size, pauses) == (BIG, 0)
    assert_not_blamed(world)


async def test_a_backend_that_gives_up_on_a_slow_reader_has_not_failed(world: World) -> None:
    async def give_up(peer: Peer) -> None:
        peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(BIG // 2))
        await asyncio.sleep(0.2)
        peer.reset()

    await world.serve(give_up, policy=policy())
    response = await world.gateway.handle(download())
    assert not isinstance(response.body, bytes)
    await anext(response.body)
    await asyncio.sleep(0.3)
    with pytest.raises(ClientGone):
        await read(response)
    assert_not_blamed(world)


async def test_a_reader_that_leaves_is_nobodys_failure(world: World) -> None:
    await world.serve(send_big, policy=policy())
    response = await world.gateway.handle(download())
    assert not isinstance(response.body, bytes)
    await anext(response.body)
    await response.body.aclose()
    assert_not_blamed(world)


async def test_a_body_that_stalls_is_the_backends_failure(world: World) -> None:
    async def stall(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
        await peer.wait_closed()

    await world.serve(stall, policy=policy(idle=0.1))
    response = await world.gateway.handle(download())
    with pytest.raises(Exception, match="in time"):
        await read(response)
    await until(lambda: world.breakers.of("crm", SENSITIVE).state() is State.OPEN)


@pytest.mark.parametrize("limits", [{"read": 0.3, "total": 0.3}, {"stream": 0.1}])
async def test_healthy_event_streams_never_open_the_circuit(world: World, limits: dict[str, float]) -> None:
    """They outlast every limit but `stream`, which ends them without a fault of the backend's."""

    async def heartbeats(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for _ in range(10):
            await peer.send(b": ping\n\n")
            await asyncio.sleep(0.05)
        peer.close()

    await world.serve(heartbeats, policy=policy(**limits))
    response = await world.gateway.handle(download())
    if "stream" in limits:
        with pytest.raises(Exception, match="longer than the service allows"):
            await read(response)
    else:
        assert (await read(response)).count(b"ping") == 10
    assert_not_blamed(world)


async def test_a_half_open_probe_whose_client_is_slow_gives_its_permit_back(world: World) -> None:
    async def read_on(peer: Peer) -> None:
        await peer.wait_closed()

    breaker = BreakerPolicy(failure_threshold=1, open_for=10, half_open_permits=1, success_threshold=1)
    limits = policy(breaker, total=0.2)
    world.add(Service("crm", (Target("http://127.0.0.1:1"),), policy=limits))
    assert (await world.gateway.handle(download())).status == 502
    world.clock.advance(11)
    origin = await world.serve(read_on, OK, policy=limits)
    assert (await world.gateway.handle(upload(dripping(1_000)))).status == 408
    assert world.breakers.of("crm", breaker).state() is State.HALF_OPEN
    assert (await world.gateway.handle(download())).status == 200
    await until(lambda: world.breakers.of("crm", breaker).state() is State.CLOSED)
    assert len(origin.requests) == 2


@pytest.mark.parametrize("through", ["asgi", "django", "wsgi"])
async def test_under_other_servers_a_piece_that_is_not_taken_in_time_ends_the_response(through: str) -> None:
    world = make_world("asgi")
    install(world.gateway)
    await runtime.current().start()
    await world.serve(send_big, policy=policy(idle=0.2))
    upstream = world.gateway._calls._upstreams.of(world.live.table.services["crm"])
    response = await world.gateway.handle(download())
    assert upstream.bulkhead.in_flight == 1
    if through == "asgi":

        async def never_sends(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            await asgi.send_response(response, never_sends)
    else:
        request = ASGIRequest(SCOPE, io.BytesIO()) if through == "django" else WSGIRequest(ENVIRON)
        stream = to_django_response(request, response)
        assert isinstance(stream, StreamingHttpResponse)
        chunks: Any = stream.streaming_content

        async def take() -> object:
            return await (anext(chunks) if through == "django" else asyncio.to_thread(next, chunks))

        assert await take()
        await until(lambda: upstream.bulkhead.in_flight == 0)
        with pytest.raises(ClientGone):
            await take()
    assert_not_blamed(world)
    await runtime.current().stop()
    await world.close()

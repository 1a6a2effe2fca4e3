import asyncio

import pytest

from routing.backend.call import HOLD_SECONDS
from routing.backend.client import Backend
from routing.errors import BadGateway
from routing.http import Body
from routing.router.policy import Target
from tests.origin import Peer, ScriptedOrigin
from tests.routing.backend.calls import GENEROUS, OK, call, chunks, fetch, read, send


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def closing(peer: Peer) -> None:
    peer.close()


async def test_sequential_calls_share_a_connection(backend: Backend) -> None:
    async with ScriptedOrigin(OK) as origin:
        for base in ("", "/a", "/b"):
            await read(await backend.send(Target(origin.url + base), call(), GENEROUS))
    assert origin.connections == 1


async def test_concurrent_calls_do_not_share_a_connection(backend: Backend) -> None:
    async with ScriptedOrigin(OK) as origin:
        assert await asyncio.gather(*(fetch(backend, origin) for _ in range(5))) == [(200, b"ok")] * 5
        assert await fetch(backend, origin) == (200, b"ok")
    assert origin.connections == 5


async def test_a_connection_is_idle_once_its_response_is_received_even_if_unread(backend: Backend) -> None:
    async with ScriptedOrigin(OK, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother") as origin:
        first = await send(backend, origin)
        second = await send(backend, origin)
        await first.aclose()
        assert await read(second) == b"other"
    assert origin.connections == 1


async def test_idle_connections_are_limited() -> None:
    backend = Backend(max_idle=2)
    async with ScriptedOrigin(OK) as origin:
        for _ in range(2):
            await asyncio.gather(*(fetch(backend, origin) for _ in range(4)))
        await backend.close()
    assert origin.connections == 6


async def test_a_connection_idle_for_too_long_is_not_used() -> None:
    clock = Clock()
    backend = Backend(clock=clock, idle_seconds=30)
    async with ScriptedOrigin(OK) as origin:
        await fetch(backend, origin)
        clock.now = 29
        await fetch(backend, origin)
        assert origin.connections == 1
        clock.now = 59
        await fetch(backend, origin)
        await backend.close()
    assert origin.connections == 2


@pytest.mark.parametrize(
    ("field", "used", "not_used"),
    [
        (b"timeout=5", 3.9, 4.1),  # Node.js
        (b"timeout=5, max=100", 3.9, 4.1),  # Apache
        (b"max=100,Timeout = 5", 3.9, 4.1),
        (b'timeout="5"', 3.9, 4.1),
        (b"timeout=1", 0.4, 0.6),
        (b"timeout=72", 29, 30),  # not longer than any other
        (b"max=100", 29, 30),
        (b"x-timeout=1", 29, 30),
    ],
)
async def test_a_target_says_how_long_a_connection_may_be_idle(field: bytes, used: float, not_used: float) -> None:
    clock = Clock()
    backend = Backend(clock=clock, idle_seconds=30)
    response = b"HTTP/1.1 200 OK\r\nKeep-Alive: " + field + b"\r\nContent-Length: 2\r\n\r\nok"
    async with ScriptedOrigin(response) as origin:
        await fetch(backend, origin)
        clock.now += used
        await fetch(backend, origin)  # of a head that is known
        assert origin.connections == 1
        clock.now += not_used
        await fetch(backend, origin)
        await backend.close()
    assert origin.connections == 2


async def test_a_target_that_keeps_no_idle_connections_gets_a_new_one_for_each_call(backend: Backend) -> None:
    async with ScriptedOrigin(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok") as origin:
        for _ in range(3):
            assert await fetch(backend, origin) == (200, b"ok")
    assert origin.connections == 3


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX: more\r\n"]
)
async def test_a_connection_to_be_closed_or_with_extra_data_is_not_used(backend: Backend, head: bytes) -> None:
    extra = OK if b"more" in head else b""
    async with ScriptedOrigin(head + b"Content-Length: 2\r\n\r\nok" + extra) as origin:
        for _ in range(2):
            assert await fetch(backend, origin) == (200, b"ok")
    assert origin.connections == 2


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_body_after_a_bodiless_response_is_not_the_next_response(backend: Backend, method: str) -> None:
    status = b"200 OK" if method == "HEAD" else b"304 Not Modified"
    wrong = b"HTTP/1.1 " + status + b"\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with ScriptedOrigin(wrong, OK) as origin:
        await fetch(backend, origin, call(method))
        assert await fetch(backend, origin) == (200, b"ok")
    assert origin.connections == 2


@pytest.mark.parametrize(
    ("method", "status", "framing"),
    [
        ("HEAD", b"200 OK", b"Content-Length: 43"),
        ("HEAD", b"404 Not Found", b"Transfer-Encoding: chunked"),
        ("GET", b"304 Not Modified", b"Content-Length: 43"),
        ("GET", b"204 No Content", b"Content-Length: 43"),
    ],
)
async def test_a_late_body_after_a_bodiless_response_is_not_the_next_response(
    method: str, status: bytes, framing: bytes
) -> None:
    """The connection is not used for a moment, in which such a body arrives; then it is used again."""

    async def send_body_late(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 " + status + b"\r\n" + framing + b"\r\n\r\n")
        await next_sent.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await peer.wait_closed()

    next_sent, clock = asyncio.Event(), Clock()
    backend = Backend(clock=clock)
    async with ScriptedOrigin(
        b"HTTP/1.1 " + status + b"\r\n" + framing + b"\r\n\r\n", OK, send_body_late, OK
    ) as origin:
        await fetch(backend, origin, call(method))
        clock.now += HOLD_SECONDS
        assert await fetch(backend, origin) == (200, b"ok")
        assert origin.connections == 1
        await fetch(backend, origin, call(method))
        second = asyncio.create_task(fetch(backend, origin))
        next_sent.set()
        assert await second == (200, b"ok")
        await backend.close()
    assert origin.connections == 2


async def test_unsolicited_bytes_are_not_the_next_response(backend: Backend) -> None:
    async def send_twice(peer: Peer) -> None:
        await peer.send(OK)
        await response_read.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        extra_sent.set()

    response_read, extra_sent = asyncio.Event(), asyncio.Event()
    async with ScriptedOrigin(send_twice, OK) as origin:
        await fetch(backend, origin)
        response_read.set()
        await extra_sent.wait()
        assert await fetch(backend, origin) == (200, b"ok")
    assert origin.connections == 2


async def test_a_connection_closed_while_idle_is_not_used_even_for_a_non_idempotent_call(
    backend: Backend,
) -> None:
    async def respond_and_close(peer: Peer) -> None:
        await peer.send(OK)
        peer.close()
        await peer.writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    async with ScriptedOrigin(respond_and_close, OK) as origin:
        await fetch(backend, origin)
        await closed.wait()
        assert await fetch(backend, origin, call("POST")) == (200, b"ok")
    assert [request.line[:4] for request in origin.requests] == [b"GET ", b"POST"]


@pytest.mark.parametrize("closing_method", ["close", "reset"])
async def test_a_stale_connection_does_not_fail_an_idempotent_call(backend: Backend, closing_method: str) -> None:
    async def leave(peer: Peer) -> None:
        getattr(peer, closing_method)()

    async with ScriptedOrigin(OK, leave, OK) as origin:
        await fetch(backend, origin)
        assert await fetch(backend, origin, call("DELETE")) == (200, b"ok")
    assert (origin.connections, len(origin.requests)) == (2, 3)


TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


async def test_a_target_that_has_given_up_waiting_is_called_again(backend: Backend) -> None:
    """Apache and HAProxy send 408 on an idle connection that they close; the call may have crossed it."""
    async with ScriptedOrigin(OK, TIMED_OUT, OK) as origin:
        await fetch(backend, origin)
        assert await fetch(backend, origin) == (200, b"ok")
    assert (origin.connections, len(origin.requests)) == (2, 3)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_408_of_the_targets_own_is_passed_on(backend: Backend, method: str) -> None:
    """On a new connection, for a call that cannot be repeated, or without the end of the connection."""
    before = () if method == "GET" else (OK,)
    async with ScriptedOrigin(*before, TIMED_OUT, TIMED_OUT.replace(b"Connection: close\r\n", b""), OK) as origin:
        for _ in before:
            await fetch(backend, origin)
        assert (await fetch(backend, origin, call(method)))[0] == 408
        assert (await fetch(backend, origin, call(method)))[0] == 408
    assert len(origin.requests) == len(before) + 2


@pytest.mark.parametrize(("method", "body"), [("POST", None), ("PUT", chunks(b"ab"))])
async def test_a_call_that_cannot_be_repeated_is_not(backend: Backend, method: str, body: Body | None) -> None:
    async with ScriptedOrigin(OK, closing, OK) as origin:
        await fetch(backend, origin)
        what = call(method, body=chunks(b"ab") if body else None)
        with pytest.raises(BadGateway):
            await fetch(backend, origin, what)
    assert len(origin.requests) == 2


async def test_a_call_is_not_retried_if_a_new_connection_is_closed(backend: Backend) -> None:
    async with ScriptedOrigin(closing) as origin:
        with pytest.raises(BadGateway):
            await fetch(backend, origin)
    assert len(origin.requests) == 1


async def test_a_closed_backend_keeps_no_connections() -> None:
    backend = Backend()
    async with ScriptedOrigin(OK) as origin:
        await fetch(backend, origin)
        await backend.close()
        for _ in range(2):
            await fetch(backend, origin)
    assert origin.connections == 3

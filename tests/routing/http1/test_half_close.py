"""Clients that close their side after a request: one that waits gets its response, one that is gone ends the call."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from routing.http import Request, Response
from routing.http1.connection import Connection
from tests.http1_client import Client, Worker
from tests.routing.http1.test_connection import Deferred, bodies, get, post, response

TIMEOUT = 20


class Held(Deferred):
    """`begun` and `ended` are set when a request is."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def _respond(self, request: Request) -> Response:
        self.begun.set()
        try:
            return await super()._respond(request)
        finally:
            self.ended.set()


@asynccontextmanager
async def serving(worker: Worker) -> AsyncIterator[socket.socket]:
    """A client's socket, connected to a server on a real one."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(worker, loop), "127.0.0.1", 0)
    client = socket.socket()
    client.setblocking(False)
    try:
        await loop.sock_connect(client, server.sockets[0].getsockname())
        yield client
    finally:
        client.close()
        server.close()


async def received(client: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    data = b""
    while chunk := await asyncio.get_running_loop().sock_recv(client, 65_536):
        data += chunk
    return data


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """Runs a coroutine on an event loop of each kind."""

    def run(work: Awaitable[None]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(TIMEOUT):
                await work

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(limited())

    return run


@pytest.mark.parametrize("data", [get(b"/a"), get(b"/a", b"Connection: close"), get(b"/a", version=b"1.0"), b"\r\n"])
@pytest.mark.parametrize("probes", [0, 2, 9])
async def test_a_client_that_waits_gets_the_whole_response(data: bytes, probes: int) -> None:
    handler = Deferred()
    client = Client(Worker(handler))
    client.send(get(b"/a") + data if data == b"\r\n" else data)
    await client.settle()
    assert client.connection.eof_received()
    for _ in range(probes):
        client.connection.transport._probe()  # type: ignore[attr-defined] # a HalfClosed
    assert client.received == b"HTTP/1.1 "[:probes]
    handler.respond(b"/a")
    await client.settle()
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in client.received
    assert bodies(client.received) == [b"/a"]
    assert client.transport.closed


async def test_pipelined_requests_are_all_answered() -> None:
    handler = Deferred()
    client = Client(Worker(handler))
    client.send(get(b"/a") + get(b"/b"))
    await client.settle()
    assert not client.transport.reading  # the end is not seen before the second request is current
    handler.respond(b"/a")
    await client.settle()
    assert client.connection.eof_received()
    handler.respond(b"/b")
    await client.settle()
    assert bodies(client.received) == [b"/a", b"/b"]
    assert client.transport.closed


async def test_interim_responses_and_streams_begin_once() -> None:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"a"
        yield b"b"

    async def respond(request: Request) -> Response:
        begun.set()
        await go_on.wait()
        assert request.send_interim is not None
        request.send_interim(103, [(b"link", b"</s>")])
        return Response(200, [], chunks())

    begun, go_on = asyncio.Event(), asyncio.Event()
    client = Client(Worker(respond))
    client.send(get(b"/a"))
    await begun.wait()
    assert client.connection.eof_received()
    client.connection.transport._probe()  # type: ignore[attr-defined] # a HalfClosed
    go_on.set()
    await client.settle()
    assert client.received.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </s>\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert client.received.endswith(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")


@pytest.mark.parametrize("data", [b"", b"GET /a HTTP/1.1\r\nHo", post(b"ab", length=5)])
async def test_a_request_that_is_incomplete_ends_with_the_connection(data: bytes) -> None:
    client = Client(Worker(Deferred()))
    client.send(data)
    await client.settle()
    assert not client.connection.eof_received()


async def test_a_client_that_closes_its_side_while_a_response_is_sent_is_gone() -> None:
    async def endless() -> AsyncGenerator[bytes, None]:
        yield b"a"
        await asyncio.Event().wait()

    client = Client(Worker(lambda _request: Response(200, [], endless())))
    client.send(get(b"/a"))
    await client.settle()
    assert not client.connection.eof_received()
    client.disconnect()


def test_over_a_socket_the_response_arrives_after_the_client_has_closed_its_side(
    run: Callable[[Awaitable[None]], None],
) -> None:
    async def check() -> None:
        handler = Held()
        async with serving(Worker(handler)) as client:
            client.send(post(b"abc"))
            client.shutdown(socket.SHUT_WR)
            await handler.begun.wait()
            loop = asyncio.get_running_loop()
            beginning = await loop.sock_recv(client, 1)
            handler.respond(b"/p")
            assert bodies(beginning + await received(client)) == [b"/p"]
        assert handler.bodies == [b"abc"]

    run(check())


def test_over_a_socket_a_client_that_has_gone_cancels_the_call(run: Callable[[Awaitable[None]], None]) -> None:
    async def check() -> None:
        handler = Held()
        worker = Worker(handler)
        async with serving(worker) as client:
            client.send(get(b"/a"))
            await handler.begun.wait()
            client.close()
            await handler.ended.wait()
        assert handler.ends == ["cancelled"]
        assert not worker.connections

    run(check())


async def test_a_response_without_a_task_is_sent_before_the_connection_closes() -> None:
    client = Client(Worker(lambda request: response(request.path)))
    client.send(get(b"/a"))
    assert not client.connection.eof_received()
    assert bodies(client.received) == [b"/a"]

import asyncio
import socket
from collections.abc import Awaitable, Callable
from math import inf
from unittest.mock import Mock

import msgspec
import pytest

from routing.backend.call import MAX_BUFFERED_BYTES
from routing.backend.client import Backend, BackendResponse
from routing.backend.connection import BackendConnection
from routing.backend.names import Address
from routing.errors import BadGateway, StreamTimeout, UpstreamTimeout
from routing.router.policy import Target, Timeout
from tests.origin import Peer, ScriptedOrigin
from tests.routing.backend.calls import GENEROUS, OK, call, chunks, fetch, read, send

pytestmark = pytest.mark.slow
HEAD = b"HTTP/1.1 200 OK\r\n"
SHORT_READ = Timeout(connect=5, read=0.05, total=20)
SHORT_TOTAL = Timeout(connect=5, read=20, total=0.1)
SHORT_IDLE = Timeout(connect=5, read=20, total=20, idle=0.1)


async def test_a_connection_that_does_not_open_in_time_is_a_timeout(backend: Backend) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        with pytest.raises(UpstreamTimeout):
            await backend.send(Target(f"http://127.0.0.1:{address[1]}"), call(), Timeout(connect=0.05))
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(
    "response",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"<html>hello</html>\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
        b"HTTP/1.1 600 High\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
        HEAD + b"Content-Length: 2, 3\r\n\r\nokk",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length : 2\r\n\r\nok",
        HEAD + b"X: a\r\n folded\r\nContent-Length: 2\r\n\r\nok",
        HEAD + b"X: a\0b\r\nContent-Length: 2\r\n\r\nok",
        HEAD + b"X: a\nContent-Length: 2\r\n\r\nok",
        HEAD + b"X: " + b"a" * 70_000 + b"\r\nContent-Length: 2\r\n\r\nok",
        HEAD + b"X: a\r\n" * 201 + b"Content-Length: 2\r\n\r\nok",
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 4_000 + OK,
    ],
)
async def test_a_response_that_is_not_valid_http_is_a_bad_gateway(backend: Backend, response: bytes) -> None:
    async with ScriptedOrigin(response) as origin:
        with pytest.raises(BadGateway):
            await fetch(backend, origin)
    assert len(origin.requests) == 1


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (HEAD + b"X: ", b"a" * 1000),
        (HEAD, b"X: a\r\n" * 100),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 1000),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n" * 100),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["line", "fields", "chunk extension", "trailers", "interim responses"],
)
async def test_an_endless_head_is_a_bad_gateway(backend: Backend, head: bytes, more: bytes) -> None:
    async def endless(peer: Peer) -> None:
        await peer.send(head)
        while True:
            await peer.send(more)

    async with ScriptedOrigin(endless) as origin:
        with pytest.raises(BadGateway):
            await fetch(backend, origin)


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 2", HEAD + b"X: a\r\n"])
async def test_a_connection_closed_before_the_end_of_the_head_is_a_bad_gateway(backend: Backend, part: bytes) -> None:
    async def cut(peer: Peer) -> None:
        await peer.send(part)
        peer.close()

    async with ScriptedOrigin(cut) as origin:
        with pytest.raises(BadGateway):
            await send(backend, origin)
    assert len(origin.requests) == 1


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH\r\n"])
async def test_a_service_that_closes_or_sends_first_is_a_bad_gateway(backend: Backend, greeting: bytes) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BadGateway):
            await backend.send(Target(f"http://127.0.0.1:{port}"), call("POST", body=chunks(b"ab")), GENEROUS)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9\r\n\r\nsome", b"Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n"]
)
@pytest.mark.parametrize("closing_method", ["close", "reset"])
async def test_a_connection_lost_in_the_body_fails_after_the_data_received(
    backend: Backend, framing: bytes, closing_method: str
) -> None:
    data_read = asyncio.Event()

    async def cut(peer: Peer) -> None:
        await peer.send(HEAD + framing)
        await data_read.wait()
        getattr(peer, closing_method)()

    async with ScriptedOrigin(cut) as origin:
        response = await send(backend, origin)
        assert await anext(response.body) == b"some"
        data_read.set()
        for _ in range(2):
            with pytest.raises(BadGateway):
                await anext(response.body)


async def test_a_reset_is_not_the_end_of_a_body_without_length(backend: Backend) -> None:
    data_read = asyncio.Event()

    async def cut(peer: Peer) -> None:
        await peer.send(HEAD + b"\r\nsome")
        await data_read.wait()
        peer.reset()

    async with ScriptedOrigin(cut) as origin:
        response = await send(backend, origin)
        assert await anext(response.body) == b"some"
        data_read.set()
        with pytest.raises(BadGateway):
            await anext(response.body)


@pytest.mark.parametrize("timeouts", [SHORT_READ, SHORT_TOTAL])
@pytest.mark.parametrize("part", [b"", HEAD, b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_response_that_does_not_start_is_a_timeout(backend: Backend, part: bytes, timeouts: Timeout) -> None:
    async def stall(peer: Peer) -> None:
        await peer.send(part)
        await peer.wait_closed()

    async with ScriptedOrigin(stall) as origin:
        with pytest.raises(UpstreamTimeout):
            await send(backend, origin, timeouts=timeouts)


async def test_a_body_that_stops_is_a_timeout(backend: Backend) -> None:
    async def stall(peer: Peer) -> None:
        await peer.send(HEAD + b"Content-Length: 9\r\n\r\nsome")
        await peer.wait_closed()

    async with ScriptedOrigin(stall) as origin:
        with pytest.raises(UpstreamTimeout):
            await read(await send(backend, origin, timeouts=SHORT_IDLE))


async def drip(peer: Peer) -> None:
    await peer.send(HEAD + b"\r\n")
    for _ in range(60):
        await peer.send(b".")
        await asyncio.sleep(0.005)
    peer.close()


@pytest.mark.parametrize("limit", ["read", "total", "idle"])
async def test_a_body_that_flows_has_no_time_limit(backend: Backend, limit: str) -> None:
    """It takes 0.3 s at least."""
    timeouts = msgspec.structs.replace(Timeout(connect=5, read=20, total=20), **{limit: 0.25})
    async with ScriptedOrigin(drip) as origin:
        assert len(await read(await send(backend, origin, timeouts=timeouts))) == 60


async def test_a_body_ends_at_the_stream_timeout_which_is_not_a_failure(backend: Backend) -> None:
    async with ScriptedOrigin(drip) as origin:
        with pytest.raises(StreamTimeout):
            await read(await send(backend, origin, timeouts=Timeout(stream=0.1)))


async def test_the_stream_timeout_counts_while_the_reader_is_slow_too(backend: Backend) -> None:
    async with ScriptedOrigin(drip) as origin:
        response = await send(backend, origin, timeouts=Timeout(stream=0.05))
        await asyncio.sleep(0.15)
        with pytest.raises(StreamTimeout):
            await read(response)


async def test_time_the_reader_takes_does_not_count_as_the_services(backend: Backend) -> None:
    proceed = asyncio.Event()

    async def wait_for_reader(peer: Peer) -> None:
        await peer.send(HEAD + b"Content-Length: 3\r\n\r\na")
        await proceed.wait()
        await peer.send(b"bc")

    async with ScriptedOrigin(wait_for_reader) as origin:
        response = await send(backend, origin, timeouts=SHORT_IDLE)
        await asyncio.sleep(SHORT_IDLE.idle * 2)
        proceed.set()
        assert await read(response) == b"abc"


async def test_a_service_that_does_not_read_the_body_is_a_timeout(backend: Backend) -> None:
    async def never_reads(_: Peer) -> None:
        await asyncio.Event().wait()

    async with ScriptedOrigin(never_reads) as origin:
        big = chunks(*[bytes(1 << 20)] * 40)
        with pytest.raises(UpstreamTimeout):
            await send(backend, origin, call("POST", body=big), timeouts=SHORT_READ)


async def test_a_slow_reader_slows_the_service_down(backend: Backend) -> None:
    sent = 0
    total_size = 64 << 20

    async def send_large_body(peer: Peer) -> None:
        nonlocal sent
        await peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % total_size)
        while sent < total_size:
            await peer.send(bytes(1 << 18))
            sent += 1 << 18

    async with ScriptedOrigin(send_large_body) as origin:
        response = await send(backend, origin)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < total_size / 2
        largest = total = 0
        async for data in response.body:
            largest, total = max(largest, len(data)), total + len(data)
        assert total == total_size
        assert largest <= 2 * MAX_BUFFERED_BYTES


async def _assert_closed(sent_first: bytes, abandon: Callable[[ScriptedOrigin], Awaitable[None]]) -> None:
    gone = asyncio.Event()

    async def wait_for_close(peer: Peer) -> None:
        await peer.send(sent_first)
        await peer.wait_closed()
        gone.set()

    async with ScriptedOrigin(wait_for_close) as origin:
        await abandon(origin)
        await asyncio.wait_for(gone.wait(), 10)


async def test_a_cancelled_call_closes_its_connection(backend: Backend) -> None:
    async def abandon(origin: ScriptedOrigin) -> None:
        sending = asyncio.create_task(send(backend, origin))
        await origin.requested.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    await _assert_closed(b"", abandon)


async def test_a_cancelled_reader_closes_its_connection(backend: Backend) -> None:
    async def abandon(origin: ScriptedOrigin) -> None:
        reading = asyncio.create_task(read(await send(backend, origin)))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    await _assert_closed(HEAD + b"Content-Length: 9\r\n\r\n", abandon)


async def test_an_abandoned_response_closes_its_connection(backend: Backend) -> None:
    async def abandon(origin: ScriptedOrigin) -> None:
        response: BackendResponse = await send(backend, origin)
        await response.aclose()
        await response.aclose()
        assert await read(response) == b""

    await _assert_closed(HEAD + b"Content-Length: 9\r\n\r\nsome", abandon)


async def test_a_deadline_that_has_passed_may_be_replaced() -> None:
    """uvloop gives no time of a timer that is due at once."""
    loop = asyncio.get_running_loop()
    connection = BackendConnection(("localhost", 80, False), loop, Address(socket.AF_INET, ("127.0.0.1", 80)), inf)
    listener = connection.listener = Mock()
    connection.expire_at(loop.time() - 1)
    connection.expire_at(loop.time() - 2)
    await asyncio.sleep(0.01)
    listener.expired.assert_called_once_with()

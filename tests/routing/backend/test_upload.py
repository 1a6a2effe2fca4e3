import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from routing.backend.client import Backend
from routing.errors import BadGateway, BadRequest, BodyTooLarge
from routing.router.policy import Target, Timeout
from routing.tls.policy import TlsPolicy
from tests.internal_ca import InternalCa, server_context
from tests.origin import Peer, ScriptedOrigin
from tests.routing.backend.calls import OK, call, chunks, fetch, read, send

TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(1000)
        await asyncio.sleep(0)


@pytest.mark.parametrize("length", [None, 1 << 30])
async def test_an_early_error_response_stops_the_upload(backend: Backend, length: int | None) -> None:
    async def respond_early(peer: Peer) -> None:
        await peer.send(TOO_LARGE)
        await peer.wait_closed()

    async with ScriptedOrigin(respond_early, OK) as origin:
        assert await fetch(backend, origin, call("POST", body=endless(), length=length)) == (413, b"no")
        assert await fetch(backend, origin) == (200, b"ok")
    assert origin.connections == 2


async def test_an_early_error_response_reaches_a_client_that_stopped_sending(backend: Backend) -> None:
    stopped = asyncio.Event()

    async def never_ends() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def respond_early(peer: Peer) -> None:
        await peer.send(TOO_LARGE)
        await peer.wait_closed()

    async with ScriptedOrigin(respond_early) as origin:
        response = await send(backend, origin, call("POST", body=never_ends()))
        assert (response.status, await read(response)) == (413, b"no")
        await response.aclose()
        assert stopped.is_set()


async def test_a_service_may_respond_during_the_upload(backend: Backend) -> None:
    echoed = asyncio.Event()

    async def send_in_two() -> AsyncIterator[bytes]:
        yield b"a"
        await echoed.wait()
        yield b"b"

    async def echo(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(2):
            piece = await peer.reader.readexactly(6)
            await peer.send(piece)
        await peer.send(await peer.reader.readexactly(5))

    async with ScriptedOrigin(echo) as origin:
        response = await send(backend, origin, call("POST", body=send_in_two()))
        assert await anext(response.body) == b"a"
        echoed.set()
        assert await read(response) == b"b"


async def test_a_complete_response_during_the_upload_is_passed_on_and_the_connection_closed(backend: Backend) -> None:
    async def respond_early(peer: Peer) -> None:
        await peer.send(OK)
        await peer.wait_closed()

    async with ScriptedOrigin(respond_early, OK) as origin:
        assert await fetch(backend, origin, call("POST", body=endless())) == (200, b"ok")
        assert await fetch(backend, origin) == (200, b"ok")
    assert origin.connections == 2


@pytest.mark.parametrize("fault", [BodyTooLarge("too much"), RuntimeError("the client disconnected")])
async def test_an_exception_of_the_body_passes_through_unchanged(backend: Backend, fault: Exception) -> None:
    closed = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise fault

    async def wait_for_close(peer: Peer) -> None:
        await peer.wait_closed()
        closed.set()

    async with ScriptedOrigin(wait_for_close) as origin:
        with pytest.raises(type(fault)) as raised:
            await send(backend, origin, call("POST", body=broken()))
        await asyncio.wait_for(closed.wait(), 10)
    assert raised.value is fault


async def test_an_exception_of_the_body_after_the_head_ends_the_response(backend: Backend) -> None:
    head_received = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        await head_received.wait()
        raise BodyTooLarge("too much")

    async def send_head(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await peer.wait_closed()

    async with ScriptedOrigin(send_head) as origin:
        response = await send(backend, origin, call("POST", body=broken()))
        head_received.set()
        with pytest.raises(BodyTooLarge):
            await read(response)


@pytest.mark.parametrize("length", [3, 9])
async def test_a_body_that_differs_from_its_length_is_rejected(backend: Backend, length: int) -> None:
    async def wait_for_close(peer: Peer) -> None:
        await peer.wait_closed()
        assert len(peer.request.body) <= length

    async with ScriptedOrigin(wait_for_close) as origin:
        with pytest.raises(BadRequest):
            await send(backend, origin, call("POST", body=chunks(b"abcd"), length=length))


async def test_a_body_with_a_length_is_not_read_beyond_it(backend: Backend) -> None:
    async def never_ends() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.Event().wait()

    async with ScriptedOrigin(OK) as origin:
        for _ in range(2):
            assert await fetch(backend, origin, call("POST", body=never_ends(), length=3)) == (200, b"ok")
    assert origin.connections == 1


async def test_a_reset_during_the_upload_is_a_bad_gateway(backend: Backend) -> None:
    async def reset(peer: Peer) -> None:
        peer.reset()

    async with ScriptedOrigin(reset) as origin:
        with pytest.raises(BadGateway):
            await send(backend, origin, call("POST", body=endless()))


@pytest.mark.parametrize("length", [None, 201_000])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_response_sent_before_the_reset_is_the_response(
    backend: Backend, scheme: str, length: int | None
) -> None:
    """The rest of the upload finds the connection reset, while the response that was sent before has not been read."""
    refused, ca = threading.Event(), InternalCa()

    def refuse() -> None:
        connection, _ = listener.accept()
        connection.settimeout(5)
        if scheme == "https":
            connection = server_context(ca.server()).wrap_socket(connection, server_side=True)
        with connection:
            connection.recv(200)
            time.sleep(0.1)
            connection.sendall(TOO_LARGE)
        refused.set()  # and reset, since the body was not read

    async def in_a_burst() -> AsyncIterator[bytes]:
        yield bytes(1_000)
        await asyncio.sleep(0.05)  # written
        refused.wait(5)
        for _ in range(2):
            yield bytes(100_000)
            await asyncio.sleep(0)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as threads:
        listener.settimeout(5)
        refusing = threads.submit(refuse)
        response = await backend.send(
            Target(
                f"{scheme}://127.0.0.1:{listener.getsockname()[1]}",
                tls=TlsPolicy(ca=ca.pem) if scheme == "https" else None,
            ),
            call("POST", body=in_a_burst(), length=length),
            Timeout(),
        )
        assert (response.status, await read(response)) == (413, b"no")
        await response.aclose()
        refusing.result()


async def test_a_large_body_arrives_complete(backend: Backend) -> None:
    parts = [bytes([n]) * 100_000 for n in range(50)]
    async with ScriptedOrigin(OK) as origin:
        assert await fetch(backend, origin, call("POST", body=chunks(*parts))) == (200, b"ok")
    assert origin.requests[0].body == b"".join(parts)

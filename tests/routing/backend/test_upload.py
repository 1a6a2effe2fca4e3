import asyncio
from collections.abc import AsyncIterator

import pytest

from routing.backend.client import Backend
from routing.errors import BadGateway, BadRequest, BodyTooLarge
from tests.origin import Peer, ScriptedOrigin
from tests.routing.backend.calls import OK, call, fetch, pieces, read, send

TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(1000)
        await asyncio.sleep(0)


@pytest.mark.parametrize("length", [None, 1 << 30])
async def test_an_early_refusal_stops_the_upload(backend: Backend, length: int | None) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.send(TOO_LARGE)
        await peer.wait_closed()

    async with ScriptedOrigin(refuse, OK) as origin:
        assert await fetch(backend, origin, call("POST", body=endless(), length=length)) == (413, b"no")
        assert await fetch(backend, origin) == (200, b"ok")
    assert origin.connections == 2


async def test_an_early_refusal_reaches_a_client_that_has_stopped_sending(backend: Backend) -> None:
    stopped = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def refuse(peer: Peer) -> None:
        await peer.send(TOO_LARGE)
        await peer.wait_closed()

    async with ScriptedOrigin(refuse) as origin:
        answer = await send(backend, origin, call("POST", body=stuck()))
        assert (answer.status, await read(answer)) == (413, b"no")
        await answer.aclose()
        assert stopped.is_set()


async def test_a_service_may_answer_while_it_is_still_being_sent_to(backend: Backend) -> None:
    heard = asyncio.Event()

    async def speak() -> AsyncIterator[bytes]:
        yield b"a"
        await heard.wait()
        yield b"b"

    async def echo(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(2):
            piece = await peer.reader.readexactly(6)
            await peer.send(piece)
        await peer.send(await peer.reader.readexactly(5))

    async with ScriptedOrigin(echo) as origin:
        answer = await send(backend, origin, call("POST", body=speak()))
        assert await anext(answer.body) == b"a"
        heard.set()
        assert await read(answer) == b"b"


async def test_a_whole_answer_before_the_upload_ends_is_passed_on_and_the_connection_closed(backend: Backend) -> None:
    async def hasty(peer: Peer) -> None:
        await peer.send(OK)
        await peer.wait_closed()

    async with ScriptedOrigin(hasty, OK) as origin:
        assert await fetch(backend, origin, call("POST", body=endless())) == (200, b"ok")
        assert await fetch(backend, origin) == (200, b"ok")
    assert origin.connections == 2


@pytest.mark.parametrize("fault", [BodyTooLarge("too much"), RuntimeError("the client broke off")])
async def test_what_the_body_raises_passes_through_unchanged(backend: Backend, fault: Exception) -> None:
    gone = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise fault

    async def take(peer: Peer) -> None:
        await peer.wait_closed()
        gone.set()

    async with ScriptedOrigin(take) as origin:
        with pytest.raises(type(fault)) as raised:
            await send(backend, origin, call("POST", body=broken()))
        await asyncio.wait_for(gone.wait(), 10)
    assert raised.value is fault


async def test_what_the_body_raises_after_the_answer_began_ends_the_answer(backend: Backend) -> None:
    begun = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        await begun.wait()
        raise BodyTooLarge("too much")

    async def begin(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await peer.wait_closed()

    async with ScriptedOrigin(begin) as origin:
        answer = await send(backend, origin, call("POST", body=broken()))
        begun.set()
        with pytest.raises(BodyTooLarge):
            await read(answer)


@pytest.mark.parametrize("length", [3, 9])
async def test_a_body_unlike_its_length_is_refused(backend: Backend, length: int) -> None:
    async def take(peer: Peer) -> None:
        await peer.wait_closed()
        assert len(peer.request.body) <= length

    async with ScriptedOrigin(take) as origin:
        with pytest.raises(BadRequest):
            await send(backend, origin, call("POST", body=pieces(b"abcd"), length=length))


async def test_a_counted_body_is_not_asked_for_more_than_it_has(backend: Backend) -> None:
    async def never_ends() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.Event().wait()

    async with ScriptedOrigin(OK) as origin:
        for _ in range(2):
            assert await fetch(backend, origin, call("POST", body=never_ends(), length=3)) == (200, b"ok")
    assert origin.connections == 1


async def test_a_reset_while_uploading_is_a_bad_gateway(backend: Backend) -> None:
    async def reset(peer: Peer) -> None:
        peer.reset()

    async with ScriptedOrigin(reset) as origin:
        with pytest.raises(BadGateway):
            await send(backend, origin, call("POST", body=endless()))


async def test_a_large_body_arrives_whole(backend: Backend) -> None:
    parts = [bytes([n]) * 100_000 for n in range(50)]
    async with ScriptedOrigin(OK) as origin:
        assert await fetch(backend, origin, call("POST", body=pieces(*parts))) == (200, b"ok")
    assert origin.requests[0].body == b"".join(parts)

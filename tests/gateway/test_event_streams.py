"""Event streams of backends, on their way through proxies ahead of the gateway."""

import asyncio

import msgspec
import pytest

from routing.messages.comments import COMMENT
from routing.router.policy import RoutePolicy, Timeout
from tests.gateway.conftest import World
from tests.origin import Peer


async def field_of_a_stream(world: World, *lines: str) -> str | None:
    """X-Accel-Buffering of a streamed response whose head has these lines."""
    head = "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *lines))

    async def stream(peer: Peer) -> None:
        await peer.send(head.encode() + b"\r\n")
        await asyncio.sleep(0.05)  # otherwise the gateway may read all of it at once, and sends it whole
        await peer.send(b"6\r\ndata\n\n\r\n0\r\n\r\n")

    await world.serve(stream)
    response = await world.request("GET", "/api/v1/crm/events")
    assert response.body == b"data\n\n"
    return response.get("x-accel-buffering")


@pytest.mark.parametrize(
    "media_type",
    [
        "text/event-stream",
        "Text/Event-Stream; charset=utf-8",
        "multipart/x-mixed-replace;boundary=x",
        "application/x-ndjson",
    ],
)
async def test_nginx_is_told_not_to_buffer_them(world: World, media_type: str) -> None:
    assert await field_of_a_stream(world, f"Content-Type: {media_type}") == "no"


@pytest.mark.parametrize("lines", [(), ("Content-Type: text/plain",), ("Content-Type: application/json",)])
async def test_other_streams_may_be_buffered(world: World, lines: tuple[str, ...]) -> None:
    assert await field_of_a_stream(world, *lines) is None


@pytest.mark.parametrize("value", ["yes", "no"])
async def test_what_the_backend_says_is_kept(world: World, value: str) -> None:
    stream = "Content-Type: text/event-stream", f"X-Accel-Buffering: {value}"
    assert await field_of_a_stream(world, *stream) == value


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n"
HALVES = b"data: 1\n\ndata: ", b"2\n\n"


def pinged() -> RoutePolicy:
    timeout = Timeout(ping=1)
    msgspec.structs.force_setattr(timeout, "ping", 0.05)  # less than is accepted, so that tests are short
    return RoutePolicy(timeout=timeout)


async def silent(peer: Peer) -> None:
    await peer.send(HEAD + b"\r\n")
    await asyncio.sleep(0.3)
    for half in HALVES:
        await peer.send(b"%x\r\n%b\r\n" % (len(half), half))
        await asyncio.sleep(0.3)
    await peer.send(b"0\r\n\r\n")


async def test_the_client_of_a_silent_model_gets_comments_which_are_not_counted(world: World) -> None:
    await world.serve(silent, policy=pinged())
    response = await world.request("POST", "/api/v1/crm/events")
    assert response.complete
    assert response.body.startswith(COMMENT)
    assert response.body.endswith(COMMENT)
    assert response.body.replace(COMMENT, b"") == b"".join(HALVES)
    assert b"data: 2\n\n" in response.body
    assert world.observer.requests[-1].bytes == len(b"".join(HALVES))


async def test_no_comments_without_the_setting_and_in_no_other_media_type(world: World) -> None:
    async def other(peer: Peer) -> None:
        await peer.send(HEAD.replace(b"event-stream", b"plain") + b"\r\n")
        await asyncio.sleep(0.2)
        await peer.send(b"1\r\nx\r\n0\r\n\r\n")

    await world.serve(silent, policy=RoutePolicy())
    await world.serve(other, name="other", policy=pinged())
    assert (await world.request("GET", "/api/v1/crm/events")).body == b"".join(HALVES)
    assert (await world.request("GET", "/api/v1/other/events")).body == b"x"

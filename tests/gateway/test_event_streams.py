"""Event streams of backends, on their way through proxies ahead of the gateway."""

import asyncio

import pytest

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

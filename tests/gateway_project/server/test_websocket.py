"""WebSockets: a connection that is lost before the application knows, and pings."""

import asyncio
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState
from websockets.protocol import State

from gateway_project.server.websocket import WebSocket
from routing.realtime.handshake import PINGS_EXTENSION
from tests.resilience.cache.entries import until
from tests.system.frames import TEXT, frame


class LostTransport:
    """Refuses to write, as uvloop's does once the peer has closed the connection."""

    def is_closing(self) -> bool:
        return True

    def write(self, data: bytes) -> None:
        raise RuntimeError("unable to perform operation on a closed transport")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


async def test_a_message_to_a_lost_connection_is_dropped_without_an_error() -> None:
    """The hub writes an event to one subscriber after the other: an error would keep it from the others."""
    config = uvicorn.Config(application, log_config=None)
    websocket = WebSocket(config, ServerState(), {}, asyncio.get_running_loop())
    websocket.transport = cast(asyncio.Transport, LostTransport())
    websocket.handshake_complete = True
    websocket.conn.state = State.OPEN
    sent = websocket.send({"type": "websocket.send", "text": "event"})
    await sent


HANDSHAKE = b"\r\n".join(
    [
        b"GET /ws HTTP/1.1",
        b"Host: h",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"",
        b"",
    ]
)
PING = b"\x89\x80\x00\x00\x00\x00"


async def test_the_application_can_see_how_many_pings_the_client_has_sent() -> None:
    counts = []

    async def count_pings(scope: Any, receive: Any, send: Any) -> None:
        count = scope["extensions"][PINGS_EXTENSION]["count"]
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(3):
            counts.append(count())
            await receive()

    config = uvicorn.Config(count_pings, log_config=None, lifespan="off")
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: WebSocket(config, ServerState(), {}, loop), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        for pings in (1, 2):
            await until(lambda read=pings: len(counts) == read)
            writer.write(PING * pings)
            assert await reader.readexactly(2 * pings) == b"\x8a\x00" * pings
            writer.write(frame(TEXT, b"next"))
        await until(lambda: len(counts) == 3)
        writer.close()
    assert counts == [0, 1, 3]

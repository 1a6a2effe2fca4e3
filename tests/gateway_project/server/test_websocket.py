"""A WebSocket whose connection is lost before the application knows."""

import asyncio
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState
from websockets.protocol import State

from gateway_project.server.websocket import WebSocket


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

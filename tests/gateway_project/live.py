"""A WebSocket backend."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.system.echo import websocket_server


async def _echo(ws: ServerConnection) -> None:
    """Send the path and fields of the handshake, then echo. `bye` closes the connection."""
    assert ws.request is not None
    fields = {name.lower(): value for name, value in ws.request.headers.raw_items()}
    await ws.send(msgspec.json.encode({"path": ws.request.path, "fields": fields}).decode())
    async for message in ws:
        if message == "bye":
            await ws.close(4123, "as requested")
            return
        await ws.send(message)


def _handshake(ws: ServerConnection, request: Request) -> Response | None:
    if "elsewhere" in request.path:
        response = ws.respond(302, "")
        response.headers["Location"] = "ws://127.0.0.1:1/inside"
        return response
    return None


def _select_subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("chat") if "chat" in offered else None


def live_backend() -> AbstractContextManager[int]:
    """Run the backend in a thread. Yields its port."""
    return websocket_server(_echo, process_request=_handshake, select_subprotocol=_select_subprotocol)

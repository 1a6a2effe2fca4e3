"""A backend that speaks WebSocket."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.system.echo import listening


async def _echo(ws: ServerConnection) -> None:
    """Says what it was sent in the handshake, then repeats; `bye` makes it close, `redirect` is no more than text."""
    assert ws.request is not None
    fields = {name.lower(): value for name, value in ws.request.headers.raw_items()}
    await ws.send(msgspec.json.encode({"path": ws.request.path, "fields": fields}).decode())
    async for message in ws:
        if message == "bye":
            await ws.close(4123, "as asked")
            return
        await ws.send(message)


def _handshake(ws: ServerConnection, request: Request) -> Response | None:
    if "elsewhere" in request.path:
        response = ws.respond(302, "")
        response.headers["Location"] = "ws://127.0.0.1:1/inside"
        return response
    return None


def _chosen(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("chat") if "chat" in offered else None


def live_backend() -> AbstractContextManager[int]:
    """The port of a backend that speaks WebSocket, on a thread of its own."""
    return listening(_echo, process_request=_handshake, select_subprotocol=_chosen)

"""A backend that speaks WebSocket."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Queue
from threading import Thread

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol


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


@contextmanager
def live_backend() -> Iterator[int]:
    """A backend that speaks WebSocket, on a thread of its own."""
    loop, ports = asyncio.new_event_loop(), Queue[int]()
    stop = asyncio.Event()

    async def run() -> None:
        async with serve(_echo, "127.0.0.1", 0, process_request=_handshake, select_subprotocol=_chosen) as server:
            ports.put(server.sockets[0].getsockname()[1])
            await stop.wait()

    thread = Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        yield ports.get(timeout=20)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()

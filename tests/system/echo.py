"""A WebSocket echo server in a thread."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from queue import Queue
from threading import Thread
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


async def _echo(ws: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        async for message in ws:
            await ws.send(message)


@contextmanager
def websocket_server(handler: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> Iterator[int]:
    """Run a WebSocket server in a thread. Yields its port. `options` are those of `serve`.

    A test that leaves it blocks its own event loop, so that clients which are still connected cannot close: they are
    waited for at most a second.
    """
    loop, ports = asyncio.new_event_loop(), Queue[int]()
    stop = asyncio.Event()

    async def run() -> None:
        async with serve(handler, "127.0.0.1", 0, **{"close_timeout": 1, **options}) as server:
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


def echo() -> AbstractContextManager[int]:
    """Run an echo server. Yields its port."""
    return websocket_server(_echo, max_size=None, compression=None)

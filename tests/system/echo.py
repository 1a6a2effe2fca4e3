"""A service that repeats what it hears over a WebSocket, on a thread of its own."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Queue
from threading import Thread

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


async def _repeat(ws: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        async for message in ws:
            await ws.send(message)


@contextmanager
def echo() -> Iterator[int]:
    """Its port."""
    loop, ports = asyncio.new_event_loop(), Queue[int]()
    stop = asyncio.Event()

    async def run() -> None:
        async with serve(_repeat, "127.0.0.1", 0, max_size=None, compression=None) as server:
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

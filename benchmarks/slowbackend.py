"""A backend in a separate process with a configurable delay, a call counter, and a switch to hang."""

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from typing import Final, Self, cast

import uvloop

from benchmarks.origin import RESPONSE

_spawn: Final = multiprocessing.get_context("spawn")


class SlowBackend:
    """Runs within a `with` block. Responds after `seconds`, or not at all to calls received while it hangs."""

    def __init__(self, seconds: float) -> None:
        self.url = ""
        self._calls: Synchronized[int] = _spawn.Value("L", 0)
        self._hangs: Synchronized[int] = _spawn.Value("B", 0)
        self._port, sender = _spawn.Pipe(duplex=False)
        arguments = (sender, seconds, self._calls, self._hangs)
        self._process = _spawn.Process(target=_serve, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self.url = f"http://127.0.0.1:{self._port.recv()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    @property
    def calls(self) -> int:
        return self._calls.value

    def hang(self, hangs: bool) -> None:
        self._hangs.value = hangs


class _Protocol(asyncio.Protocol):
    def __init__(self, seconds: float, calls: "Synchronized[int]", hangs: "Synchronized[int]") -> None:
        self._seconds = seconds
        self._calls = calls
        self._hangs = hangs

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, _: bytes) -> None:
        with self._calls.get_lock():
            self._calls.value += 1
        if not self._hangs.value:
            asyncio.get_running_loop().call_later(self._seconds, self._transport.write, RESPONSE)


def _serve(port: Connection, seconds: float, calls: "Synchronized[int]", hangs: "Synchronized[int]") -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Protocol(seconds, calls, hangs), "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())

"""A backend that takes its time, counts its calls, and hangs when it is told to."""

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from typing import Final, Self, cast

import uvloop

from benchmarks.origin import ANSWER

_spawning: Final = multiprocessing.get_context("spawn")


class SlowBackend:
    """A process of its own inside `with`. `seconds` until each answer; a call it hangs on has none."""

    def __init__(self, seconds: float) -> None:
        self.url = ""
        self._calls: Synchronized[int] = _spawning.Value("L", 0)
        self._hangs: Synchronized[int] = _spawning.Value("B", 0)
        self._here, there = _spawning.Pipe()
        arguments = (there, seconds, self._calls, self._hangs)
        self._process = _spawning.Process(target=_serve, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self.url = f"http://127.0.0.1:{self._here.recv()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    @property
    def calls(self) -> int:
        return self._calls.value

    def hang(self, hangs: bool) -> None:
        self._hangs.value = hangs


class _Answering(asyncio.Protocol):
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
            asyncio.get_running_loop().call_later(self._seconds, self._transport.write, ANSWER)


def _serve(port: Connection, seconds: float, calls: "Synchronized[int]", hangs: "Synchronized[int]") -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Answering(seconds, calls, hangs), "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())

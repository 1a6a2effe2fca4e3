"""A scripted backend beside a gateway of its own process: what it does is in the path that it is asked for."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, Self, TypeVar

from tests.origin import Peer, Script, ScriptedOrigin

Value = TypeVar("Value")


class Backend:
    """Serves `scripts`, one for each path, from a thread of its own; any other path is answered with `{}`."""

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self.scripts = dict(scripts)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._origin = ScriptedOrigin(self._answer)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._origin.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._origin.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def port(self) -> int:
        return self._origin.port

    @property
    def targets(self) -> list[dict[str, str]]:
        """As the configuration file says it."""
        return [{"url": self._origin.url}]

    def asked(self, path: str) -> int:
        """How many requests have come for `path`, whatever their query."""
        return sum(_path(request.line) == path for request in list(self._origin.requests))

    async def _answer(self, peer: Peer) -> None:
        script = self.scripts.get(_path(peer.request.line), ok())
        if isinstance(script, bytes):
            await peer.read_body()
            await peer.send(script)
        else:
            await script(peer)

    def _run(self, coroutine: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def ok(body: bytes = b"{}", *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Type: application/json", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def failing() -> bytes:
    return b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\nOops"


def _path(line: bytes) -> str:
    return line.split(b" ")[1].partition(b"?")[0].decode("latin-1")

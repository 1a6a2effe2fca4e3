"""A backend with a script for each path, in a thread, for a gateway in another process."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, Self, TypeVar

from tests.origin import Peer, Received, Script, ScriptedOrigin

T = TypeVar("T")


class Backend:
    """Serves `scripts` by path; the response to any other path is `{}`."""

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self.scripts = dict(scripts)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._origin = ScriptedOrigin(self._respond)

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
        """As in the configuration file."""
        return [{"url": self._origin.url}]

    @property
    def requests(self) -> list[Received]:
        """What it has received so far."""
        return list(self._origin.requests)

    def request_count(self, path: str) -> int:
        """The number of requests for `path`, with any query."""
        return sum(_path(request.line) == path for request in self.requests)

    async def _respond(self, peer: Peer) -> None:
        script = self.scripts.get(_path(peer.request.line), ok())
        if isinstance(script, bytes):
            await peer.read_body()
            await peer.send(script)
        else:
            await script(peer)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def ok(body: bytes = b"{}", *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Type: application/json", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def failing() -> bytes:
    return b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\nOops"


def _path(line: bytes) -> str:
    return line.split(b" ")[1].partition(b"?")[0].decode("latin-1")

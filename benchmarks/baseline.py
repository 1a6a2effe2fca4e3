"""The gateway's server and HTTP client without the gateway: `python -m benchmarks.baseline PORT [granian]`.

BENCHMARK_RESPONSES is a file of recorded responses by path, which are replayed; requests for any other path are
proxied to BENCHMARK_ORIGIN.
"""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels

from gateway_project.server import serving
from gateway_project.server.worker import Worker
from routing.backend.client import Backend, Call
from routing.router.policy import Target, Timeout


class RecordedResponse(msgspec.Struct, frozen=True):
    """A response of the gateway, to be replayed."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def minimal(self) -> "RecordedResponse":
        """The same status and body with only Content-Type and Content-Length."""
        fields = [("content-type", "application/json"), ("content-length", str(len(self.body)))]
        return RecordedResponse(self.status, fields, self.body)


Recording = dict[str, RecordedResponse]
"""Responses by path."""
TIMEOUT = Timeout()
TARGET = Target(os.environ.get("BENCHMARK_ORIGIN", "http://127.0.0.1:1"))
backend = Backend()


def _messages(recorded: RecordedResponse) -> tuple[dict[str, Any], dict[str, Any]]:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in recorded.headers]
    start = {"type": "http.response.start", "status": recorded.status, "headers": headers}
    return start, {"type": "http.response.body", "body": recorded.body}


def _read() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    file = os.environ.get("BENCHMARK_RESPONSES")
    if file is None:
        return {}
    recording = msgspec.msgpack.decode(Path(file).read_bytes(), type=Recording)
    return {path: _messages(recorded) for path, recorded in recording.items()}


_ready = _read()


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """A minimal ASGI application, the baseline of cache hits; and a minimal proxy, the baseline of misses."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    messages = _ready.get(scope["path"])
    if messages is not None:
        await send(messages[0])
        await send(messages[1])
        return
    response = await backend.send(TARGET, Call("GET", scope["raw_path"], [], None), TIMEOUT)
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    async for chunk in response.body:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


def _run_worker(listening: socket.socket, on_ready: Callable[[], None], _is_successor: bool) -> None:
    Worker(application, lambda _: None, on_ready=on_ready).run([listening])


def _on_granian(port: int) -> None:
    """The same application on granian, for comparison with another ASGI server."""
    Granian(
        "benchmarks.baseline:application",
        port=port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        backlog=4096,
        log_level=LogLevels.warning,
    ).serve()


if __name__ == "__main__":
    if sys.argv[2:] == ["granian"]:
        _on_granian(int(sys.argv[1]))
    else:
        serving.run(_run_worker, host="127.0.0.1", port=int(sys.argv[1]), workers=1)

"""What server and client can do with nothing of the gateway in between: `python -m benchmarks.floor PORT [granian]`.

BENCHMARK_ANSWERS is a file of recorded answers by path, given out as they are; any other path is passed to
BENCHMARK_ORIGIN.
"""

import os
import socket
import sys
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


class Recorded(msgspec.Struct, frozen=True):
    """An answer as the gateway gave it, or its body alone."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def plain(self) -> "Recorded":
        """The same body with the least fields an answer can have."""
        fields = [("content-type", "application/json"), ("content-length", str(len(self.body)))]
        return Recorded(self.status, fields, self.body)


Answers = dict[str, Recorded]
TIMEOUT = Timeout()
TARGET = Target(os.environ.get("BENCHMARK_ORIGIN", "http://127.0.0.1:1"))
backend = Backend()


def _messages(recorded: Recorded) -> tuple[dict[str, Any], dict[str, Any]]:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in recorded.headers]
    start = {"type": "http.response.start", "status": recorded.status, "headers": headers}
    return start, {"type": "http.response.body", "body": recorded.body}


def _read() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    file = os.environ.get("BENCHMARK_ANSWERS")
    if file is None:
        return {}
    answers = msgspec.msgpack.decode(Path(file).read_bytes(), type=Answers)
    return {path: _messages(recorded) for path, recorded in answers.items()}


_ready = _read()


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The least an ASGI application can do, the floor under every hit; and the least a proxy can do with our client,
    the ceiling of every miss.
    """
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    messages = _ready.get(scope["path"])
    if messages is not None:
        await send(messages[0])
        await send(messages[1])
        return
    answer = await backend.send(TARGET, Call("GET", scope["raw_path"], [], None), TIMEOUT)
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    async for chunk in answer.body:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _live(receive: Any, send: Any) -> None:
    while True:
        said = (await receive())["type"]
        await send({"type": f"{said}.complete"})
        if said == "lifespan.shutdown":
            return


def _work(listening: socket.socket) -> None:
    Worker(application, lambda _: None).run([listening])


def _on_granian(port: int) -> None:
    """The fastest server of others: what plain ASGI comes to without ours."""
    Granian(
        "benchmarks.floor:application",
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
        serving.run(_work, host="127.0.0.1", port=int(sys.argv[1]), workers=1)

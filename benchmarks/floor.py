"""What server and client can do with nothing of the gateway in between: the ceilings of benchmarks/gateway.py."""

import os
from typing import Any

from benchmarks.origin import JSON
from routing.backend.client import Backend, Call
from routing.policy import Target, Timeout

HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(JSON))]
TIMEOUT = Timeout()
TARGET = Target(os.environ.get("BENCHMARK_ORIGIN", "http://127.0.0.1:1"))
backend = Backend()


async def answering(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The least an ASGI application can do: the floor under every hit."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": JSON})


async def proxying(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The least a proxy can do with our client: the ceiling of every miss."""
    answer = await backend.send(TARGET, Call("GET", scope["raw_path"], [], None), TIMEOUT)
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    async for chunk in answer.body:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})

"""The gateway's entry points, called with bytes or ASGI messages and without a network."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from django.core.handlers.asgi import ASGIHandler

from routing import asgi, runtime
from routing.backend.head_cache import ResponseHeadCache
from routing.backend.response_parser import ResponseParser
from routing.http import Headers
from routing.pipeline import Gateway
from tests.http1_client import Client, Worker


@dataclass
class ReceivedResponse:
    """A response as the client receives it. `complete` is False if the body was aborted."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def get(self, name: str) -> str | None:
        """The value of a field that occurs at most once."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is repeated: {values}"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name.encode()]


async def _not_found(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    raise AssertionError("the gateway handles this request")


class EntryPoint(Protocol):
    async def handle(self, scope: dict[str, Any], receive: asgi.Receive, send: asgi.Send) -> None: ...


class Http1EntryPoint:
    """Production: a connection of routing/http1. The request is sent as bytes, and the response is parsed."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def handle(self, scope: dict[str, Any], receive: asgi.Receive, send: asgi.Send) -> None:
        client = Client(Worker(self._gateway.answer), scope["client"][0])
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        lines = [b"%b %b HTTP/1.1" % (scope["method"].encode(), target), *map(b": ".join, scope["headers"])]
        client.send(b"\r\n".join([*lines, b"", b""]))
        is_chunked = (b"transfer-encoding", b"chunked") in scope["headers"]
        while (message := await receive())["more_body"]:
            client.send(b"%x\r\n%b\r\n" % (len(message["body"]), message["body"]) if is_chunked else message["body"])
        if is_chunked:
            client.send(b"0\r\n\r\n")
        try:
            while client.worker.tasks:
                await asyncio.wait(client.worker.tasks)
        finally:
            client.disconnect()
        await _send_parsed(client.received, scope["method"], send)


async def _send_parsed(data: bytes, method: str, send: asgi.Send) -> None:
    """Raises BadGateway for an aborted response."""
    reply = ResponseParser(method, ResponseHeadCache())
    reply.feed(data)
    if not reply.complete:
        reply.end()
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.take(), "more_body": False})


class AsgiEntryPoint:
    """Other ASGI servers: routing/asgi.py."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def handle(self, scope: dict[str, Any], receive: asgi.Receive, send: asgi.Send) -> None:
        await asgi.serve_asgi(self._gateway.answer, _not_found, scope, receive, send)


class DjangoEntryPoint:
    """Django: its request handler with every middleware, down to ServiceProxyView."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._handler: asgi.ASGIApplication = ASGIHandler()

    async def handle(self, scope: dict[str, Any], receive: asgi.Receive, send: asgi.Send) -> None:
        await self._handler(scope, receive, send)


async def send_request(
    entry_point: EntryPoint,
    method: str,
    path: str | bytes,
    headers: Sequence[tuple[str, str | bytes]] = (),
    *,
    body: Sequence[bytes] | None = None,
    length: bool = True,
    client: str = "192.0.2.1",
    host: str = "gateway.test",
) -> ReceivedResponse:
    """Send one request. `body` is sent in chunks, with a Content-Length or chunked."""
    raw, _, query = (path if isinstance(path, bytes) else path.encode()).partition(b"?")
    fields: Headers = [(b"host", host.encode())]
    fields += [
        (name.lower().encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers
    ]
    if body is not None:
        framing = (b"content-length", b"%d" % sum(map(len, body))) if length else (b"transfer-encoding", b"chunked")
        fields.append(framing)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": raw.decode("latin-1"),
        "raw_path": raw,
        "query_string": query,
        "root_path": "",
        "headers": fields,
        "client": (client, 50_000),
        "server": ("gateway.test", 80),
    }
    chunks = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in body or ()]
    chunks.append({"type": "http.request", "body": b"", "more_body": False})
    response = ReceivedResponse()

    async def receive() -> Any:
        if chunks:
            return chunks.pop(0)
        return await asyncio.get_running_loop().create_future()  # the client stays connected

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            response.status, response.headers = message["status"], list(message["headers"])
            return
        if message.get("body"):
            response.chunks.append(bytes(message["body"]))
        response.complete = not message.get("more_body", False)

    await entry_point.handle(scope, receive, send)
    return response


def install(gateway: Gateway, **parts: Any) -> None:
    """Install `gateway` as the one that Django's views use, and `parts` as what management commands use."""

    class Opened:
        def __init__(self) -> None:
            self.gateway = gateway
            self.__dict__.update(parts)

        async def close(self) -> None:
            pass

    async def open_parts() -> Any:
        return Opened()

    runtime.install(runtime.Runtime(open_parts))

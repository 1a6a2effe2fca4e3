"""The two ways into the gateway, as a test knocks at them: ASGI messages in and out, no server in between."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from django.core.handlers.asgi import ASGIHandler

from routing import asgi, runtime
from routing.http import Headers
from routing.pipeline import Gateway


@dataclass
class Answered:
    """An answer as it left: `whole` is False when the body was broken off."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    whole: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def get(self, name: str) -> str | None:
        """The field's only value."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is repeated: {values}"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name.encode()]


class Door(Protocol):
    async def knock(self, scope: dict[str, Any], receive: asgi.Receive, send: asgi.Send) -> None: ...


class AsgiDoor:
    """Production's: routing/asgi.py."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def knock(self, scope: dict[str, Any], receive: asgi.Receive, send: asgi.Send) -> None:
        await asgi.answer(self._gateway, scope, receive, send)


class DjangoDoor:
    """Django's: its whole handler with every middleware, down to ServiceProxyView."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._handler: asgi.Application = ASGIHandler()

    async def knock(self, scope: dict[str, Any], receive: asgi.Receive, send: asgi.Send) -> None:
        await self._handler(scope, receive, send)


async def ask(
    door: Door,
    method: str,
    path: str | bytes,
    headers: Sequence[tuple[str, str | bytes]] = (),
    *,
    body: Sequence[bytes] | None = None,
    length: bool = True,
    client: str = "192.0.2.1",
    host: str = "gateway.test",
) -> Answered:
    """One request through a door. `body` is sent in pieces, with its length or chunked."""
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
    pieces = [{"type": "http.request", "body": piece, "more_body": True} for piece in body or ()]
    pieces.append({"type": "http.request", "body": b"", "more_body": False})
    answered = Answered()

    async def receive() -> Any:
        if pieces:
            return pieces.pop(0)
        return await asyncio.get_running_loop().create_future()  # the client stays

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answered.status, answered.headers = message["status"], list(message["headers"])
            return
        if message.get("body"):
            answered.chunks.append(bytes(message["body"]))
        answered.whole = not message.get("more_body", False)

    await door.knock(scope, receive, send)
    return answered


def install(gateway: Gateway, **parts: Any) -> None:
    """Make `gateway` the one that Django's views find, and `parts` what its commands find."""

    class Opened:
        def __init__(self) -> None:
            self.gateway = gateway
            self.__dict__.update(parts)

        async def close(self) -> None:
            pass

    async def open_parts() -> Any:
        return Opened()

    runtime.install(runtime.Runtime(open_parts))

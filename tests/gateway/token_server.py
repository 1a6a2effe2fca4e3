"""A token endpoint and a backend that accepts its tokens, for tests."""

import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from tests.origin import Peer, ScriptedOrigin

Answer = Callable[[dict[str, str]], Any]


class TokenServer:
    """Issues `token-1`, `token-2` and so on. `answer` replaces the JSON of a response, `status` its status; `hold` is
    awaited before each response. `grants` are the requests' forms, with the client's id of Basic authentication.
    """

    def __init__(self, answer: Answer | None = None) -> None:
        self.grants: list[dict[str, str]] = []
        self.answer = answer or self.issue
        self.status = 200
        self.raw: bytes | None = None
        self.hold: Callable[[], Awaitable[None]] | None = None
        self.expires_in: object = 3600
        self.rotates = False
        self._origin = ScriptedOrigin(self._respond)

    async def __aenter__(self) -> "TokenServer":
        await self._origin.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._origin.__aexit__()

    @property
    def url(self) -> str:
        return f"{self._origin.url}/oauth/token"

    @property
    def lines(self) -> list[bytes]:
        return [request.line for request in self._origin.requests]

    def issue(self, _form: dict[str, str]) -> Any:
        number = len(self.grants)
        tokens: dict[str, Any] = {"access_token": f"token-{number}", "token_type": "Bearer"}
        if self.expires_in is not None:
            tokens["expires_in"] = self.expires_in
        return tokens | ({"refresh_token": f"refresh-{number}"} if self.rotates else {})

    async def _respond(self, peer: Peer) -> None:
        form = {name: values[0] for name, values in parse_qs((await peer.read_body()).decode()).items()}
        authorization = dict(peer.request.fields).get(b"authorization", b"").decode()
        if authorization.startswith("Basic "):
            form["basic"] = b64decode(authorization.removeprefix("Basic ")).decode()
        self.grants.append(form)
        if self.hold is not None:
            await self.hold()
        if self.raw is not None:
            await peer.send(self.raw)
            return
        body = json.dumps(self.answer(form)).encode()
        head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
            self.status,
            len(body),
        )
        await peer.send(head + body)


class GuardedBackend:
    """Accepts the tokens in `accepted` (any, if None) with 200 and the token in the body; answers others with 401."""

    def __init__(self) -> None:
        self.accepted: set[str] | None = None
        self.received: list[dict[bytes, bytes]] = []
        self.bodies: list[bytes] = []

    @property
    def tokens(self) -> list[str]:
        return [fields.get(b"authorization", b"").decode() for fields in self.received]

    async def __call__(self, peer: Peer) -> None:
        self.bodies.append(await peer.read_body())
        fields = dict(peer.request.fields)
        self.received.append(fields)
        value = fields.get(b"authorization", b"").decode()
        if self.accepted is None or value.removeprefix("Bearer ") in self.accepted:
            body = value.encode()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        else:
            await peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\nnope")

"""A WebSocket client that talks to an ASGI application without a server."""

import json
from typing import Any

from asgiref.testing import ApplicationCommunicator

from routing.http import Headers


class Socket:
    def __init__(self, application: Any, path: str, headers: Headers, **scope: Any) -> None:
        base = {"type": "websocket", "path": path, "query_string": b"", "headers": headers, "subprotocols": []}
        communicator: Any = ApplicationCommunicator  # has no types
        self._peer = communicator(application, {**base, **scope})

    async def connect(self) -> int | None:
        """Returns None if it is accepted, otherwise the close code. The reply is then `refusal`."""
        await self._peer.send_input({"type": "websocket.connect"})
        self.refusal = reply = await self.receive()
        return None if reply["type"] == "websocket.accept" else int(reply.get("code", 1000))

    async def receive(self) -> dict[str, Any]:
        """The application's next message."""
        message: dict[str, Any] = await self._peer.receive_output(30)
        return message

    async def receive_json(self) -> Any:
        return json.loads((await self.receive())["text"])

    async def send(self, text: str) -> None:
        await self._peer.send_input({"type": "websocket.receive", "text": text})

    async def leave(self, code: int = 1000) -> None:
        """Disconnect without a wait for the application's end."""
        await self._peer.send_input({"type": "websocket.disconnect", "code": code, "reason": ""})

    async def disconnect(self, code: int = 1000, reason: str = "") -> None:
        await self._peer.send_input({"type": "websocket.disconnect", "code": code, "reason": reason})
        await self._peer.wait(30)

"""A request that is not the gateway's, brought to an ASGI application: Django's pages, and health."""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

from routing.asgi import ASGIApplication, Scope
from routing.errors import BadRequest, problem
from routing.http import ClientGone, Headers, first
from routing.http1.cycle import RequestCycle
from routing.http1.response_encoder import BODILESS
from routing.messages.request_id import new_id


class ASGICycle(RequestCycle):
    """The ASGI HTTP connection scope, version 2.3."""

    _status = 0
    _headers: Headers
    _read = False
    _is_broken = False
    _ended = False

    def ask(self, application: ASGIApplication) -> None:
        """Let `application` answer, in a task of its own."""
        self._left = asyncio.Event()
        self._spawn(self._asked(application))

    def disconnect(self) -> None:
        super().disconnect()
        self._left.set()

    async def _asked(self, application: ASGIApplication) -> None:
        await application(self._scope(), self._receive, self._send)
        if self._ended:
            return
        if self._is_broken and not self.gone and self._out is None:
            self._whole(problem(BadRequest("the body ended before it was whole"), new_id(time.time())))
        else:
            raise ClientGone if self.gone else RuntimeError("the application ended before its answer")

    def _scope(self) -> Scope:
        head, connection = self.head, self.connection
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.version,
            "method": head.method,
            "scheme": "http",
            "path": unquote(head.path.decode("latin-1")),
            "raw_path": head.path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.headers,
            "client": connection.peer,
            "server": connection.local,
        }

    async def _receive(self) -> MutableMapping[str, Any]:
        if not self._read:
            try:
                data = await self.body.next() if self.body is not None else b""
            except ClientGone:
                self._is_broken = True
                return {"type": "http.disconnect"}
            self._read = not data
            return {"type": "http.request", "body": data, "more_body": not self._read}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            return
        data, goes_on = message.get("body", b""), message.get("more_body", False)
        if self._out is None:
            if not goes_on and self._status not in BODILESS and first(self._headers, b"content-length") is None:
                self._headers.append((b"content-length", b"%d" % len(data)))
            self._start(self._status, self._headers)
        await self._part(data)
        if not goes_on:
            self._ended = True
            self._end()

"""A request/response cycle of an ASGI application: Django's pages and the health endpoints."""

import asyncio
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

from routing.asgi import ASGIApplication, Scope
from routing.errors import BadRequest, GatewayError
from routing.http import ClientGone, Headers, first
from routing.http1.cycle import RequestCycle
from routing.http1.response_encoder import BODILESS, NO_CONTENT
from routing.problems import identified_problem


class ASGICycle(RequestCycle):
    """The ASGI HTTP connection scope, version 2.3."""

    _status = 0
    _headers: Headers
    _body_read = False
    _body_error: GatewayError | None = None
    _finished = False

    def start_application(self, application: ASGIApplication) -> None:
        """Run `application` in a task of its own."""
        self._disconnect_event = asyncio.Event()
        self._spawn(self._call(application))

    def disconnect(self) -> None:
        super().disconnect()
        self._disconnect_event.set()

    async def _call(self, application: ASGIApplication) -> None:
        await application(self._scope(), self._receive, self._send)
        if self._finished:
            return
        if self._body_error is not None and not self.disconnected and self._encoder is None:
            self._send_response(identified_problem(self._body_error, self._identifier()))
        else:
            raise ClientGone if self.disconnected else RuntimeError("the application returned without a response")

    def _scope(self) -> Scope:
        head, connection = self.head, self.connection
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.version,
            "method": head.method,
            "scheme": connection.scheme,
            "path": unquote(head.path.decode("latin-1")),
            "raw_path": head.path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.headers,
            "client": connection.peer,
            "server": connection.local,
        }

    async def _receive(self) -> MutableMapping[str, Any]:
        if not self._body_read:
            try:
                data = await self.body.read_chunk() if self.body is not None else b""
            except ClientGone:
                self._body_error = BadRequest("the request body is incomplete")
                return {"type": "http.disconnect"}
            except GatewayError as error:
                self._body_error = error
                return {"type": "http.disconnect"}
            self._body_read = not data
            return {"type": "http.request", "body": data, "more_body": not self._body_read}
        await self._disconnect_event.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if self.disconnected:
            raise ClientGone
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            if self._status == NO_CONTENT:  # Django adds a length to every response
                self._headers = [pair for pair in self._headers if pair[0] != b"content-length"]
            return
        data, more_body = message.get("body", b""), message.get("more_body", False)
        if self._encoder is None:
            if not more_body and self._status not in BODILESS and first(self._headers, b"content-length") is None:
                self._headers.append((b"content-length", b"%d" % len(data)))
            self._send_head(self._status, self._headers, data)  # in one segment, unless it is long
            await self.connection.drain()
        else:
            await self._send_chunk(data)
        if not more_body:
            self._finished = True
            self._finish()

"""An ASGI adapter: requests from scopes, responses as messages. For servers other than our own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from http import HTTPStatus
from math import inf
from typing import Any, Final

from routing.http import ClientGone, Request, Response, client_timeout, may_have_content, without_fragment

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ASGIApplication = Callable[[Any, Receive, Any], Awaitable[None]]

RequestHandler = Callable[[Request], Response | Awaitable[Response] | None]
"""Returns the response to a request, now or later; None if the request is for another application."""

EMPTY_QUERY: Final = "gateway.empty_query"
"""In the scope's `extensions`, by the gateway's own server: the target of a WebSocket's handshake ends with `?`."""
VIA_PROXY: Final = "gateway.via_proxy"
"""A key of a WebSocket's scope, where a trusted proxy has named the client: whether its other fields are trusted too.
"""
WATCH_DELAY_SECONDS: Final = 0.05
"""How long a call may take before the client's disconnect is watched for. Most calls are shorter and need no task."""


def serve_asgi(
    handler: RequestHandler, default: ASGIApplication, scope: Scope, receive: Receive, send: Send
) -> Awaitable[None]:
    """Handle one HTTP request with `handler`, or with `default` if that returns None.

    A disconnect of the client cancels the handler.
    """
    request, client = _request(scope), _ClientStream(receive)
    fields = request.fields
    length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    if may_have_content(request.method, request.version, length, coding):
        request.body = client.body()
    response = handler(request)
    if response is None:
        return default(scope, receive, send)
    if isinstance(response, Response):
        return send_response(response, send)
    request.watch_disconnect = client.watch_disconnect
    return _respond(response, client, send, is_multiplexed=request.version not in ("1.0", "1.1"))


async def _respond(pending: Awaitable[Response], client: "_ClientStream", send: Send, *, is_multiplexed: bool) -> None:
    try:
        response = await pending
        if response.status == HTTPStatus.REQUEST_TIMEOUT and not is_multiplexed:  # the rest of the body may still come
            response.headers.append((b"connection", b"close"))
        with contextlib.suppress(TimeoutError):  # then the server closes the connection
            await send_response(response, send)
    except asyncio.CancelledError:
        if not client.disconnected:
            raise
    finally:
        client.close()


def handshake_request(scope: Scope) -> Request:
    """The HTTP request of a WebSocket handshake."""
    request = _request({**scope, "method": "GET", "scheme": "https" if scope.get("scheme") == "wss" else "http"})
    request.via_proxy = scope.get(VIA_PROXY, False)
    request.has_empty_query = EMPTY_QUERY in (scope.get("extensions") or {})
    return request


def _request(scope: Scope) -> Request:
    client = scope.get("client")
    path, query = without_fragment(scope.get("raw_path") or scope["path"].encode(), scope["query_string"])
    return Request(
        scope["method"],
        path,
        query,
        scope["headers"],
        _ipv4(client[0]) if client else "",
        scope.get("scheme", "http"),
        scope.get("http_version", "1.1"),
    )


def _ipv4(address: str) -> str:
    """An IPv4 client of an IPv6 socket by its IPv4 address."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


async def send_response(response: Response, send: Send) -> None:
    """Send a response as ASGI messages. A streamed body is closed even if sending fails, or takes too long."""
    start = {"type": "http.response.start", "status": response.status, "headers": response.headers}
    if isinstance(response.body, bytes):
        await send(start)
        await send({"type": "http.response.body", "body": response.body})
        return
    seconds = client_timeout(response.body)
    async with contextlib.aclosing(response.body) as chunks:
        await send(start)
        async for chunk in chunks:
            async with asyncio.timeout(None if seconds == inf else seconds):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class _ClientStream:
    """The messages from one client: the request body, and the disconnect.

    `_lock` is held while a message is received, by the reader of the body or by the watch. A piece of the body that the
    watch received is kept for the reader, and the watch receives no more until it has been taken.
    """

    disconnected = False
    _kept: MutableMapping[str, Any] | None = None
    _timer: asyncio.TimerHandle | None = None
    _watch: asyncio.Task[None] | None = None

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._lock = asyncio.Lock()
        self._taken = asyncio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        """Iterate over the request body. Raises ClientGone if it is incomplete."""
        while True:
            async with self._lock:
                message = self._kept or await self._receive()
                self._kept = None
            self._taken.set()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    def watch_disconnect(self) -> None:
        """From WATCH_DELAY_SECONDS on, cancel the current task when the client disconnects."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            task = asyncio.current_task(loop)
            if task is not None:
                self._timer = loop.call_later(WATCH_DELAY_SECONDS, self._start_watch, task)

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._watch:
            self._watch.cancel()

    def _start_watch(self, task: "asyncio.Task[Any]") -> None:
        self._watch = asyncio.create_task(self._cancel_on_disconnect(task))

    async def _cancel_on_disconnect(self, task: "asyncio.Task[Any]") -> None:
        more = True
        while not self.disconnected:
            async with self._lock:
                message = await self._receive()
                self.disconnected = message["type"] == "http.disconnect"
                if more or self.disconnected:
                    self._kept, more = message, message.get("more_body", False)
                    self._taken.clear()
            if more:  # after the last piece, all that can follow is the disconnect
                await self._taken.wait()
        task.cancel()

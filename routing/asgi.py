"""The gateway as an ASGI application: scope in, messages out, and nothing of a framework in between."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

from routing.http import ClientGone, Request, Response, first

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ASGIApplication = Callable[[Any, Receive, Any], Awaitable[None]]

PATIENCE: Final = 0.05
"""Seconds a call may take before a watch on its client begins: most are over by then, and cost no task."""


RequestHandler = Callable[[Request], Response | Awaitable[Response] | None]
"""Who answers a request: at once or in its time. None: it is not theirs."""


def serve(
    ask: RequestHandler, elsewhere: ASGIApplication, scope: Scope, receive: Receive, send: Send
) -> Awaitable[None]:
    """Bring one HTTP request to `ask`, or `elsewhere`, and its answer back. A client that goes away cancels both."""
    request, bearer = _request(scope), _Bearer(receive)
    if b"transfer-encoding" in request.fields or request.fields.get(b"content-length", b"0") != b"0":
        request.body = bearer.body()
    ready = ask(request)
    if ready is None:
        return elsewhere(scope, receive, send)
    if isinstance(ready, Response):
        return send_response(ready, send)
    request.watch_disconnect = bearer.watch
    return _answered(ready, bearer, send)


async def _answered(ready: Awaitable[Response], bearer: "_Bearer", send: Send) -> None:
    try:
        await send_response(await ready, send)
    except asyncio.CancelledError:
        if not bearer.gone:
            raise
    finally:
        bearer.end()


def handshake_request(scope: Scope) -> Request:
    """A WebSocket's handshake as the request it began as."""
    return _request({**scope, "method": "GET", "scheme": "https" if scope.get("scheme") == "wss" else "http"})


def _request(scope: Scope) -> Request:
    client = scope.get("client")
    return Request(
        scope["method"],
        scope.get("raw_path") or scope["path"].encode(),
        scope["query_string"],
        scope["headers"],
        client[0] if client else "",
        scope.get("scheme", "http"),
        scope.get("http_version", "1.1"),
    )


def host(scope: Scope) -> str:
    """The host a request names, with its port if it has one."""
    return (first(scope["headers"], b"host") or b"").decode("latin-1")


async def send_response(response: Response, send: Send) -> None:
    """An answer as ASGI messages; a stream is let go of however sending ends."""
    start = {"type": "http.response.start", "status": response.status, "headers": response.headers}
    if isinstance(response.body, bytes):
        await send(start)
        await send({"type": "http.response.body", "body": response.body})
        return
    async with contextlib.aclosing(response.body) as chunks:
        await send(start)
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class _Bearer:
    """The client's side of one exchange: its body as it comes, and a watch on whether it is still there."""

    gone = False
    _reading: asyncio.Event | None = None
    """While the body is read: two readers would take each other's messages."""
    _timer: asyncio.TimerHandle | None = None
    _watch: asyncio.Task[None] | None = None

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def body(self) -> AsyncIterator[bytes]:
        """The body's pieces. Raises ClientGone when it ends before it is whole."""
        reading = self._reading = asyncio.Event()
        try:
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                if message.get("body"):
                    yield message["body"]
                if not message.get("more_body"):
                    return
        finally:
            reading.set()

    def watch(self) -> None:
        """From now on, if it takes long, cancel the running task when the client goes away."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            task = asyncio.current_task(loop)
            if task is not None:
                self._timer = loop.call_later(PATIENCE, self._begin, task)

    def end(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._watch:
            self._watch.cancel()

    def _begin(self, task: "asyncio.Task[Any]") -> None:
        self._watch = asyncio.create_task(self._until_gone(task))

    async def _until_gone(self, task: "asyncio.Task[Any]") -> None:
        if self._reading is not None:
            await self._reading.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        task.cancel()

"""Django's ASGI handler, which responds before a request's body has arrived where the response does not need it."""

import asyncio
import io
import threading
from collections.abc import MutableMapping
from concurrent.futures import CancelledError, Future
from typing import IO, Any, Final

from gateway_project.pages.budget import PageBudget
from gateway_project.pages.queue import PageQueue
from gateway_project.pages.threads import ThreadedHandler
from resilience.turn import Turn
from routing.asgi import Receive, Scope, Send
from routing.errors import GatewayError
from routing.http import first
from routing.messages.proxies import TrustedProxies

MAX_STREAMED: Final = 64
"""Requests at a time whose body is read while Django handles them: each may hold a thread until its body has arrived.
The bodies of further requests are read before Django handles them, which holds none."""


class StreamingHandler(ThreadedHandler):
    """Django's own reads the whole body first: even a 404 would wait for it, and 100 (Continue) invite it for nothing.

    Here a view, a parser or the CSRF check reads the body from the client when it needs it.
    """

    def __init__(
        self, turn: Turn | None = None, proxies: TrustedProxies | None = None, budget: PageBudget | None = None
    ) -> None:
        super().__init__(turn, proxies, budget)
        self._streamed = 0
        # Those that wait for their body take no thread from those that do not.
        self._streams = PageQueue(self.budget, running=MAX_STREAMED, per_client=MAX_STREAMED)

    async def handle(self, scope: Scope, receive: Any, send: Any, queue: PageQueue | None = None) -> None:
        """Raises GatewayError if the body could not be read. Then nothing was sent, unless a response had begun."""
        if self._streamed >= MAX_STREAMED or not _announces_body(scope):
            await super().handle(scope, receive, send, queue)
            return
        body = BodyStream(receive, asyncio.get_running_loop(), self.turn)
        self._streamed += 1
        try:
            await super().handle(scope, body, body.guard(send), self._streams)
        finally:
            self._streamed -= 1
            body.abort()
        if body.error is not None:
            raise body.error

    async def read_body(self, receive: Any) -> IO[bytes]:
        return _BodyFile(receive) if isinstance(receive, BodyStream) else await super().read_body(receive)


class _BodyFile(io.BufferedReader):
    def close(self) -> None:
        """Nothing: the handler ends the stream. Closing would wait for a thread that reads, in the event loop's."""


class BodyStream(io.RawIOBase):
    """A request's body, read from the client by the threads that handle the request, never the event loop's.

    Called as ASGI's `receive`, it waits for what follows the body: the client's disconnect. One that comes before the
    body was read is noticed by reading it, or by responding.

    `error` is why the body could not be read; None if the client disconnected.
    """

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop, turn: Turn | None = None) -> None:
        self.error: GatewayError | None = None
        self._receive = receive
        self._loop = loop
        self._turn = turn or Turn()
        self._rest = b""
        self._complete = asyncio.Event()
        self._unreadable = False
        self._aborted = False
        self._responding = False
        self._lock = threading.Lock()
        self._pending: Future[bytes] | None = None

    async def __call__(self) -> MutableMapping[str, Any]:
        await self._complete.wait()
        return await self._receive()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises OSError if the rest will not come, which Django turns into UnreadablePostError."""
        while not self._rest and not self._complete.is_set():
            self._rest = self._next()
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def guard(self, send: Send) -> Send:
        """`send`, but without Django's response to a body that could not be read."""

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if self._responding or not self._unreadable:
                self._responding = True
                await send(message)

        return send_guarded

    def abort(self) -> None:
        """Wake the thread that reads, if any, and let none read on."""
        with self._lock:
            self._aborted = True
            if self._pending is not None:
                self._pending.cancel()

    def _next(self) -> bytes:
        with self._lock:
            if self._unreadable or self._aborted:
                raise OSError("the request body cannot be read")
            self._pending = pending = asyncio.run_coroutine_threadsafe(self._read(), self._loop)
        try:
            with self._turn.released():
                return pending.result()
        except (GatewayError, CancelledError) as error:
            raise OSError("the request body cannot be read") from error

    async def _read(self) -> bytes:
        """A piece of the body; empty at its end."""
        try:
            message = await self._receive()
        except GatewayError as error:
            self._unreadable = True
            self.error = None if self._responding else error
            raise
        if message["type"] == "http.disconnect":
            self._unreadable = True
            raise ConnectionResetError("the client disconnected")
        if not message.get("more_body", False):
            self._complete.set()
        return bytes(message.get("body", b""))


def _announces_body(scope: Scope) -> bool:
    """Whether a body is to come. In HTTP/2 one may come unannounced, and is read before Django handles the request."""
    headers = scope["headers"]
    return first(headers, b"transfer-encoding") is not None or first(headers, b"content-length") not in (None, b"0")

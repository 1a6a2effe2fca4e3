"""Django's side of the ASGI application: its requests run in threads, and leave the event loop its time (ADR 19)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Final, cast

from asgiref.sync import sync_to_async
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import set_script_prefix
from django.utils.functional import LazyObject, empty
from rest_framework.status import is_client_error

from gateway_project import garbage_collection
from gateway_project.pages.budget import PageBudget
from gateway_project.pages.queue import PageQueue
from resilience.thread_pool import ThreadPool
from resilience.turn import Turn
from routing.asgi import Receive, Scope, send_response
from routing.http import Headers, Response
from routing.messages.proxies import TrustedProxies, normal_address
from routing.messages.validation import client_prefix
from routing.router.paths import PREFIX

CHUNK_BYTES: Final = 65_536
"""How much of a file is sent in one piece."""
SHORT_BYTES: Final = 262_144
SERVICE_THREADS: Final = 128
"""Threads for requests for services that may come from a member of staff's browser. Most wait for a backend."""
SERVICE_THREADS_PER_CLIENT: Final = 32
_SERVICES: Final = PREFIX.decode()


class ThreadedHandler(ASGIHandler):
    """Django's ASGIHandler with all of a request's work in one thread, and a bound on the threads.

    Django's own crosses between the loop and a new thread several times for each request, without a bound, and stores
    the whole of a streamed file. Requests are counted by client, with `proxies` as TrustedProxyMiddleware has them.
    """

    def __init__(
        self, turn: Turn | None = None, proxies: TrustedProxies | None = None, budget: PageBudget | None = None
    ) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self.turn = turn or Turn()
        self._proxies = proxies or TrustedProxies()
        self.budget = PageBudget(time.monotonic) if budget is None else budget
        self._queue = PageQueue(self.budget)
        self._services_queue = PageQueue(self.budget, running=SERVICE_THREADS, per_client=SERVICE_THREADS_PER_CLIENT)
        self._pool = ThreadPool("django")
        self._respond = sync_to_async(
            self._respond_in_thread, thread_sensitive=False, executor=cast(ThreadPoolExecutor, self._pool)
        )

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Raises Overloaded, and what `receive` and `send` raise."""
        await self.handle(scope, receive, send)

    async def handle(self, scope: Scope, receive: Any, send: Any, queue: PageQueue | None = None) -> None:
        """`queue` is where to wait for a thread, if not with all others."""
        queue = queue or (self._services_queue if scope["path"].startswith(_SERVICES) else self._queue)
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with contextlib.closing(body):
            client = self._client(scope)
            if not queue.try_enter(client) and not await _enter(queue, client, receive):
                return
            seconds: float | None = None
            try:
                response, seconds = await self._respond(scope, body)
            finally:
                queue.leave(client, seconds)
            with contextlib.suppress(TimeoutError):  # then the server closes the connection
                await send_response(response, send)

    def _client(self, scope: Scope) -> str:
        peer = normal_address(scope["client"][0]) if scope.get("client") else ""
        if self._proxies.trusts(peer):
            peer = self._proxies.origin(peer, scope.get("scheme", "http"), scope["headers"]).client
        return client_prefix(peer)

    def _respond_in_thread(self, scope: Scope, body: IO[bytes]) -> tuple[Response, float]:
        """The response, and the processor seconds to charge to the client: none if it has an identity.

        A valid key does not excuse a client that repeats a wrong request: client errors are charged.
        """
        with self.turn.taken():
            started = time.thread_time()
            response, is_known = self._response(scope, body)
            # Django leaves cycles behind. Collected at each request, they take a tenth of the time for which an
            # automatic collection, of the garbage of many requests, stops the loop.
            garbage_collection.collect_after_page()
            is_free = is_known and not is_client_error(response.status)
            return response, 0.0 if is_free else time.thread_time() - started

    def _response(self, scope: Scope, body: IO[bytes]) -> tuple[Response, bool]:
        """The response, and whether the request came from an authenticated user or with a valid key."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refusal = self.create_request(scope, body)
        response = cast(HttpResponse, refusal) if request is None else self.get_response(request)
        response._handler_class = self.__class__  # type: ignore[attr-defined]  # the sender of request_finished
        content: bytes | _StreamedBody
        if isinstance(response, StreamingHttpResponse) and not _is_short(response):
            content = _StreamedBody(response, self._pool)
        else:
            content = b"".join(response)
            response.close()
        return Response(response.status_code, _fields(response), content), _is_authenticated(request)


class _StreamedBody:
    """The body of a page that is read, in a thread of `pool`, as the client takes it."""

    def __init__(self, response: StreamingHttpResponse, pool: ThreadPool) -> None:
        self._response = response
        self._pool = pool
        self._chunks = self._read()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """Close the response and its file, also if nothing was read."""
        await self._chunks.aclose()
        await asyncio.get_running_loop().run_in_executor(self._pool, self._response.close)

    async def _read(self) -> AsyncGenerator[bytes, None]:
        response = self._response
        if response.is_async:
            async with contextlib.aclosing(cast(AsyncGenerator[bytes, None], aiter(response))) as pieces:
                async for piece in pieces:
                    yield piece
            return
        content = iter(response)
        while (chunk := await asyncio.get_running_loop().run_in_executor(self._pool, next, content, None)) is not None:
            yield chunk


async def _enter(queue: PageQueue, client: str, receive: Receive) -> bool:
    """Whether a slot was taken before the client disconnected."""
    slot = asyncio.ensure_future(queue.enter(client))
    gone = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((slot, gone), return_when=asyncio.FIRST_COMPLETED)
        if slot.done():
            await slot
            return True
        return False
    finally:
        gone.cancel()
        slot.cancel()


def _is_short(response: StreamingHttpResponse) -> bool:
    """Whether this is a file so short that it is read at once. Others are read at the pace of their clients."""
    if not isinstance(response, FileResponse):
        return False
    response.block_size = CHUNK_BYTES
    length = response.headers.get("Content-Length", "")
    return length.isdigit() and int(length) <= SHORT_BYTES


def _is_authenticated(request: HttpRequest | None) -> bool:
    """Whether a user was authenticated while the request was handled. Loads no user that was not needed."""
    user = None if request is None else request.__dict__.get("user")
    if isinstance(user, LazyObject) and user.__dict__.get("_wrapped") is empty:
        return False
    return user is not None and bool(user.is_authenticated)


def _fields(response: HttpResponseBase) -> Headers:
    fields = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    cookies = [cookie.output(header="").encode("ascii").strip() for cookie in response.cookies.values()]
    return fields + [(b"Set-Cookie", cookie) for cookie in cookies]

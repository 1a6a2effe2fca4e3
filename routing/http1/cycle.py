"""A request/response cycle that needs a task: tracks client disconnect and streams the response."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable
from typing import Protocol

from routing.errors import GatewayError, InternalError
from routing.http import CLIENT_SECONDS, ClientGone, Headers, Request, Response, client_timeout, first
from routing.http1.head_cache import RequestHead
from routing.http1.request_body import RequestBody
from routing.http1.response_encoder import ResponseEncoder, encode_interim
from routing.messages.identifiers import request_id
from routing.problems import identified_problem

log = logging.getLogger(__name__)


class ClientConnection(Protocol):
    """What a cycle needs of the connection its request came on. `tasks` holds the running cycles' tasks."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    tasks: set[asyncio.Task[None]]
    scheme: str
    peer: tuple[str, int] | None
    local: tuple[str, int] | None
    write_timeout: float

    @property
    def date(self) -> bytes: ...

    def keeps_alive(self, head: RequestHead, body: RequestBody | None) -> bool: ...

    def send_response(self, head: RequestHead, body: RequestBody | None, response: Response) -> None: ...

    def finish_request(self, body: RequestBody | None, *, keep_alive: bool) -> None: ...

    def next_request(self) -> None: ...

    async def drain(self) -> None: ...


class RequestCycle:
    """One request whose response takes time or is streamed.

    Once the handler calls `Request.watch_disconnect`, a disconnect of the client cancels the task.
    """

    disconnected = False
    _encoder: ResponseEncoder | None = None
    """Set once the head of a streamed response has been sent."""
    has_responded = False
    """Whether the final response was begun: no interim response may follow."""
    _cancellable = False
    _task: "asyncio.Task[None] | None" = None
    _request_id: bytes | None = None
    """Of a response whose head cannot be encoded."""

    def __init__(self, connection: ClientConnection, head: RequestHead, body: RequestBody | None) -> None:
        self.connection = connection
        self.head = head
        self.body = body

    def start(self, request: Request, response: Response | Awaitable[Response]) -> None:
        """Send `response` from a task of its own."""
        request.watch_disconnect = self._watch_disconnect
        if self.head.version == "1.1":
            request.send_interim = self._send_interim
        self._spawn(self._respond(response))

    def disconnect(self) -> None:
        """The client has closed the connection."""
        self.disconnected = True
        if self._cancellable and self._task is not None:
            self._task.cancel()

    def _watch_disconnect(self) -> None:
        self._cancellable = True
        if self.disconnected and self._task is not None:
            self._task.cancel()

    def _spawn(self, work: Awaitable[None]) -> None:
        self._task = task = self.connection.loop.create_task(self._run(work))
        self.connection.tasks.add(task)

    async def _run(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (GatewayError, ClientGone, asyncio.CancelledError):
            self._abort()
        except Exception:
            log.exception("the response could not be produced")
            self._fail()
        finally:
            if self._task is not None:
                self.connection.tasks.discard(self._task)

    async def _respond(self, pending: Response | Awaitable[Response]) -> None:
        response = pending if isinstance(pending, Response) else await pending
        if isinstance(response.body, bytes):
            self._send_response(response)
            return
        self.connection.write_timeout = client_timeout(response.body)
        async with contextlib.aclosing(response.body) as chunks:
            self._send_head(response.status, response.headers)
            async for chunk in chunks:
                await self._send_chunk(chunk)
        self._finish()

    def _send_interim(self, status: int, headers: Headers) -> None:
        """Send an interim response, unless the final one has begun. HTTP/1.0 has none (RFC 9110 section 15.2)."""
        if not self.has_responded and not self.disconnected:
            self.connection.transport.write(encode_interim(status, headers))

    def _send_response(self, response: Response) -> None:
        """Raises ClientGone."""
        self._check_connected()
        self.has_responded = True
        self.connection.send_response(self.head, self.body, response)
        self.connection.next_request()

    def _send_head(self, status: int, headers: Headers, data: bytes = b"") -> None:
        """Send the head, and `data`, the first piece of the body. Raises ClientGone."""
        self.has_responded = True
        connection, head = self.connection, self.head
        keep_alive = connection.keeps_alive(head, self.body)
        try:
            encoder = ResponseEncoder(head.method, head.version, status, headers, keep_alive=keep_alive)
            encoded = encoder.head(connection.date)
        except ValueError:
            self._request_id = first(headers, b"x-request-id")
            raise
        self._encoder = encoder
        self._write(encoded + encoder.chunk(data) if data else encoded)

    async def _send_chunk(self, data: bytes) -> None:
        """Raises ClientGone."""
        assert self._encoder is not None  # noqa: S101 - the head has been sent
        self._write(self._encoder.chunk(data))
        await self.connection.drain()

    def _finish(self) -> None:
        """Raises ClientGone."""
        assert self._encoder is not None  # noqa: S101 - the head has been sent
        self._write(self._encoder.end())
        self.connection.write_timeout = CLIENT_SECONDS
        self.connection.finish_request(self.body, keep_alive=self._encoder.keep_alive)
        self.connection.next_request()

    def _write(self, data: bytes) -> None:
        self._check_connected()
        self.connection.transport.write(data)

    def _check_connected(self) -> None:
        """uvloop raises RuntimeError for writes to a transport that has been closed."""
        if self.disconnected:
            raise ClientGone

    def _fail(self) -> None:
        if self._encoder is None and not self.disconnected:
            error = InternalError("the request could not be handled")
            self._send_response(identified_problem(error, self._identifier()))
        else:
            self._abort()

    def _identifier(self) -> str:
        """The request's id: that of the response, or of the request, or a new one."""
        return request_id(self._request_id or first(self.head.headers, b"x-request-id"), time.time())

    def _abort(self) -> None:
        """Close the connection before the response is complete, so that the client can tell (RFC 9112 section 8)."""
        if self._encoder is not None and self._encoder.is_close_delimited:
            self.connection.transport.abort()
        else:
            self.connection.transport.close()

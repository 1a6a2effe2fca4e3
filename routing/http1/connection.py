"""One client's connection: its requests one after the other, and an end to whatever takes too long."""

import asyncio
import logging
import time
from collections import deque
from typing import Any, Final, Protocol, cast

from routing.asgi import ASGIApplication, RequestHandler
from routing.errors import BadRequest, GatewayError, InternalError, problem
from routing.http import Response
from routing.http1 import response_encoder
from routing.http1.asgi_cycle import ASGICycle
from routing.http1.cycle import RequestCycle
from routing.http1.head_cache import MAX_CACHED_BYTES, HeadCache, RequestHead
from routing.http1.request_body import RequestBody
from routing.http1.request_parser import ParsedRequest, RequestParser
from routing.http1.ticker import Ticker
from routing.messages.request_id import new_id

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS: Final = 75.0
"""How long a connection may rest between requests, as nginx's keepalive_timeout."""
HEAD_SECONDS: Final = 30.0
"""How long a request's head may take to arrive, from its first byte: one that trickles in is an attack."""
BODY_SECONDS: Final = 60.0
"""How long a body may be silent."""
LINGER_SECONDS: Final = 5.0
"""How long a client is listened to that was answered before it had said all: cut at once, it would lose the answer
(RFC 9112 section 9.6)."""
JOINED_BYTES: Final = 65_536
"""A larger body is not copied to stand behind its head."""

DECLINED: Final = 8
"""Upgrades declined in what was received at once: each has the rest of it read anew."""
UPGRADING: Final = frozenset({b"upgrade", b"connection", b"http2-settings"})


class Worker(Protocol):
    """What connections have in common. What `answer` answers nobody with is `application`'s. `upgraded` takes a
    connection over for a WebSocket, with the bytes of its beginning.
    """

    answer: RequestHandler
    application: ASGIApplication
    head_cache: HeadCache
    ticker: Ticker
    connections: set[Any]
    tasks: set[asyncio.Task[None]]

    def upgraded(self, transport: asyncio.Transport, data: bytes) -> asyncio.BaseProtocol: ...


class Connection(asyncio.Protocol):
    """Requests are begun in order: `_turn` is the one that is being answered, `_queue` has those behind it."""

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
        self.worker = worker
        self.loop = loop
        self.client = ""
        self.peer: tuple[str, int] | None = None
        self.local: tuple[str, int] | None = None
        self._persists = True
        self._turn: RequestCycle | None = None
        self._queue: deque[ParsedRequest | GatewayError] = deque()
        self._reader = RequestParser(self._incoming)
        self._since = worker.ticker.now
        self._is_deaf = False
        self._lingers = False
        self._reading = True
        self._room: asyncio.Future[None] | None = None
        self._full = False

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            self.client, self.peer, self.local = peer[0], peer[:2], local[:2]
        self.worker.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if self._reader.between or self._reader.body is not None:
            self._since = self.worker.ticker.now
        if self._reader.between and self._turn is None and not self._full and len(data) <= MAX_CACHED_BYTES:
            heads = self.worker.head_cache
            head = heads.exact(data) or heads.by_fields(data)
            if head is not None:
                self._answer(head, None)
                return
        self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self.worker.connections.discard(self)
        self._persists = False
        self._queue.clear()
        if self._reader.body is not None:
            self._reader.body.lose()
        if self._turn is not None:
            self._turn.disconnect()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
        elif self._turn is None and self._queue:
            self.go_on()

    async def drained(self) -> None:
        """Wait until the client has taken enough of what was written."""
        while self._full and not self.transport.is_closing():
            self._room = self.loop.create_future()
            await self._room

    # What the worker calls.

    def shutdown(self) -> None:
        """Finish what is under way, and take nothing new."""
        self._persists = False
        if self._turn is None:
            self.transport.close()

    def check_timeouts(self, now: float) -> None:
        """Once a second: end what takes too long."""
        waited = now - self._since
        if self._lingers:
            if waited > LINGER_SECONDS:
                self.transport.abort()
        elif self._reader.body is not None:
            if waited > BODY_SECONDS and self._reading:
                self._break_off(BadRequest("the body did not arrive"))
        elif self._turn is None and waited > (KEEP_ALIVE_SECONDS if self._reader.between else HEAD_SECONDS):
            self.transport.close()

    # A request's way to its answer.

    def _feed(self, data: bytes) -> None:
        for _ in range(DECLINED):
            read = self._reader.feed(data)
            if read.is_one:
                self.worker.head_cache.put(data, read.found[0][0])
            if read.rest is None or read.error is not None:
                self._begin(read.found)
                if read.error is not None:
                    self._break_off(read.error)
                return
            data = self._upgrade(read.found, read.rest)
            if not data:
                return
        self._break_off(BadRequest("too many upgrades at once"))

    def _incoming(self, head: RequestHead) -> RequestBody:
        told = head.fields.get(b"content-length")
        invite = (lambda: self.transport.write(response_encoder.CONTINUE)) if head.expects else None
        length = None if told is None else int(told)
        return RequestBody(length, pause=self._pause, resume=self._resume, invite=invite)

    def _begin(self, found: list[ParsedRequest]) -> None:
        """Answer them, or let them wait for their turn."""
        for head, body in found:
            if self._is_deaf:
                return
            if self._turn is not None or self._queue or self._full:
                self._queue.append((head, body))
                self._pause()
            else:
                self._answer(head, body)
            self._is_deaf = self._is_deaf or (not head.keep_alive and self._reader.body is None)

    def _answer(self, head: RequestHead, body: RequestBody | None) -> None:
        request = head.request(self.client, "http")
        if body is not None:
            request.body = body.read()
        answer = self.worker.answer(request)
        if isinstance(answer, Response) and isinstance(answer.body, bytes):
            self.whole(head, body, answer)
        elif answer is None:
            self._turn = page = ASGICycle(self, head, body)
            page.ask(self.worker.application)
        else:
            self._turn = RequestCycle(self, head, body)
            self._turn.begin(request, answer)

    def stays(self, head: RequestHead, body: RequestBody | None) -> bool:
        """Whether the connection will be used again after this request."""
        return self._persists and head.keep_alive and (body is None or body.is_near_its_end)

    def whole(self, head: RequestHead, body: RequestBody | None, response: Response) -> None:
        """An answer that is there already, and the end of its request."""
        headers, content = response.headers, response.body
        assert isinstance(content, bytes)  # noqa: S101 - it is whole
        stays = self.stays(head, body)
        if not stays or head.version != "1.1":
            headers = headers + response_encoder.connection(head.version, stays=stays)
        try:
            begun = response_encoder.whole_head(
                head.method, response.status, headers, len(content), self.worker.ticker.date
            )
        except ValueError:
            log.exception("an answer could not be written")
            self._refuse(InternalError("the request could not be handled"))
            return
        if len(content) > JOINED_BYTES:
            self.transport.write(begun)
            self.transport.write(content)
        else:
            self.transport.write(begun + content)
        self.over(body, stays=stays)

    @property
    def date(self) -> bytes:
        return self.worker.ticker.date

    def over(self, body: RequestBody | None, *, stays: bool) -> None:
        """A request has its answer."""
        self._turn = None
        self._since = self.worker.ticker.now
        if body is not None:
            body.discard()
        if not stays or not self._persists:
            self._part(is_heard=body is None or body.whole)

    def go_on(self) -> None:
        """Answer those that have waited for their turn."""
        while self._queue and self._turn is None and not self._full and not self.transport.is_closing():
            item = self._queue.popleft()
            if isinstance(item, GatewayError):
                self._refuse(item)
            else:
                self._answer(*item)
        self._resume()

    def _upgrade(self, found: list[ParsedRequest], rest: bytes) -> bytes:
        """A WebSocket leaves HTTP behind; any other upgrade is declined by answering as if it had not been offered:
        what is to be read instead.
        """
        head, _ = found.pop()
        self._begin(found)
        is_socket = head.upgrade == b"websocket" and head.method == "GET"
        if is_socket and self._turn is None and not self._queue:
            self.worker.connections.discard(self)
            self.transport.set_protocol(self.worker.upgraded(self.transport, head.written() + rest))
        elif is_socket or head.method == "CONNECT":
            self._break_off(BadRequest("the connection cannot be handed over"))
        else:
            return self._declined(head) + rest
        return b""

    def _declined(self, head: RequestHead) -> bytes:
        """The head without its offer. What else it may have said of the connection is that this request is the last."""
        if head.keep_alive:
            return head.written(without=UPGRADING)
        self._reader = RequestParser(self._incoming)  # llhttp takes nothing after the last
        return head.written(without=UPGRADING, added=[response_encoder.CLOSE])

    def _break_off(self, error: GatewayError) -> None:
        """What comes from now on cannot be understood: who is being answered gets an answer, then this is said."""
        if self._is_deaf:
            return
        self._is_deaf = True
        body, self._reader.body = self._reader.body, None
        if body is not None:
            body.lose()
            if self._turn is None and not self._queue:  # its request was answered before
                self._part(is_heard=False)
        elif self._turn is not None or self._queue:
            self._queue.append(error)
        else:
            self._refuse(error)

    def _refuse(self, error: GatewayError) -> None:
        answer = problem(error, new_id(time.time()))
        headers = [*answer.headers, response_encoder.CLOSE]
        self.transport.write(response_encoder.head(answer.status, headers, self.date) + cast(bytes, answer.body))
        self._part(is_heard=False)

    def _part(self, *, is_heard: bool) -> None:
        """Close, once all that was written is sent. A client that is not heard out goes on talking for a while."""
        self._persists, self._is_deaf = False, True
        self._queue.clear()
        if is_heard or not self.transport.can_write_eof():
            self.transport.close()
        elif not self.transport.is_closing():
            self._lingers = True
            self._since = self.worker.ticker.now
            self.transport.write_eof()
            self._resume()

    def _pause(self) -> None:
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and not self._queue and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

"""One client connection: answers its requests in order and enforces its timeouts."""

import asyncio
import logging
import time
from collections import deque
from typing import Final, cast

from routing.errors import BadRequest, GatewayError, InternalError, RequestTimeout
from routing.http import Response
from routing.http1.asgi_cycle import ASGICycle
from routing.http1.cycle import RequestCycle
from routing.http1.flow_control import FlowControl
from routing.http1.head_cache import MAX_CACHED_BYTES, RequestHead
from routing.http1.request_body import RequestBody
from routing.http1.request_parser import ParsedRequest, RequestParser
from routing.http1.response_encoder import CLOSE, CONTINUE, connection_fields, encode_head, encode_sized_head
from routing.http1.state import CLOSING, INPUT_ENDED, LINGERING, NEW, OPEN, SHUTTING_DOWN
from routing.http1.worker import Worker
from routing.messages.identifiers import new_id
from routing.messages.proxies import normal_address
from routing.problems import problem

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS: Final = 75.0
"""How long a connection may be idle between requests, as nginx's keepalive_timeout."""
HEAD_SECONDS: Final = 30.0
"""How long the head of a request may take to arrive, from its first byte, as nginx's client_header_timeout."""
LINGER_SECONDS: Final = 5.0
"""How long a lingering close reads on, as nginx's lingering_timeout."""
SHUTDOWN_SECONDS: Final = 1.5
"""How long a request that is on its way may take to arrive when the worker stops."""
REQUEST_TIMEOUT: Final = RequestTimeout.status
"""Closes the connection: the rest of the body may still come (RFC 9110 section 15.5.9)."""
MAX_JOINED_BYTES: Final = 65_536
"""A longer body is written after its head, instead of being copied behind it."""
MAX_DECLINED_UPGRADES: Final = 8
"""In the data of one read. Each makes the parser start again behind it."""


class Connection(FlowControl):
    """Requests are handled in order: `_cycle` is the current one if it needs a task, `_queue` has those behind it.

    An error in the queue is sent, in its turn, as the last response.
    """

    scheme = "http"

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.worker = worker
        self.tasks = worker.tasks
        self.client = ""
        self.peer: tuple[str, int] | None = None
        self.local: tuple[str, int] | None = None
        self._state = NEW
        self._cycle: RequestCycle | None = None
        self._queue: deque[ParsedRequest | GatewayError] = deque()
        self._parser = RequestParser(self._make_body)
        self._unparsed = b""
        """Requests that are parsed in a later iteration of the event loop. Reading is paused until then."""
        self._active_at = worker.ticker.now

    def __repr__(self) -> str:
        return f"<Connection [{self.client}, {self._state.name}, queued: {len(self._queue)}]>"

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            self.client, self.peer, self.local = normal_address(peer[0]), peer[:2], local[:2]
        self.worker.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._state is not OPEN:
            if self._state is NEW:
                self._state = OPEN
            elif self._ignores_input:
                return
        parser = self._parser
        if parser.idle or parser.body is not None:
            self._active_at = self.worker.ticker.now
        if parser.idle and self._cycle is None and not self._write_paused and len(data) <= MAX_CACHED_BYTES:
            cache = self.worker.head_cache
            head = cache.exact(data) or cache.by_fields(data)
            if head is not None:
                self._handle(head, None)
                return
        self._parse(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self.worker.connections.discard(self)
        self._state = CLOSING
        self._queue.clear()
        if self._parser.body is not None:
            self._parser.body.abort()
        if self._cycle is not None:
            self._cycle.disconnect()
        self._wake_drain()

    def resume_writing(self) -> None:
        if not self._wake_drain() and self._cycle is None and self._queue:
            self.next_request()

    # Called by the worker.

    def shutdown(self) -> None:
        """Finish the current request, then close.

        The first request of a connection, the next one of one that was in use just now, and the rest of a head are
        waited for, as `check_timeouts` says.
        """
        if self._state is NEW or self._state is OPEN:
            self._state = SHUTTING_DOWN
        elif self._state is INPUT_ENDED:
            self._state = CLOSING
        if self._cycle is None and self._parser.body is not None and self._state is not LINGERING:
            self.transport.close()
        else:
            self.check_timeouts(self.worker.ticker.now)

    def check_timeouts(self, now: float) -> None:
        """Called once a second."""
        waited = now - self._active_at
        if self._state is LINGERING:
            if waited > LINGER_SECONDS:
                self.transport.abort()
        elif self._write_paused and self._is_unread(now):
            self.transport.abort()
        elif self._parser.body is not None:
            if waited > self._parser.body.timeout and not self._read_paused:
                self._fail(RequestTimeout("the request body did not arrive in time"))
        elif self._cycle is None and waited > self._request_seconds and not (self._parser.idle and self._has_input()):
            self.transport.close()

    # From data to requests.

    @property
    def _request_seconds(self) -> float:
        """How long the next request may take to arrive."""
        if self.worker.stopping:
            return SHUTDOWN_SECONDS
        return KEEP_ALIVE_SECONDS if self._parser.idle else HEAD_SECONDS

    @property
    def _ignores_input(self) -> bool:
        return self._state is not OPEN and self._state is not SHUTTING_DOWN

    def _parse(self, data: bytes) -> None:
        for _ in range(MAX_DECLINED_UPGRADES):
            result = self._parser.feed(data)
            if result.is_single:
                self.worker.head_cache.put(data, result.requests[0][0])
            if result.remainder is None or result.error is not None:
                self._accept(result.requests)
                if result.error is not None:
                    self._fail(result.error)
                elif result.unparsed:
                    self._postpone(result.unparsed)
                return
            data = self._upgrade(result.requests, result.remainder)
            if not data:
                return
        self._fail(BadRequest("too many requests for an upgrade"))

    def _postpone(self, data: bytes) -> None:
        """Parse more requests when those before them have been answered and other connections have had a turn."""
        self._unparsed = data
        self._pause_reading()
        self._resume_input()

    def _parse_postponed(self) -> None:
        if self._queue:
            return
        data, self._unparsed = self._unparsed, b""
        if data and not self._ignores_input:
            self._parse(data)
        self._resume_input()

    def _make_body(self, head: RequestHead) -> RequestBody:
        length = head.fields.get(b"content-length")
        return RequestBody(
            None if length is None else int(length),
            pause=self._pause_reading,
            resume=self._resume_input,
            send_continue=(lambda: self.transport.write(CONTINUE)) if head.expects_continue else None,
        )

    def _accept(self, requests: list[ParsedRequest]) -> None:
        """Handle the requests, or queue them behind the current one."""
        for head, body in requests:
            if self._ignores_input:
                return
            if self._cycle is not None or self._queue or self._write_paused:
                self._queue.append((head, body))
                self._pause_reading()
            else:
                self._handle(head, body)
            if not head.keep_alive and self._parser.body is None:
                self._end_input()

    def _upgrade(self, requests: list[ParsedRequest], remainder: bytes) -> bytes:
        """Hand the connection over to a WebSocket. Any other upgrade is declined by ignoring it.

        Returns the data to parse instead.
        """
        head, _ = requests.pop()
        self._accept(requests)
        is_websocket = head.upgrade == b"websocket" and head.method == "GET"
        if is_websocket and self._cycle is None and not self._queue:
            self.worker.connections.discard(self)
            self._resume_reading()
            data = head.encode() + remainder
            self.transport.set_protocol(self.worker.upgrade_to_websocket(self.transport, data, self.peer, self.scheme))
        elif is_websocket or head.method == "CONNECT":
            self._fail(BadRequest("the connection cannot be upgraded"))
        else:
            if not head.keep_alive:  # llhttp parses nothing after such a request
                self._parser = RequestParser(self._make_body)
            return head.encode_without_upgrade() + remainder
        return b""

    # From requests to responses.

    def _handle(self, head: RequestHead, body: RequestBody | None) -> None:
        request = head.to_request(self.client, self.scheme)
        if body is not None:
            request.body, request.set_body_timeout = body.read(), body.set_timeout
        response = self.worker.handler(request)
        if isinstance(response, Response) and isinstance(response.body, bytes):
            self.send_response(head, body, response)
        elif response is None:
            self._cycle = cycle = ASGICycle(self, head, body)
            cycle.start_application(self.worker.application)
        else:
            self._cycle = RequestCycle(self, head, body)
            self._cycle.start(request, response)

    @property
    def date(self) -> bytes:
        return self.worker.ticker.date

    def keeps_alive(self, head: RequestHead, body: RequestBody | None) -> bool:
        """Whether the connection can be used again after this request."""
        is_open = self._state is OPEN or self._state is INPUT_ENDED
        return is_open and head.keep_alive and not self.worker.draining and (body is None or body.is_worth_draining)

    def send_response(self, head: RequestHead, body: RequestBody | None, response: Response) -> None:
        """Send a response that is not streamed, and finish its request."""
        headers, content = response.headers, response.body
        assert isinstance(content, bytes)  # noqa: S101 - the caller has checked
        keep_alive = self.keeps_alive(head, body) and (body is None or response.status != REQUEST_TIMEOUT)
        if not keep_alive or head.version != "1.1":
            headers = headers + connection_fields(head.version, keep_alive=keep_alive)
        try:
            encoded = encode_sized_head(head.method, response.status, headers, len(content), self.worker.ticker.date)
        except ValueError:
            log.exception("the response could not be encoded")
            self._send_error(InternalError("the request could not be handled"))
            return
        if len(content) > MAX_JOINED_BYTES:
            self.transport.write(encoded)
            self.transport.write(content)
        else:
            self.transport.write(encoded + content)
        self.finish_request(body, keep_alive=keep_alive)

    def finish_request(self, body: RequestBody | None, *, keep_alive: bool) -> None:
        """The response is complete: drop the rest of the request's body, and close if that is due."""
        self._cycle = None
        self._active_at = self.worker.ticker.now
        if body is not None:
            body.discard()
        if not keep_alive or (self._state is not OPEN and self._state is not INPUT_ENDED):
            self._close(linger=body is not None and not body.is_complete)

    def next_request(self) -> None:
        """Handle queued requests, until one needs a task."""
        while self._queue and self._cycle is None and not self._write_paused and not self.transport.is_closing():
            item = self._queue.popleft()
            if isinstance(item, GatewayError):
                self._send_error(item)
            else:
                self._handle(*item)
        self._resume_input()

    # From open to closed.

    def _end_input(self) -> None:
        if self._state is OPEN:
            self._state = INPUT_ENDED
        elif self._state is SHUTTING_DOWN:
            self._state = CLOSING

    def _fail(self, error: GatewayError) -> None:
        """What follows cannot be parsed: send `error` after the responses to the requests before it, then close."""
        if self._ignores_input:
            return
        self._end_input()
        body, self._parser.body = self._parser.body, None
        if body is not None:
            body.abort(error if isinstance(error, RequestTimeout) else None)
            if self._cycle is None and not self._queue:  # the response was sent before the body was complete
                self._close(linger=True)
        elif self._cycle is not None or self._queue:
            self._queue.append(error)
        else:
            self._send_error(error)

    def _send_error(self, error: GatewayError) -> None:
        response = problem(error, new_id(time.time()))
        head = encode_head(response.status, [*response.headers, CLOSE], self.date)
        self.transport.write(head + cast(bytes, response.body))
        self._close(linger=True)

    def _close(self, *, linger: bool) -> None:
        """Close once everything written is sent.

        With `linger`, a lingering close (RFC 9112 section 9.6): keep reading briefly so that the client receives the
        response instead of a reset.
        """
        self._state = CLOSING
        self._queue.clear()
        if not linger or not self.transport.can_write_eof():
            self.transport.close()
        elif not self.transport.is_closing():
            self._state = LINGERING
            self._active_at = self.worker.ticker.now
            self.transport.write_eof()
            self._resume_input()

    def _resume_input(self) -> None:
        if not self._read_paused or self._queue:
            return
        if self._unparsed:
            self.loop.call_soon(self._parse_postponed)
        else:
            self._resume_reading()

"""One client connection: parses what it receives, and handles its requests in order."""

import asyncio
import logging
from typing import Final, cast

from routing.errors import BadRequest, GatewayError, InternalError, RequestTimeout
from routing.http import Response, first
from routing.http1.asgi_cycle import ASGICycle
from routing.http1.cycle import RequestCycle
from routing.http1.head_cache import MAX_CACHED_BYTES, RequestHead
from routing.http1.lifecycle import ConnectionLifecycle
from routing.http1.request_body import RequestBody
from routing.http1.request_parser import ParsedRequest, RequestParser
from routing.http1.response_encoder import CONTINUE, connection_fields, encode_sized_head
from routing.http1.state import CLOSING, INPUT_ENDED, NEW, OPEN
from routing.http1.worker import Worker
from routing.messages.proxies import normal_address

log = logging.getLogger(__name__)

REQUEST_TIMEOUT: Final = RequestTimeout.status
"""Closes the connection: the rest of the body may still come (RFC 9110 section 15.5.9)."""
MAX_JOINED_BYTES: Final = 65_536
"""A longer body is written after its head, instead of being copied behind it."""
MAX_DECLINED_UPGRADES: Final = 8
"""The most in the data of one read: after each, the parser starts again."""


class Connection(ConnectionLifecycle):
    """Handles a request at once, from its cached head if it has one, unless an earlier one is still in progress.

    `client` is the client's address, `peer` the same with its port; empty and None on a Unix socket.
    """

    scheme = "http"

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(worker, loop)
        self.tasks = worker.tasks
        self.client = ""
        self.peer: tuple[str, int] | None = None
        self.local: tuple[str, int] | None = None
        self._parser = RequestParser(self._make_body)

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

    # From data to requests.

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
            identifier = first(headers, b"x-request-id") or b""
            self._send_error(InternalError("the request could not be handled"), identifier.decode())
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

    def _resume_input(self) -> None:
        if not self._read_paused or self._queue:
            return
        if self._unparsed:
            self.loop.call_soon(self._parse_postponed)
        else:
            self._resume_reading()

"""How a connection ends: by its client, timeouts, requests that cannot be read, a worker's shutdown; lingering."""

import asyncio
import time
from collections import deque
from typing import Final, cast

from routing.errors import GatewayError, RequestTimeout
from routing.http1.cycle import RequestCycle
from routing.http1.flow_control import FlowControl
from routing.http1.half_close import half_closed
from routing.http1.request_parser import ParsedRequest, RequestParser
from routing.http1.response_encoder import CLOSE, encode_head
from routing.http1.state import CLOSING, INPUT_ENDED, LINGERING, NEW, OPEN, SHUTTING_DOWN
from routing.http1.worker import Worker
from routing.messages.identifiers import new_id
from routing.problems import identified_problem

HEAD_SECONDS: Final = 30.0
"""How long the head of a request may take to arrive, from its first byte, as nginx's client_header_timeout."""
LINGER_SECONDS: Final = 5.0
"""How long a lingering close reads on, as nginx's lingering_timeout."""
SHUTDOWN_SECONDS: Final = 1.5
"""How long a request that is on its way may take to arrive when the worker stops."""


class ConnectionLifecycle(FlowControl):
    """The state of a connection, and what moves it from open to closed.

    `_cycle` is the current request if it needs a task. `_queue` has the requests behind it; an error in the queue is
    sent, in its turn, as the last response. `_parser` is set by the subclass.
    """

    _parser: RequestParser

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.worker = worker
        self._state = NEW
        self._cycle: RequestCycle | None = None
        self._queue: deque[ParsedRequest | GatewayError] = deque()
        self._unparsed = b""
        """Requests that are parsed in a later iteration of the event loop. Reading is paused until then."""
        self._active_at = worker.ticker.now

    def eof_received(self) -> bool:
        """The client sends nothing more. Returns whether to keep the connection: it may wait for its last response."""
        cycle, parser = self._cycle, self._parser
        if cycle is None or cycle.has_responded or self._queue or not parser.idle or not self.transport.can_write_eof():
            return False
        self._state = CLOSING
        self.transport = half_closed(self.transport, self.loop, self.transport.abort)
        return True

    def shutdown(self) -> None:
        """Finish the current request, then close. Called by the worker when it stops.

        A connection waits a moment longer for the first request it was opened for, for the next request if its last
        one has just ended, and for the rest of a head: see `check_timeouts`.
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
        """Close the connection if it has waited too long for the client. Called by the worker's ticker once a second.

        `now` is monotonic seconds.
        """
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

    @property
    def _request_seconds(self) -> float:
        """How long the head of the next request may take to arrive."""
        if self.worker.stopping:
            return SHUTDOWN_SECONDS
        return self.worker.keep_alive if self._parser.idle else HEAD_SECONDS

    @property
    def _ignores_input(self) -> bool:
        return self._state is not OPEN and self._state is not SHUTTING_DOWN

    def _end_input(self) -> None:
        """Read no more requests."""
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

    def _send_error(self, error: GatewayError, request_id: str = "") -> None:
        """Send `error` as the last response; to a request that cannot be read, under a new id."""
        response = identified_problem(error, request_id or new_id(time.time()))
        head = encode_head(response.status, [*response.headers, CLOSE], self.worker.ticker.date)
        self.transport.write(head + cast(bytes, response.body))
        self._close(linger=True)

    def _close(self, *, linger: bool) -> None:
        """Close once everything written is sent, and drop the requests that have had no response.

        With `linger`, a lingering close (RFC 9112 section 9.6): keep reading briefly so that the client receives the
        response instead of a reset.
        """
        self._state = CLOSING
        self._queue.clear()
        self._unparsed = b""
        if not linger or not self.transport.can_write_eof():
            self.transport.close()
        elif not self.transport.is_closing():
            self._state = LINGERING
            self._active_at = self.worker.ticker.now
            self.transport.write_eof()
            self._resume_reading()

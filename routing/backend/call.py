"""One call on a connection: sends the request body while reading the response; if either fails, both are aborted."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final, Self

from routing.backend.connection import BackendConnection
from routing.backend.encoding import BodySource, Call
from routing.backend.reasons import CLOSED_BEFORE_RESPONSE, CLOSED_DURING_RESPONSE, loss_reason, refuses_client
from routing.backend.response_parser import ConnectionClosedEarly, ResponseParser
from routing.backend.timers import Awaited, awaited, clients_fault, expiry, timeout_error
from routing.backend.upload import write_body
from routing.errors import BadGateway, RequestTimeout
from routing.http import Body
from routing.router.policy import Timeout

HOLD_SECONDS: Final = 0.1
"""How long a connection is not used after a response that may wrongly be followed by a body."""
MAX_BUFFERED_BYTES: Final = 256 * 1024
"""Reading pauses while more bytes of the response body than this are buffered."""


class CallStream:
    """The response body as an iterator, and the connection's listener until the response is complete. `parser` has
    what was received so far.

    Times out by what it waits for (timers.py): the client's upload or reading, which are never the target's failure, or
    the target.
    `deadline` is the end of the upload and of the wait for the head, in the event loop's time. `release` is called once
    with the connection, if it can carry another call, for how many seconds it may be idle, and for how many it must be.
    """

    __slots__ = (
        "_connection",
        "_deadline",
        "_draining",
        "_ended",
        "_error",
        "_release",
        "_sent",
        "_source",
        "_timeout",
        "_upload",
        "_waited_before",
        "_waiter",
        "is_undelivered",
        "parser",
    )

    def __init__(
        self,
        connection: BackendConnection,
        parser: ResponseParser,
        *,
        timeout: Timeout,
        deadline: float,
        release: Callable[[BackendConnection, float, float], None],
    ) -> None:
        self._connection = connection
        self.parser = parser
        self._timeout = timeout
        self._deadline = deadline
        self._release = release
        self._error: BaseException | None = None
        self._ended = False
        self._sent = True
        self._draining = False
        self._source: BodySource | None = None
        self._waited_before = 0.0
        self._upload: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.is_undelivered = False
        """Whether a 408 is known to have been sent before anything of the call arrived."""
        connection.carry(self)

    # Sending the request.

    def send(self, head: bytes, call: Call) -> None:
        """Start sending; a call without a body is sent at once."""
        if not self._connection.alive:
            self._fail(ConnectionClosedEarly(CLOSED_BEFORE_RESPONSE, unsent=True))  # closed since it was opened
            return
        self._connection.write(head)
        if call.body is not None:
            self._sent = False
            if call.source is not None:
                self._source, self._waited_before = call.source, call.source.waited
            self._upload = self._connection.loop.create_task(self._send_body(call.body, call.length))
            self._upload.add_done_callback(self._uploaded)

    async def _send_body(self, body: Body, length: int | None) -> None:
        """From its end on the read timeout applies. The client's time is not the target's."""
        await write_body(body, length, self._connection.write_next, self._drain)
        self._sent = True
        if not self.parser.head_complete:
            self._deadline += self._upload_seconds
        self._set_timer()

    async def _drain(self) -> None:
        """Wait until the target has read enough of the body, at most for the read timeout."""
        if self._connection.full:
            self._draining = True
            self._set_timer()
            await self._connection.drain()
            self._draining = False
        self._set_timer()

    def _uploaded(self, upload: asyncio.Task[None]) -> None:
        """An exception of the body's iterator becomes the outcome of the call, unless the upload was being stopped."""
        if not upload.cancelled() and (error := upload.exception()) and not upload.cancelling():
            self._fail(error)

    def _stop_upload(self) -> None:
        if self._upload is not None and not self._sent and not self._upload.cancelling():
            self._upload.cancel()

    # Receiving the response.

    def received(self, data: bytes) -> None:
        parser = self.parser
        try:
            parser.feed(data)
        except BadGateway as error:
            self._fail(error)
            return
        if parser.status >= 400:
            self._stop_upload()  # RFC 9112 section 9.3
            if parser.status == RequestTimeout.status:
                self.is_undelivered = self._connection.was_undelivered
        if parser.complete:
            self._end()
        elif parser.size > MAX_BUFFERED_BYTES:
            self._connection.pause_reading()  # until the client has read what is buffered
        if parser.head_complete:
            self._wake()

    def ended(self) -> None:
        try:
            if self.parser.started and self._connection.is_cut:
                raise BadGateway(CLOSED_DURING_RESPONSE)
            self.parser.end()
        except BadGateway as error:
            error.unsent = not self.parser.started and self._connection.was_closed_before_call
            self._fail(self._cut_by_client() or error)
        else:
            self._end()
            self._wake()

    def lost(self, error: Exception | None) -> None:
        fault, started = self._cut_by_client(), self.parser.started
        if fault is None:
            reason = loss_reason(error, has_started=started)
            if started or refuses_client(error):
                fault = BadGateway(reason, unsent=not started)
            else:
                fault = ConnectionClosedEarly(reason, unsent=self._connection.was_closed_before_call)
        fault.__cause__ = error
        self._fail(fault)

    def expired(self) -> None:
        past_deadline = self._connection.loop.time() >= self._deadline
        self._fail(timeout_error(self._awaited, head_complete=self.parser.head_complete, past_deadline=past_deadline))

    async def wait_for_head(self) -> None:
        """Wait for the header fields of the final response. If it raises, the call has ended."""
        try:
            while self._error is None and not self.parser.head_complete:
                await self._wait()
            if self._error is not None:
                raise self._error
        except BaseException:
            await self.aclose()
            raise
        if not self._ended:
            stream = self._timeout.stream
            self._deadline = inf if stream == inf else self._connection.loop.time() + stream
            self._set_timer()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """All bytes received since the last call, once there are any."""
        parser = self.parser
        while not parser.chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            await self._wait()
        data = parser.take()
        if not self._ended:
            self._connection.resume_reading()
        return data

    @property
    def is_early(self) -> bool:
        """Whether the head was received before the request was complete."""
        return not self._sent

    def complete_body(self) -> bytes | None:
        """The whole body if the call has ended without error, including its upload; otherwise None."""
        if not self.parser.complete or not self._ended or self._error is not None:
            return None
        return self.parser.take() if self._upload is None or self._upload.done() else None

    async def aclose(self) -> None:
        """Abandon the rest of the response. Returns when the upload task has ended too."""
        self._abandon()
        if self._upload is not None and not self._upload.done():
            await asyncio.wait((self._upload,))

    async def rewind(self, call: Call) -> bool:
        """End this, and set the body of `call` to its beginning. False if that is impossible: nothing is done then."""
        if self._upload is not None:
            body = call.source.restart() if call.source is not None and self._upload.done() else None
            if body is None:
                return False
            call.body = body
        await self.aclose()
        return True

    @property
    def _awaited(self) -> Awaited:
        return awaited(
            has_reader=self._waiter is not None,
            head_complete=self.parser.head_complete,
            awaits_upload=self._awaits_upload,
            is_draining=self._draining,
        )

    @property
    def _awaits_upload(self) -> bool:
        """Whether the next piece of the request is the client's to send."""
        return self._upload is not None and not (self._sent or self._draining or self._upload.cancelling())

    @property
    def _upload_seconds(self) -> float:
        """How long this call has waited for the client to send its body."""
        return 0.0 if self._source is None else self._source.waited - self._waited_before

    def _cut_by_client(self) -> Exception | None:
        """The error of a call that the target ended after a slow client had kept it waiting; None if it did not."""
        return clients_fault(
            awaits_upload=self._awaits_upload,
            head_complete=self.parser.head_complete,
            unread=self._connection.paused_seconds,
            unsent=self._upload_seconds,
        )

    def _set_timer(self) -> None:
        if not self._ended:
            now = self._connection.loop.time()
            self._connection.expire_at(expiry(self._awaited, self._timeout, now, self._deadline))

    async def _wait(self) -> None:
        """Wait for the next event of the connection. Cancellation means that the client is gone; it ends the call."""
        self._waiter = self._connection.loop.create_future()
        self._set_timer()
        try:
            await self._waiter
        except BaseException:
            self._abandon()
            raise
        finally:
            self._waiter = None
            if not self._ended:
                self._connection.deadline = self._deadline

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _abandon(self) -> None:
        self.parser.chunks.clear()
        self.parser.reusable = False
        self._end()

    def _fail(self, error: BaseException) -> None:
        if not self._ended:
            self._error = error
            self.parser.reusable = False
            self._end()
            self._wake()

    def _end(self) -> None:
        """Return the connection to the pool if both messages are complete and it persists; otherwise abort it."""
        if self._ended:
            return
        self._ended = True
        self._stop_upload()
        self.parser.release()
        connection = self._connection
        connection.listener = None
        if self.parser.reusable and self._sent and connection.alive:
            connection.resume_reading()
            self._release(connection, self.parser.idle_limit, HOLD_SECONDS if self.parser.announces_too_much else 0.0)
        else:
            connection.abort()

"""One call on a connection: sends the request body while reading the response; if either fails, both are aborted."""

import asyncio
from collections.abc import Callable
from typing import Final, Self

from routing.backend.connection import BackendConnection
from routing.backend.encoding import LAST_CHUNK, Call, encode_chunk
from routing.backend.response_parser import CLOSED_EARLY, ConnectionClosedEarly, ResponseParser
from routing.errors import BadGateway, BadRequest, UpstreamTimeout
from routing.http import Body

MAX_BUFFERED_BYTES: Final = 256 * 1024
"""Reading pauses while more bytes of the response body than this are buffered."""

TIMED_OUT: Final = "The service did not respond in time."
LENGTH_MISMATCH: Final = "The request body's length differs from its Content-Length."


class CallStream:
    """The response body as an iterator, and the connection's listener until the response is complete. `parser` has
    what was received so far.

    `read_timeout` is the longest time in seconds between two pieces of the response, `deadline` the end of the call in
    the event loop's time. `release` is called once with the connection, if it can carry another call.
    """

    __slots__ = (
        "_connection",
        "_deadline",
        "_ended",
        "_error",
        "_read_timeout",
        "_release",
        "_sent",
        "_upload",
        "_waiter",
        "parser",
    )

    def __init__(
        self,
        connection: BackendConnection,
        parser: ResponseParser,
        *,
        read_timeout: float,
        deadline: float,
        release: Callable[[BackendConnection], None],
    ) -> None:
        self._connection = connection
        self.parser = parser
        self._read_timeout = read_timeout
        self._deadline = deadline
        self._release = release
        self._error: BaseException | None = None
        self._ended = False
        self._sent = True
        self._upload: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        connection.listener = self

    # Sending the request.

    def send(self, head: bytes, call: Call) -> None:
        """Start sending; a call without a body is sent at once."""
        if not self._connection.alive:
            self.lost(None)  # closed since it was opened
            return
        self._connection.write(head)
        if call.body is not None:
            self._sent = False
            sending = self._send_chunks(call.body) if call.length is None else self._send_bytes(call.body, call.length)
            self._upload = self._connection.loop.create_task(sending)
            self._upload.add_done_callback(self._uploaded)

    async def _send_chunks(self, body: Body) -> None:
        async for data in body:
            if data:
                self._connection.write(encode_chunk(data))
                await self._drain()
        self._connection.write(LAST_CHUNK)
        self._mark_sent()

    async def _send_bytes(self, body: Body, remaining: int) -> None:
        """Send `remaining` bytes without waiting for the iterator's end: the response may arrive before it."""
        if remaining:
            async for data in body:
                remaining -= len(data)
                if remaining < 0:
                    break
                self._connection.write(data)
                if not remaining:
                    break
                await self._drain()
        if remaining:
            raise BadRequest(LENGTH_MISMATCH)
        self._mark_sent()

    async def _drain(self) -> None:
        """Wait until the target has read enough of the body, at most for the read timeout."""
        if self._connection.full:
            self._connection.expire_at(self._read_deadline())
            await self._connection.drain()
            self._connection.deadline = self._deadline

    def _mark_sent(self) -> None:
        """The request is complete: the read timeout applies from here on."""
        self._sent = True
        if self._waiter is not None and not self._ended:
            self._connection.expire_at(self._read_deadline())

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
        if parser.complete:
            self._end()
        elif parser.size > MAX_BUFFERED_BYTES:
            self._connection.pause_reading()
        if parser.head_complete:
            self._wake()

    def ended(self) -> None:
        try:
            self.parser.end()
        except BadGateway as error:
            self._fail(error)
        else:
            self._end()
            self._wake()

    def lost(self, error: Exception | None) -> None:
        fault = BadGateway(CLOSED_EARLY) if self.parser.started else ConnectionClosedEarly(CLOSED_EARLY)
        fault.__cause__ = error
        self._fail(fault)

    def expired(self) -> None:
        self._fail(UpstreamTimeout(TIMED_OUT))

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

    # Shared by both directions.

    async def _wait(self) -> None:
        """Wait for the next event of the connection. Cancellation means that the client is gone; it ends the call."""
        self._connection.expire_at(self._read_deadline() if self._sent else self._deadline)
        self._waiter = self._connection.loop.create_future()
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

    def _read_deadline(self) -> float:
        return min(self._connection.loop.time() + self._read_timeout, self._deadline)

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
            self._release(connection)
        else:
            connection.abort()

"""One call's turn on a connection: its body goes up while its answer comes down, and both end well or neither."""

import asyncio
from collections.abc import Callable
from typing import Final, Self

from routing.backend.connection import BackendConnection
from routing.backend.encoding import LAST_CHUNK, Call, encode_chunk
from routing.backend.response_parser import CUT, ConnectionClosedEarly, ResponseParser
from routing.errors import BadGateway, BadRequest, UpstreamTimeout
from routing.http import Body

HIGH_WATER: Final = 256 * 1024
"""Bytes of a body waiting for their reader, above which no more are taken in."""

LATE: Final = "The service did not answer in time."
UNLIKE_LENGTH: Final = "The request's body is not as long as it was said to be."


class CallStream:
    """The body of the answer as an iterator, and the listener of the connection until the answer is complete. `reply`
    is what has come of it.

    `read` is how many seconds may pass between two pieces of the answer; `until` is when all must be over, in the event
    loop's time. `done` is called once with the connection when it may bear another turn.
    """

    __slots__ = ("_connection", "_done", "_error", "_over", "_read", "_sent", "_until", "_upload", "_waiter", "reply")

    def __init__(
        self,
        connection: BackendConnection,
        reply: ResponseParser,
        *,
        read: float,
        until: float,
        done: Callable[[BackendConnection], None],
    ) -> None:
        self._connection = connection
        self.reply = reply
        self._read = read
        self._until = until
        self._done = done
        self._error: BaseException | None = None
        self._over = False
        self._sent = True
        self._upload: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        connection.listener = self

    # Up.

    def send(self, head: bytes, call: Call) -> None:
        """Begins to send; a call without a body is sent at once."""
        if not self._connection.alive:
            self.lost(None)  # between its opening and now
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
        self._all_sent()

    async def _send_bytes(self, body: Body, left: int) -> None:
        """Sends what was announced and asks for no more: the answer may come before the iterator's own end."""
        if left:
            async for data in body:
                left -= len(data)
                if left < 0:
                    break
                self._connection.write(data)
                if not left:
                    break
                await self._drain()
        if left:
            raise BadRequest(UNLIKE_LENGTH)
        self._all_sent()

    async def _drain(self) -> None:
        """Waits for the target to take what was written, but no longer than for a piece of its answer."""
        if self._connection.full:
            self._connection.expire_at(self._patience())
            await self._connection.drain()
            self._connection.deadline = self._until

    def _all_sent(self) -> None:
        """From here on it is the target's turn to do something."""
        self._sent = True
        if self._waiter is not None and not self._over:
            self._connection.expire_at(self._patience())

    def _uploaded(self, upload: asyncio.Task[None]) -> None:
        """What the body's own iterator raised is the call's outcome, unchanged; what came of stopping it is not."""
        if not upload.cancelled() and (error := upload.exception()) and not upload.cancelling():
            self._fail(error)

    def _stop_upload(self) -> None:
        if self._upload is not None and not self._sent and not self._upload.cancelling():
            self._upload.cancel()

    # Down.

    def received(self, data: bytes) -> None:
        reply = self.reply
        try:
            reply.feed(data)
        except BadGateway as error:
            self._fail(error)
            return
        if reply.status >= 400:
            self._stop_upload()  # RFC 9112 section 9.3
        if reply.complete:
            self._end()
        elif reply.size > HIGH_WATER:
            self._connection.pause_reading()
        if reply.headed:
            self._wake()

    def ended(self) -> None:
        try:
            self.reply.end()
        except BadGateway as error:
            self._fail(error)
        else:
            self._end()
            self._wake()

    def lost(self, error: Exception | None) -> None:
        fault = BadGateway(CUT) if self.reply.begun else ConnectionClosedEarly(CUT)
        fault.__cause__ = error
        self._fail(fault)

    def expired(self) -> None:
        self._fail(UpstreamTimeout(LATE))

    async def wait_for_head(self) -> None:
        """Returns when the head of the final answer is in. What it raises has ended the call."""
        try:
            while self._error is None and not self.reply.headed:
                await self._wait()
            if self._error is not None:
                raise self._error
        except BaseException:
            await self.aclose()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """All that has come since the last time, as soon as there is anything."""
        reply = self.reply
        while not reply.chunks:
            if self._error is not None:
                raise self._error
            if self._over:
                raise StopAsyncIteration
            await self._wait()
        data = reply.take()
        if not self._over:
            self._connection.resume_reading()
        return data

    def complete_body(self) -> bytes | None:
        """The body, if all of it has come already and nothing of the call runs any more: nothing is left to read."""
        if not self.reply.complete or not self._over or self._error is not None:
            return None
        return self.reply.take() if self._upload is None or self._upload.done() else None

    async def aclose(self) -> None:
        """Gives up what has not come yet; returns when nothing of the call runs any more."""
        self._abandon()
        if self._upload is not None and not self._upload.done():
            await asyncio.wait((self._upload,))

    # Between.

    async def _wait(self) -> None:
        """Until something has happened. Whoever is cancelled here has gone away, and the connection with them."""
        self._connection.expire_at(self._patience() if self._sent else self._until)
        self._waiter = self._connection.loop.create_future()
        try:
            await self._waiter
        except BaseException:
            self._abandon()
            raise
        finally:
            self._waiter = None
            if not self._over:
                self._connection.deadline = self._until

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _patience(self) -> float:
        return min(self._connection.loop.time() + self._read, self._until)

    def _abandon(self) -> None:
        self.reply.chunks.clear()
        self.reply.reusable = False
        self._end()

    def _fail(self, error: BaseException) -> None:
        if not self._over:
            self._error = error
            self.reply.reusable = False
            self._end()
            self._wake()

    def _end(self) -> None:
        """Leaves the connection: to the next turn if nothing of this one is left on it, else closed."""
        if self._over:
            return
        self._over = True
        self._stop_upload()
        self.reply.release()
        connection = self._connection
        connection.listener = None
        if self.reply.reusable and self._sent and connection.alive:
            connection.resume_reading()
            self._done(connection)
        else:
            connection.abort()

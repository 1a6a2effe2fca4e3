"""The body of a request as it arrives, with back-pressure: a client may not send faster than the body is read."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from routing.http import CLIENT_SECONDS, ClientGone

HIGH_WATER: Final = 65_536
"""Bytes that may be buffered before reading from the client is paused."""


class RequestBody:
    """`length` is the value of Content-Length, or None. `timeout` is how long in seconds the client may send nothing,
    which the connection observes.

    `pause` and `resume` control reading from the client. `send_continue` sends 100 (Continue), if the client expects
    it (RFC 9110 section 10.1.1).
    """

    def __init__(
        self,
        length: int | None,
        *,
        pause: Callable[[], None],
        resume: Callable[[], None],
        send_continue: Callable[[], None] | None,
    ) -> None:
        self.is_complete = False
        self.timeout = CLIENT_SECONDS
        self._error: Exception | None = None
        self._is_discarded = False
        self._remaining = length
        self._pause = pause
        self._resume = resume
        self._send_continue = send_continue
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_worth_draining(self) -> bool:
        """Whether to read and discard the rest so that the connection can be kept alive: it is short, or here already.

        Never while the client may still be waiting for 100 (Continue): then it may not send the body at all.
        """
        if self.is_complete or self._error is not None or self._send_continue is not None:
            return self.is_complete
        return self._remaining is not None and self._remaining <= HIGH_WATER

    @property
    def remaining(self) -> int | None:
        """Bytes still to come, or None if the body is chunked."""
        return self._remaining

    def feed(self, data: bytes) -> None:
        if self._remaining is not None:
            self._remaining -= len(data)
        if self._is_discarded:
            return
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > HIGH_WATER:
            self._pause()
        self._wake()

    def feed_eof(self) -> None:
        """The body is complete."""
        self.is_complete = True
        self._wake()

    def abort(self, error: Exception | None = None) -> None:
        """The rest will not come: the client disconnected, the framing is invalid, or `error`."""
        self._error = error or ClientGone()
        self._wake()

    def set_timeout(self, seconds: float) -> None:
        self.timeout = seconds

    def discard(self) -> None:
        """Drop what is buffered and what still comes."""
        self._is_discarded = True
        self._chunks.clear()
        self._buffered = 0
        self._resume()

    async def read_chunk(self) -> bytes:
        """All that is buffered, at least one byte; empty at the end.

        Raises ClientGone if the body is incomplete, RequestTimeout if the client has stopped sending it.
        """
        if self._send_continue is not None and self._error is None:
            send_continue, self._send_continue = self._send_continue, None
            send_continue()
        while not self._chunks:
            if self.is_complete:
                return b""
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        self._resume()
        return data

    async def read(self) -> AsyncIterator[bytes]:
        """Iterate over the body as it arrives. Raises like `read_chunk`."""
        while chunk := await self.read_chunk():
            yield chunk

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

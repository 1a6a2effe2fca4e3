"""A request body sent to a backend: limited in size, and buffered while small so that it can be sent again."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from math import inf
from typing import Final

from routing.errors import BodyTooLarge, RequestTimeout
from routing.http import Body, Request
from routing.messages.bodies import read_up_to, resumed

REPLAY_BUFFER_BYTES: Final = 64 * 1024
"""A larger body is sent once only, which bounds the memory of each call."""
ENDPOINT_BODY_SECONDS: Final = 30.0
"""How long the whole body may take, for a request that the gateway answers itself."""
SLOW_UPLOAD_SECONDS: Final = 1.0
"""A client that was waited for longer, in all, may lose its slot to one that waits for it."""


class Upload:
    """`replayable`: whether the body can still be sent again. `untouched`: whether none of it has been read.

    `timer` is monotonic seconds.
    """

    def __init__(
        self,
        body: Body,
        *,
        limit: int,
        service: str,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.replayable = True
        self.untouched = True
        self._body = body
        self._limit = limit
        self._service = service
        self._buffer: list[bytes] = []
        self._size = 0
        self._timer = timer
        self._waited = 0.0
        self._waiting_since: float | None = None
        self._reader: asyncio.Task[object] | None = None
        self._interrupted = False

    @property
    def waited(self) -> float:
        """Seconds spent waiting for the client to send the body, including the present wait."""
        return self._waited + (0.0 if self._waiting_since is None else self._timer() - self._waiting_since)

    @property
    def received(self) -> int:
        """Bytes received so far."""
        return self._size

    @property
    def rate(self) -> float:
        """Bytes received for each second of waiting for them; infinite for a client that was hardly waited for."""
        waited = self.waited
        return self._size / waited if waited > SLOW_UPLOAD_SECONDS else inf

    def interrupt(self) -> None:
        """Let the wait for the client, if there is one now, end with RequestTimeout."""
        if self._waiting_since is not None and self._reader is not None and not self._interrupted:
            self._interrupted = self._reader.cancel()

    def restart(self) -> AsyncGenerator[bytes, None] | None:
        """The body from its start; None if it cannot be sent again."""
        return self.chunks() if self.replayable or self.untouched else None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body from its start: first the buffered chunks, then the rest. Raises BodyTooLarge."""
        for chunk in list(self._buffer):
            yield chunk
        while (next_chunk := await self._next()) is not None:
            yield next_chunk

    async def _next(self) -> bytes | None:
        self.untouched = False
        self._waiting_since, self._reader = self._timer(), asyncio.current_task()
        try:
            chunk = await anext(self._body)
        except StopAsyncIteration:
            return None
        except BaseException as error:  # an interrupted source cannot be resumed
            self._stop_buffering()
            if self._interrupted and isinstance(error, asyncio.CancelledError) and not _uncancel(self._reader):
                message = "the request body is slow, and others wait for the service"
                raise RequestTimeout(message, service=self._service) from None
            raise
        finally:
            self._waited, self._waiting_since = self.waited, None
        self._size += len(chunk)
        if self._size > self._limit:
            self._stop_buffering()
            raise BodyTooLarge(f"the request body is larger than {self._limit} bytes", service=self._service)
        if self._size > REPLAY_BUFFER_BYTES:
            self._stop_buffering()
        if self.replayable:
            self._buffer.append(chunk)
        return chunk

    def _stop_buffering(self) -> None:
        self.replayable = False
        self._buffer.clear()


def _uncancel(task: "asyncio.Task[object] | None") -> int:
    """Undo one cancellation. Returns how many others there are."""
    return 0 if task is None else task.uncancel()


async def timed(body: Body, *, idle: float, total: float) -> AsyncIterator[bytes]:
    """The body, for an endpoint that reads it itself. Raises RequestTimeout if a piece takes longer than `idle` seconds
    or the whole longer than `total`.
    """
    end = asyncio.get_running_loop().time() + total
    while True:
        try:
            async with asyncio.timeout_at(min(end, asyncio.get_running_loop().time() + idle)):
                chunk = await anext(body, None)
        except TimeoutError as error:
            raise RequestTimeout("the request body did not arrive in time") from error
        if chunk is None:
            return
        yield chunk


async def read_in_time(body: Body | None, limit: int) -> bytes | None:
    """The whole body of a request that the gateway answers itself; None if it has more than `limit` bytes.

    Raises RequestTimeout if it does not arrive within ENDPOINT_BODY_SECONDS.
    """
    if body is None:
        return b""
    chunks, is_complete = await read_up_to(timed(body, idle=ENDPOINT_BODY_SECONDS, total=ENDPOINT_BODY_SECONDS), limit)
    return b"".join(chunks) if is_complete else None


async def read_ahead(request: Request, limit: int, *, idle: float, seconds: float) -> tuple[bytes, bool]:
    """The beginning of a body, and whether that is all of it. The request can be forwarded as if it were unread.

    The chunk that makes it more than `limit` bytes, or that arrives after `seconds`, is the last. Raises RequestTimeout
    if a piece takes longer than `idle` seconds, and what the client's body raises.
    """
    rest = request.body
    if rest is None:
        return b"", True
    if request.set_body_timeout is not None:
        request.set_body_timeout(idle)
    deadline = asyncio.get_running_loop().time() + seconds
    chunks, is_whole = await read_up_to(timed(rest, idle=idle, total=inf), limit, deadline)
    body = b"".join(chunks)
    request.body = resumed([body] if body else [], None if is_whole else rest)
    return body, is_whole

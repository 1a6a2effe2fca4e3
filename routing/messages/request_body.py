"""A request body sent to a backend: limited in size, and buffered while small so that it can be sent again."""

from collections.abc import AsyncGenerator
from typing import Final

from routing.errors import BodyTooLarge
from routing.http import Body

REPLAY_BUFFER_BYTES: Final = 64 * 1024
"""A larger body is sent once only, which bounds the memory of each call."""


class Upload:
    """`buffer`: whether the request may be retried at all. `replayable`: whether the body can still be sent again."""

    def __init__(self, body: Body, *, limit: int, service: str, buffer: bool) -> None:
        self.replayable = buffer
        self._body = body
        self._limit = limit
        self._service = service
        self._buffer: list[bytes] = []
        self._size = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body from its start: first the buffered chunks, then the rest. Raises BodyTooLarge."""
        for chunk in list(self._buffer):
            yield chunk
        while (next_chunk := await self._next()) is not None:
            yield next_chunk

    async def _next(self) -> bytes | None:
        try:
            chunk = await anext(self._body)
        except StopAsyncIteration:
            return None
        except BaseException:  # an interrupted source cannot be resumed
            self._stop_buffering()
            raise
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

"""A response body of which a beginning has been read before it is passed on."""

from collections.abc import Sequence

from routing.backend.client import BackendResponse, ResponseStream
from routing.http import Body
from routing.messages.bodies import read_up_to


class BufferedBody:
    """The `chunks` read so far, and then `rest`; without `rest`, they are the whole body."""

    __slots__ = ("_chunks", "_rest")

    def __init__(self, chunks: Sequence[bytes], rest: ResponseStream | None = None) -> None:
        self._chunks = list(reversed(chunks))
        self._rest = rest

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        if self._chunks:
            return self._chunks.pop()
        if self._rest is None:
            raise StopAsyncIteration
        return await anext(self._rest)

    def complete_body(self) -> bytes | None:
        """The whole body, if it has been read."""
        if self._rest is not None:
            return None
        chunks, self._chunks = self._chunks, []
        return b"".join(reversed(chunks))

    async def aclose(self) -> None:
        self._chunks = []
        if self._rest is not None:
            await self._rest.aclose()


async def peek_body(response: BackendResponse, limit: int) -> bytes | None:
    """The whole body, None if it has more than `limit` bytes. The response can be passed on as if it were unread.

    Raises what reading it raises; then the call has ended.
    """
    if response.length is not None and response.length > limit:
        return None
    stream = response.body
    body = stream.complete_body()
    if body is not None:
        response.body = BufferedBody([body] if body else [])
        return body if len(body) <= limit else None
    try:
        chunks, is_complete = await read_up_to(stream, limit)
    except BaseException:
        await response.aclose()
        raise
    if not is_complete:
        response.body = BufferedBody(chunks, stream)
        return None
    await stream.aclose()  # returns when the upload has ended too
    response.body = BufferedBody(chunks)
    return b"".join(chunks)

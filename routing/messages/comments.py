"""Comments in an event stream while its source is silent: proxies and load balancers close connections that are idle.

HTML standard, section 9.2.7, recommends one every 15 seconds or so.
"""

import asyncio
from math import inf
from typing import Final

from resilience.cache.fields import CONTENT_DIGESTS
from routing.http import Headers, Stream, client_timeout, joined

COMMENT: Final = b": keep-alive\n"
"""A line before the next event. Clients such as openai-go take an empty line after it for an event without data."""
EVENT_STREAM: Final = b"text/event-stream"
_BETWEEN_EVENTS: Final = (b"\n\n", b"\r\r", b"\n\r\n", b"\r\r\n")
"""How a stream ends whose last event is complete (HTML standard, section 9.2.5)."""
_LONGEST_END: Final = 3
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_CHANGED_BY_MORE: Final = CONTENT_DIGESTS | {b"content-length", b"content-encoding", b"repr-digest", b"digest"}
"""Fields that would not be true of a body with comments, or of whose body the text is not known."""


def takes_comments(status: int, headers: Headers) -> bool:
    """Whether a response is an event stream that may be given comments.

    Not with `no-transform` (RFC 9111 section 5.2.2.6).
    """
    fields = dict(headers)
    if status != 200 or not _CHANGED_BY_MORE.isdisjoint(fields):
        return False
    media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return media_type == EVENT_STREAM and b"no-transform" not in (joined(headers, b"cache-control") or b"").lower()


class CommentedStream:
    """An event stream with a comment after each `seconds` in which `source` has sent nothing.

    Comments stand between complete events only.
    """

    def __init__(self, source: Stream, seconds: float) -> None:
        self.client_timeout = client_timeout(source)
        self._source = source
        self._seconds = seconds
        self._next: asyncio.Task[bytes | None] | None = None
        self._end = b"\n\n"  # as between events
        self._has_begun = self._has_comment = False

    def __aiter__(self) -> "CommentedStream":
        return self

    async def __anext__(self) -> bytes:
        while True:
            if self._next is None:
                self._next = asyncio.get_running_loop().create_task(self._pull())
            pending = self._next
            await asyncio.wait((pending,), timeout=self._seconds)
            if pending.done():
                self._next = None
                chunk = pending.result()
                if chunk is None:
                    raise StopAsyncIteration
                return self._observed(chunk)
            if self._end.endswith(_BETWEEN_EVENTS):
                self._has_comment = True
                return COMMENT

    async def aclose(self) -> None:
        """Close the source, and end the wait for its next piece."""
        pending, self._next = self._next, None
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        await self._source.aclose()

    async def _pull(self) -> bytes | None:
        return await anext(self._source, None)

    def _observed(self, chunk: bytes) -> bytes:
        if not self._has_begun and self._has_comment:
            chunk = chunk.removeprefix(_BYTE_ORDER_MARK)  # which nothing may precede
        self._has_begun = True
        self._end = (self._end + chunk)[-_LONGEST_END:]
        return chunk


def with_comments(body: Stream, status: int, headers: Headers, seconds: float) -> Stream:
    """The body of a response, with comments after each `seconds` of silence if it takes them. `inf`: never."""
    return CommentedStream(body, seconds) if seconds != inf and takes_comments(status, headers) else body

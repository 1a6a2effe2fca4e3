import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from routing.errors import BadGateway
from routing.http import Headers
from routing.messages.comments import COMMENT, CommentedStream, takes_comments, with_comments

SECONDS = 0.01
PASSES = 30
"""Of the event loop, in which the source is silent."""


class Source:
    """A stream that is fed by the test. None ends it, an exception is raised."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.cancelled = self.closed = False
        self.client_timeout = 7.0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self.pieces.get()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if isinstance(piece, Exception):
            raise piece
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        self.closed = True


async def read(*pieces: bytes) -> tuple[bytes, list[bytes]]:
    """What a client receives of a stream that is silent after each piece; and its pieces that are no comments."""
    source = Source()
    stream = CommentedStream(source, 0)
    received, waiting = [], asyncio.create_task(stream.__anext__())
    for piece in (*pieces, None):
        for _ in range(PASSES):
            await asyncio.sleep(0)
            if waiting.done():
                received.append(waiting.result())
                waiting = asyncio.create_task(stream.__anext__())
        source.pieces.put_nowait(piece)
    with contextlib.suppress(StopAsyncIteration):
        while True:
            received.append(await waiting)
            waiting = asyncio.create_task(stream.__anext__())
    return b"".join(received), [piece for piece in received if piece != COMMENT]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
async def test_comments_stand_between_events(end: bytes) -> None:
    first, second = b"data: 1" + end + end, b"event: x" + end + b"data: 2" + end + end
    text, pieces = await read(first, second)
    assert pieces == [first, second]
    assert [part.count(COMMENT) > 0 for part in text.replace(first, b"|").replace(second, b"|").split(b"|")] == [
        True
    ] * 3
    assert text.startswith(COMMENT)


@pytest.mark.parametrize(
    "piece", [b"data", b"data: 1\n", b"data: 1\r\n", b"data: 1\r\n\r", b"data: \n1\nx", b":", b"\n\nx"]
)
async def test_no_comment_is_within_an_event(piece: bytes) -> None:
    text, _ = await read(piece)
    assert text.endswith(piece)


async def test_an_event_may_end_in_a_later_piece() -> None:
    text, pieces = await read(b"data: 1\r\n\r", b"\ndata: 2\n", b"\n")
    assert pieces == [b"data: 1\r\n\r", b"\ndata: 2\n", b"\n"]
    assert b"data: 1\r\n\r\ndata: 2\n\n" + COMMENT in text


async def test_no_empty_line_is_added_which_clients_may_take_for_an_event() -> None:
    events = b"id: 1\ndata: 1\n\n", b"data: 2\r\n\r\n"
    text, _ = await read(*events)
    assert text.count(b"\n\n") + text.count(b"\r\n\r\n") == len(events)


async def test_a_byte_order_mark_stays_first() -> None:
    text, _ = await read(b"\xef\xbb\xbfdata: 1\n\n")
    assert b"\xef\xbb\xbf" not in text
    source = Source()
    source.pieces.put_nowait(b"\xef\xbb\xbfdata: 1\n\n")
    assert await anext(CommentedStream(source, 1.0)) == b"\xef\xbb\xbfdata: 1\n\n"


async def test_errors_of_the_source_are_raised() -> None:
    source = Source()
    source.pieces.put_nowait(BadGateway("cut"))
    with pytest.raises(BadGateway):
        await anext(CommentedStream(source, SECONDS))


async def test_closing_ends_the_wait_for_the_next_piece() -> None:
    source = Source()
    stream = CommentedStream(source, SECONDS)
    assert stream.client_timeout == source.client_timeout
    assert await anext(stream) == COMMENT
    await stream.aclose()
    assert (source.cancelled, source.closed) == (True, True)


@pytest.mark.parametrize(
    ("status", "more", "expected"),
    [
        (200, [], True),
        (200, [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")], True),
        (206, [], False),
        (404, [], False),
        (200, [(b"content-encoding", b"gzip")], False),
        (200, [(b"content-length", b"20")], False),
        (200, [(b"content-digest", b"sha-256=:x:")], False),
        (200, [(b"content-md5", b"x")], False),
        (200, [(b"digest", b"sha-256=x")], False),
        (200, [(b"cache-control", b"no-cache"), (b"cache-control", b"No-Transform")], False),
    ],
)
def test_which_responses_take_comments(status: int, more: Headers, expected: bool) -> None:
    headers = [(b"content-type", b"Text/Event-Stream; charset=utf-8"), *more]
    assert takes_comments(status, headers) is expected
    source = Source()
    assert (with_comments(source, status, headers, SECONDS) is source) is not expected
    assert with_comments(source, status, headers, float("inf")) is source
    assert not takes_comments(status, [(b"content-type", b"application/json"), *more])

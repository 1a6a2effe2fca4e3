"""Bodies read whole: up to a limit, or to their end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from routing.http import Response
from routing.messages.bodies import drain, read_up_to
from routing.messages.response_body import Relay


class Source:
    """A source of chunks that records whether it was closed."""

    def __init__(self, *chunks: bytes) -> None:
        self.body = self._each(chunks)
        self.closed = False

    async def _each(self, chunks: tuple[bytes, ...]) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("limit", "read", "is_complete"),
    [(0, [b"ab"], False), (1, [b"ab"], False), (2, [b"ab", b"cd"], False), (4, [b"ab", b"cd"], True)],
)
async def test_a_body_is_read_until_it_exceeds_the_limit(limit: int, read: list[bytes], is_complete: bool) -> None:
    assert await read_up_to(Source(b"ab", b"cd").body, limit) == (read, is_complete)


async def test_the_rest_of_a_body_can_be_read() -> None:
    body = Source(b"ab", b"cd", b"ef").body
    assert await read_up_to(body, 3) == ([b"ab", b"cd"], False)
    assert await read_up_to(body) == ([b"ef"], True)


async def test_a_chunk_after_the_deadline_is_the_last() -> None:
    now = asyncio.get_running_loop().time()
    assert await read_up_to(Source(b"ab", b"cd").body, deadline=now - 1) == ([b"ab"], False)


async def test_an_empty_body_is_complete() -> None:
    assert await read_up_to(Source().body, 0) == ([], True)


async def test_a_drained_body_is_recorded_and_closed() -> None:
    source, recorded = Source(b"ab", b"cd"), list[bytes]()
    await drain(Response(200, [], Relay(source, None, recorded.append, None)))
    assert recorded == [b"ab", b"cd"]
    assert source.closed


async def test_a_body_that_is_no_longer_needed_is_closed_early() -> None:
    source, recorded = Source(b"ab", b"cd"), list[bytes]()
    await drain(Response(200, [], Relay(source, None, recorded.append, None)), lambda: False)
    assert recorded == [b"ab"]
    assert source.closed


async def test_a_whole_body_needs_no_draining() -> None:
    await drain(Response(200, [], b"ab"))

"""A request's body: bounded, and sent again from its beginning while it is small."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from routing.errors import BodyTooLarge
from routing.messages.request_body import REPLAY_BUFFER_BYTES, Upload


async def body(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def upload(*pieces: bytes, limit: int = 1_000_000, keep: bool = True) -> Upload:
    return Upload(body(*pieces), limit=limit, service="crm", buffer=keep)


async def read(sent: Upload) -> bytes:
    return b"".join([piece async for piece in sent.chunks()])


async def test_it_is_the_same_the_second_time() -> None:
    sent = upload(b"a", b"b")
    assert [await read(sent), await read(sent), sent.replayable] == [b"ab", b"ab", True]


async def test_what_was_not_yet_asked_for_comes_after_what_was() -> None:
    sent = upload(b"a", b"b", b"c")
    first = sent.chunks()
    assert await anext(first) == b"a"
    await first.aclose()
    assert await read(sent) == b"abc"


async def test_a_large_one_is_sent_once() -> None:
    sent = upload(b"a" * REPLAY_BUFFER_BYTES, b"b")
    assert len(await read(sent)) == REPLAY_BUFFER_BYTES + 1
    assert not sent.replayable


async def test_over_the_limit_it_is_refused() -> None:
    with pytest.raises(BodyTooLarge):
        await read(upload(b"aa", b"bb", limit=3))


async def test_one_cut_in_the_middle_of_a_piece_is_not_sent_again() -> None:
    async def waits() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    sent = Upload(waits(), limit=10, service="crm", buffer=True)
    reading = asyncio.create_task(read(sent))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert not sent.replayable

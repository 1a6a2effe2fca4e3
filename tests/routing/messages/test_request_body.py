"""Request bodies: limited in size, and replayable while small."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from routing.errors import BodyTooLarge
from routing.messages.request_body import REPLAY_BUFFER_BYTES, Upload


async def body(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def upload(*chunks: bytes, limit: int = 1_000_000) -> Upload:
    return Upload(body(*chunks), limit=limit, service="crm")


async def read(uploaded: Upload) -> bytes:
    return b"".join([chunk async for chunk in uploaded.chunks()])


async def test_a_small_body_can_be_sent_twice() -> None:
    uploaded = upload(b"a", b"b")
    assert [await read(uploaded), await read(uploaded), uploaded.replayable] == [b"ab", b"ab", True]


async def test_a_replay_continues_with_the_chunks_not_yet_read() -> None:
    uploaded = upload(b"a", b"b", b"c")
    first = uploaded.chunks()
    assert await anext(first) == b"a"
    await first.aclose()
    assert await read(uploaded) == b"abc"


async def test_a_large_body_is_sent_once() -> None:
    uploaded = upload(b"a" * REPLAY_BUFFER_BYTES, b"b")
    assert len(await read(uploaded)) == REPLAY_BUFFER_BYTES + 1
    assert not uploaded.replayable


async def test_a_body_over_the_limit_is_rejected() -> None:
    with pytest.raises(BodyTooLarge):
        await read(upload(b"aa", b"bb", limit=3))


async def test_a_body_interrupted_while_reading_is_not_sent_again() -> None:
    async def never_arrives() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    uploaded = Upload(never_arrives(), limit=10, service="crm")
    reading = asyncio.create_task(read(uploaded))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert not uploaded.replayable
    assert uploaded.restart() is None

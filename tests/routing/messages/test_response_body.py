import asyncio
from collections.abc import AsyncIterator

import pytest

from routing.errors import BadGateway
from routing.messages.response_body import Relay


class Source:
    def __init__(self, *chunks: bytes, fault: Exception | None = None) -> None:
        self.body = self._stream(chunks, fault)
        self.closed = False

    async def _stream(self, chunks: tuple[bytes, ...], fault: Exception | None) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
        if fault:
            raise fault

    async def aclose(self) -> None:
        self.closed = True


class Watched:
    """A relay, what it recorded, and what it told when."""

    def __init__(self, source: Source, length: int | None) -> None:
        self.told: list[object] = []
        self.recorded: list[bytes] = []
        self.relay = Relay(source, length, self.recorded.append, self._complete)
        self.relay.on_end(lambda passed, aborted: self.told.append((passed, aborted)))

    async def _complete(self) -> None:
        self.told.append("complete")


async def test_what_is_told_of_a_whole_body() -> None:
    source = Source(b"ab", b"c")
    watched = Watched(source, None)
    assert [chunk async for chunk in watched.relay] == [b"ab", b"c"]
    assert watched.recorded == [b"ab", b"c"]
    assert watched.told == ["complete", (3, "")]
    assert source.closed


async def test_a_body_of_known_length_is_complete_before_its_last_chunk_is_passed_on() -> None:
    watched = Watched(Source(b"ab", b"c"), 3)
    await anext(watched.relay)
    assert watched.told == []
    await anext(watched.relay)
    assert watched.told == ["complete"]


async def test_a_body_the_backend_broke_off_is_never_complete() -> None:
    source = Source(b"ab", fault=BadGateway("broken off"))
    watched = Watched(source, 3)
    with pytest.raises(BadGateway):
        [chunk async for chunk in watched.relay]
    assert watched.told == [(2, "bad_gateway")]
    assert source.closed


async def test_a_client_that_goes_away_closes_the_source_also_before_the_first_chunk() -> None:
    source = Source(b"ab")
    watched = Watched(source, 2)
    await watched.relay.aclose()
    await watched.relay.aclose()
    assert watched.told == [(0, "client_gone")]
    assert source.closed


async def test_a_client_that_leaves_after_the_last_byte_had_it_all() -> None:
    watched = Watched(Source(b"ab"), 2)
    await anext(watched.relay)
    await asyncio.sleep(0)
    await watched.relay.aclose()
    assert watched.told == ["complete", (2, "")]

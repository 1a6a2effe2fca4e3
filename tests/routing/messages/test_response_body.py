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


class RecordingRelay:
    """A relay that records its chunks and events."""

    def __init__(self, source: Source, length: int | None) -> None:
        self.events: list[object] = []
        self.recorded: list[bytes] = []
        self.relay = Relay(source, length, self.recorded.append, self._complete)
        self.relay.on_end(lambda passed, aborted: self.events.append((passed, aborted)))

    async def _complete(self) -> None:
        self.events.append("complete")


async def test_a_complete_body_is_recorded_and_reported() -> None:
    source = Source(b"ab", b"c")
    recording = RecordingRelay(source, None)
    assert [chunk async for chunk in recording.relay] == [b"ab", b"c"]
    assert recording.recorded == [b"ab", b"c"]
    assert recording.events == ["complete", (3, "")]
    assert source.closed


async def test_a_body_of_known_length_is_complete_before_its_last_chunk_is_passed_on() -> None:
    recording = RecordingRelay(Source(b"ab", b"c"), 3)
    await anext(recording.relay)
    assert recording.events == []
    await anext(recording.relay)
    assert recording.events == ["complete"]


async def test_a_body_the_backend_aborted_is_never_complete() -> None:
    source = Source(b"ab", fault=BadGateway("aborted"))
    recording = RecordingRelay(source, 3)
    with pytest.raises(BadGateway):
        [chunk async for chunk in recording.relay]
    assert recording.events == [(2, "bad_gateway")]
    assert source.closed


async def test_a_client_that_disconnects_before_the_first_chunk_closes_the_source() -> None:
    source = Source(b"ab")
    recording = RecordingRelay(source, 2)
    await recording.relay.aclose()
    await recording.relay.aclose()
    assert recording.events == [(0, "client_gone")]
    assert source.closed


async def test_a_client_that_disconnects_after_the_last_byte_received_a_complete_body() -> None:
    recording = RecordingRelay(Source(b"ab"), 2)
    await anext(recording.relay)
    await asyncio.sleep(0)
    await recording.relay.aclose()
    assert recording.events == ["complete", (2, "")]

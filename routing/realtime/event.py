"""An event: as it is kept in the log, and as its subscribers get it."""

from collections.abc import Iterable
from typing import Final

import msgspec

from routing.realtime.event_id import EventId, format_event_id


class EventRecord(msgspec.Struct, frozen=True):
    """What the log keeps. `key` says who hears of it (see topics.py); `ts` is Unix seconds; `data` any JSON."""

    key: str
    type: str
    ts: float
    data: msgspec.Raw


class Event(msgspec.Struct, frozen=True):
    """A record, and its place in the log."""

    id: EventId
    record: EventRecord
    encoded: bytes
    """The record as the log has it."""


_records: Final = msgspec.json.Decoder(EventRecord)
_encoder: Final = msgspec.json.Encoder()


def encode_record(record: EventRecord) -> bytes:
    """No larger in memory than it is long: `encode` leaves up to half as much again behind what it returns."""
    text = bytearray()
    _encoder.encode_into(record, text)
    return bytes(text)


def decode_event(at: EventId, data: bytes) -> Event:
    """Raises ValueError for what is no record of ours."""
    return Event(at, _records.decode(data), data)


class _Message(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    type: str
    topic: str
    ts: float
    data: msgspec.Raw
    also: tuple[str, ...] = ()


class Frame:
    """One event as its subscribers get it, encoded once in each of the two forms however many they are."""

    __slots__ = ("_sse", "id", "text")

    def __init__(self, at: EventId, text: str) -> None:
        self.id = at
        self.text = text
        self._sse: bytes | None = None

    @property
    def sse(self) -> bytes:
        """As a server-sent event; the JSON has no line breaks of its own."""
        if self._sse is None:
            self._sse = f"id: {format_event_id(self.id)}\ndata: {self.text}\n\n".encode()
        return self._sse


def build_frame(event: Event, topics: Iterable[str]) -> Frame:
    """For subscribers who hear of this event by `topics`: it comes once, under the first, and names the others."""
    record = event.record
    first, *others = topics
    message = _Message(format_event_id(event.id), record.type, first, record.ts, record.data, tuple(others))
    return Frame(event.id, msgspec.json.encode(message).decode())

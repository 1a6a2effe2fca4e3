"""Events: their form in the log, and the frames that subscribers receive."""

from collections.abc import Iterable
from typing import Final

import msgspec

from routing.realtime.event_id import EventId, format_event_id


class EventRecord(msgspec.Struct, frozen=True):
    """An entry of the log. `key` selects the subscribers (see topics.py); `ts` is Unix seconds; `data` any JSON."""

    key: str
    type: str
    ts: float
    data: msgspec.Raw


class Event(msgspec.Struct, frozen=True):
    """A record with its id. `encoded` is the record as it is stored in the log."""

    id: EventId
    record: EventRecord
    encoded: bytes


_record_decoder: Final = msgspec.json.Decoder(EventRecord)
_encoder: Final = msgspec.json.Encoder()


def encode_record(record: EventRecord) -> bytes:
    """Exactly sized: the buffer of what `Encoder.encode` returns may be half as large again as its content."""
    text = bytearray()
    _encoder.encode_into(record, text)
    return bytes(text)


def decode_event(event_id: EventId, encoded: bytes) -> Event:
    """Raises ValueError if `encoded` is not a record."""
    return Event(event_id, _record_decoder.decode(encoded), encoded)


class _Message(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    type: str
    topic: str
    ts: float
    data: msgspec.Raw
    also: tuple[str, ...] = ()


class Frame:
    """An event as sent to subscribers, encoded once per format and shared by all of them."""

    __slots__ = ("_sse", "id", "text")

    def __init__(self, event_id: EventId, text: str) -> None:
        self.id = event_id
        self.text = text
        self._sse: bytes | None = None

    @property
    def sse(self) -> bytes:
        """As a server-sent event. The JSON text contains no line breaks."""
        if self._sse is None:
            self._sse = f"id: {format_event_id(self.id)}\ndata: {self.text}\n\n".encode()
        return self._sse


def build_frame(event: Event, topics: Iterable[str]) -> Frame:
    """For subscribers that receive this event through `topics`: sent once, `topic` the first, `also` the others."""
    record = event.record
    first, *others = topics
    message = _Message(format_event_id(event.id), record.type, first, record.ts, record.data, tuple(others))
    return Frame(event.id, msgspec.json.encode(message).decode())

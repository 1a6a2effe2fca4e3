"""The latest events in this worker's memory: what a subscriber missed is replayed from here, without asking Redis."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Final

from routing.realtime.event import Event, decode_event
from routing.realtime.event_id import EventId

StoredEvent = tuple[EventId, bytes]
"""An event as it was in the log: a third of what it takes once it is decoded."""

RETENTION_SECONDS: Final = 300.0
"""How long what was missed can be had again."""
MAX_EVENTS: Final = 100_000
MAX_BYTES: Final = 12 * 1_024 * 1_024
EVENT_OVERHEAD_BYTES: Final = 200
"""Bytes of memory an event takes here beside its text: two tuples, two numbers, and an object's head (measured)."""
COMPACT_AFTER: Final = 4_096
"""Places of forgotten events stay until they are this many: taking from the front of a list moves all the rest."""
EMPTY_SLOT: Final[StoredEvent] = ((0, 0), b"")


class History:
    """In order, without holes above `floor`. What is at or below it may have been forgotten."""

    def __init__(
        self, *, seconds: float = RETENTION_SECONDS, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.floor: EventId = (0, 0)
        self.last: EventId = (0, 0)
        self._seconds, self._max_events, self._max_bytes = seconds, max_events, max_bytes
        self._events: list[StoredEvent] = []
        self._start = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events) - self._start

    def begin(self, floor: EventId, last: EventId) -> None:
        """Nothing is known of before; the next event comes after `last`."""
        self._events, self._start, self._bytes = [], 0, 0
        self.floor, self.last = floor, last

    def add(self, event: Event) -> None:
        self._events.append((event.id, event.encoded))
        self._bytes += EVENT_OVERHEAD_BYTES + len(event.encoded)
        self.last = event.id
        while len(self) > self._max_events or self._bytes > self._max_bytes:
            self._forget()

    def expire(self, now: float) -> None:
        """Forget what is older than its time. `now` is Unix time."""
        oldest = int((now - self._seconds) * 1_000)
        while len(self) and self._events[self._start][0][0] < oldest:
            self._forget()

    def covers(self, place: EventId) -> bool:
        """Whether all that came after `place` is still here."""
        return place >= self.floor

    def after(self, place: EventId, most: int) -> Iterator[Event]:
        """Up to `most` events later than `place`."""
        begin = bisect_right(self._events, place, lo=self._start, key=itemgetter(0))
        return (decode_event(at, packed) for at, packed in islice(self._events, begin, begin + most))

    def _forget(self) -> None:
        self.floor, packed = self._events[self._start]
        self._events[self._start] = EMPTY_SLOT
        self._bytes -= EVENT_OVERHEAD_BYTES + len(packed)
        self._start += 1
        if self._start >= COMPACT_AFTER or self._start == len(self._events):
            del self._events[: self._start]
            self._start = 0

"""The latest events in this worker's memory: what a subscriber missed is replayed from here, without asking Redis."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Final

from routing.realtime.event import Event, unpacked
from routing.realtime.event_id import Position

Kept = tuple[Position, bytes]
"""An event as it was in the log: a third of what it takes once it is decoded."""

SECONDS: Final = 300.0
"""How long what was missed can be had again."""
MOST: Final = 100_000
BYTES: Final = 12 * 1_024 * 1_024
OVERHEAD: Final = 200
"""Bytes of memory an event takes here beside its text: two tuples, two numbers, and an object's head (measured)."""
SLACK: Final = 4_096
"""Places of forgotten events stay until they are this many: taking from the front of a list moves all the rest."""
FORGOTTEN: Final[Kept] = ((0, 0), b"")


class History:
    """In order, without holes above `floor`. What is at or below it may have been forgotten."""

    def __init__(self, *, seconds: float = SECONDS, most: int = MOST, size: int = BYTES) -> None:
        self.floor: Position = (0, 0)
        self.last: Position = (0, 0)
        self._seconds, self._most, self._limit = seconds, most, size
        self._events: list[Kept] = []
        self._start = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events) - self._start

    def begin(self, floor: Position, last: Position) -> None:
        """Nothing is known of before; the next event comes after `last`."""
        self._events, self._start, self._bytes = [], 0, 0
        self.floor, self.last = floor, last

    def add(self, event: Event) -> None:
        self._events.append((event.at, event.packed))
        self._bytes += OVERHEAD + len(event.packed)
        self.last = event.at
        while len(self) > self._most or self._bytes > self._limit:
            self._forget()

    def expire(self, now: float) -> None:
        """Forget what is older than its time. `now` is Unix time."""
        oldest = int((now - self._seconds) * 1_000)
        while len(self) and self._events[self._start][0][0] < oldest:
            self._forget()

    def covers(self, place: Position) -> bool:
        """Whether all that came after `place` is still here."""
        return place >= self.floor

    def after(self, place: Position, most: int) -> Iterator[Event]:
        """Up to `most` events later than `place`."""
        begin = bisect_right(self._events, place, lo=self._start, key=itemgetter(0))
        return (unpacked(at, packed) for at, packed in islice(self._events, begin, begin + most))

    def _forget(self) -> None:
        self.floor, packed = self._events[self._start]
        self._events[self._start] = FORGOTTEN
        self._bytes -= OVERHEAD + len(packed)
        self._start += 1
        if self._start >= SLACK or self._start == len(self._events):
            del self._events[: self._start]
            self._start = 0

"""The latest events in this worker's memory: what a subscriber missed is replayed from here, without asking Redis."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Final

from routing.realtime.event import Event
from routing.realtime.ident import Position

SECONDS: Final = 300.0
"""How long what was missed can be had again."""
MOST: Final = 100_000
BYTES: Final = 32 * 1_024 * 1_024
SLACK: Final = 4_096
"""Forgotten events stay in the list until they are this many: taking from its front moves all the rest."""


class History:
    """In order, without holes above `floor`. What is at or below it may have been forgotten."""

    def __init__(self, *, seconds: float = SECONDS, most: int = MOST, size: int = BYTES) -> None:
        self.floor: Position = (0, 0)
        self.last: Position = (0, 0)
        self._seconds, self._most, self._limit = seconds, most, size
        self._events: list[Event] = []
        self._start = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events) - self._start

    def begin(self, floor: Position, last: Position) -> None:
        """Nothing is known of before; the next event comes after `last`."""
        self._events, self._start, self._bytes = [], 0, 0
        self.floor, self.last = floor, last

    def add(self, event: Event) -> None:
        self._events.append(event)
        self._bytes += event.size
        self.last = event.at
        while len(self) > self._most or self._bytes > self._limit:
            self._forget()

    def expire(self, now: float) -> None:
        """Forget what is older than its time. `now` is Unix time."""
        oldest = int((now - self._seconds) * 1_000)
        while len(self) and self._events[self._start].at[0] < oldest:
            self._forget()

    def covers(self, place: Position) -> bool:
        """Whether all that came after `place` is still here."""
        return place >= self.floor

    def after(self, place: Position, most: int) -> Iterator[Event]:
        """Up to `most` events later than `place`."""
        begin = bisect_right(self._events, place, lo=self._start, key=lambda event: event.at)
        return islice(self._events, begin, begin + most)

    def _forget(self) -> None:
        event = self._events[self._start]
        self.floor = event.at
        self._bytes -= event.size
        self._start += 1
        if self._start >= SLACK or self._start == len(self._events):
            del self._events[: self._start]
            self._start = 0

"""When which worker sends what."""

import math
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from benchmarks.scale.replay.templates import Chunk

STEP: Final = (math.sqrt(5) - 1) / 2
"""The share of a recording from one worker's beginning to the next one's. Multiples of it fall evenly in any interval,
as it is the golden ratio.
"""


class Event(NamedTuple):
    """A worker sends a chunk, `at` seconds after the beginning of each round, in the turn that begins with the round or
    in the one after it.
    """

    at: float
    worker: int
    chunk: Chunk
    is_next_turn: bool


def schedule(chunks: Sequence[Chunk], seconds: float, workers: int) -> list[Event]:
    """One round, in which each worker sends all chunks. They begin at different places of the recording, which are also
    at different places of each interval of a worker.
    """
    found = []
    for worker in range(workers):
        begin = seconds * (worker * STEP % 1.0)
        for chunk in chunks:
            is_next_turn = chunk.at < begin
            at = chunk.at - begin + (seconds if is_next_turn else 0.0)
            found.append(Event(at, worker, chunk, is_next_turn))
    return sorted(found, key=lambda event: event.at)


class Timetable:
    """Rounds of `seconds` one after the other, from now on. Times are in seconds since then."""

    def __init__(self, events: Sequence[Event], seconds: float) -> None:
        self._events = events
        self._seconds = seconds
        self._round = 0
        self._next = 0
        self._began = time.monotonic()
        self.due = events[0].at
        """When the next event is."""

    def now(self) -> float:
        return time.monotonic() - self._began

    def take(self) -> tuple[Event, int]:
        """The next event, and its worker's turn."""
        event, turn = self._events[self._next], self._round
        self._next += 1
        if self._next == len(self._events):
            self._round, self._next = self._round + 1, 0
        self.due = self._round * self._seconds + self._events[self._next].at
        return event, turn + event.is_next_turn

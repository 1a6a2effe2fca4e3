"""The latest events in this worker's memory, from which missed events are replayed without a call to Redis."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Final

from routing.realtime.event import Event, decode_event
from routing.realtime.event_id import EventId

StoredEvent = tuple[EventId, bytes]
"""An event's id and its encoded record, which takes a third of the memory of the decoded one."""

RETENTION_SECONDS: Final = 300.0
"""How long a missed event can be replayed."""
MAX_EVENTS: Final = 100_000
MAX_HISTORY_BYTES: Final = 12 * 1_024 * 1_024
EVENT_OVERHEAD_BYTES: Final = 200
"""Memory per event besides its text: two tuples, two integers and an object header (measured)."""
COMPACT_AFTER: Final = 4_096
"""Removed entries that are left as empty slots before the list is compacted, which moves all the others."""
EMPTY_SLOT: Final[StoredEvent] = ((0, 0), b"")


class History:
    """Every event above `floor`, in order; earlier ones may have been removed. Bounded in age, count and bytes."""

    def __init__(
        self,
        *,
        seconds: float = RETENTION_SECONDS,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_HISTORY_BYTES,
    ) -> None:
        self.floor: EventId = (0, 0)
        self.last: EventId = (0, 0)
        self._seconds, self._max_events, self._max_bytes = seconds, max_events, max_bytes
        self._events: list[StoredEvent] = []
        self._start = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events) - self._start

    def reset(self, floor: EventId, last: EventId) -> None:
        """Remove all events. The next one added is above `last`."""
        self._events, self._start, self._bytes = [], 0, 0
        self.floor, self.last = floor, last

    def add(self, event: Event) -> None:
        self._events.append((event.id, event.encoded))
        self._bytes += EVENT_OVERHEAD_BYTES + len(event.encoded)
        self.last = event.id
        while len(self) > self._max_events or self._bytes > self._max_bytes:
            self._remove_oldest()

    def expire(self, now: float) -> None:
        """Remove events older than the retention time. `now` is Unix time."""
        oldest = int((now - self._seconds) * 1_000)
        while len(self) and self._events[self._start][0][0] < oldest:
            self._remove_oldest()

    def covers(self, event_id: EventId) -> bool:
        """Whether every event after `event_id` is still available."""
        return event_id >= self.floor

    def after(self, event_id: EventId, limit: int) -> Iterator[Event]:
        """The first `limit` events after `event_id`."""
        begin = bisect_right(self._events, event_id, lo=self._start, key=itemgetter(0))
        return (decode_event(found, encoded) for found, encoded in islice(self._events, begin, begin + limit))

    def _remove_oldest(self) -> None:
        self.floor, encoded = self._events[self._start]
        self._events[self._start] = EMPTY_SLOT
        self._bytes -= EVENT_OVERHEAD_BYTES + len(encoded)
        self._start += 1
        if self._start >= COMPACT_AFTER or self._start == len(self._events):
            del self._events[: self._start]
            self._start = 0

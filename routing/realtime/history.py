"""The latest events in this worker's memory, from which missed events are replayed without a call to Redis.

Older events are compressed, many at a time: they are similar.
"""

import zlib
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Final

import msgspec

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
BLOCK: Final = 256
"""Events that are compressed at once. As many, the latest, are not compressed."""
BLOCK_BYTES: Final = 64 * 1_024
"""Fewer events are compressed at once if their texts are longer together."""
BLOCK_OVERHEAD_BYTES: Final = 600
"""Memory per block besides its data: the objects, and two lists of numbers (measured)."""
ID_BYTES: Final = 16
LEVEL: Final = 1
"""The fastest: a higher one saves another tenth."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[bytes]).decode


class _Block:
    """Compressed events in order. `begin` is the index of the first that has not been removed."""

    __slots__ = ("_data", "_milliseconds", "_numbers", "begin", "bytes", "last")

    def __init__(self, events: Sequence[StoredEvent]) -> None:
        self._milliseconds = array("q", (event_id[0] for event_id, _ in events))
        self._numbers = array("q", (event_id[1] for event_id, _ in events))
        self._data = zlib.compress(_encode([encoded for _, encoded in events]), LEVEL)
        self.begin = 0
        self.last = events[-1][0]
        self.bytes = BLOCK_OVERHEAD_BYTES + len(self._data) + ID_BYTES * len(events)

    def __len__(self) -> int:
        return len(self._milliseconds) - self.begin

    @property
    def first(self) -> EventId:
        return self._milliseconds[self.begin], self._numbers[self.begin]

    def read(self) -> list[StoredEvent]:
        """Of all events, those that were removed included."""
        ids = zip(self._milliseconds, self._numbers, strict=True)
        return list(zip(ids, _decode(zlib.decompress(self._data)), strict=True))


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
        self._clear()

    def __len__(self) -> int:
        return self._count

    def reset(self, floor: EventId, last: EventId) -> None:
        """Remove all events. The next one added is above `last`."""
        self._clear()
        self.floor, self.last = floor, last

    def add(self, event: Event) -> None:
        self._latest.append((event.id, event.encoded))
        self._latest_bytes += EVENT_OVERHEAD_BYTES + len(event.encoded)
        self._count += 1
        self.last = event.id
        if len(self._latest) >= 2 * BLOCK or self._latest_bytes >= 2 * BLOCK_BYTES:
            self._compress()
        while self._count > self._max_events or self._block_bytes + self._latest_bytes > self._max_bytes:
            self._remove_oldest()

    def expire(self, now: float) -> None:
        """Remove events older than the retention time. `now` is Unix time."""
        oldest = int((now - self._seconds) * 1_000)
        while self._count and self._first()[0] < oldest:
            self._remove_oldest()

    def covers(self, event_id: EventId) -> bool:
        """Whether every event after `event_id` is still available."""
        return event_id >= self.floor

    def after(self, event_id: EventId, limit: int) -> list[Event]:
        """The first `limit` events after `event_id`."""
        found: list[StoredEvent] = []
        blocks = islice(self._blocks, bisect_right(self._blocks, event_id, key=attrgetter("last")), None)
        while len(found) < limit and (block := next(blocks, None)) is not None:
            found += _following(self._read(block), event_id, limit - len(found), block.begin)
        found += _following(self._latest, event_id, limit - len(found))
        return [decode_event(each, encoded) for each, encoded in found]

    def _clear(self) -> None:
        self._blocks: deque[_Block] = deque()
        self._latest: deque[StoredEvent] = deque()
        self._count = self._block_bytes = self._latest_bytes = 0
        self._last_read: tuple[_Block, list[StoredEvent]] | None = None

    def _compress(self) -> None:
        events: list[StoredEvent] = []
        size = 0
        while len(events) < BLOCK and size < BLOCK_BYTES:
            events.append(self._latest.popleft())
            size += EVENT_OVERHEAD_BYTES + len(events[-1][1])
        self._latest_bytes -= size
        self._blocks.append(_Block(events))
        self._block_bytes += self._blocks[-1].bytes

    def _read(self, block: _Block) -> list[StoredEvent]:
        """A subscriber that catches up reads one block several times."""
        if self._last_read is None or self._last_read[0] is not block:
            self._last_read = (block, block.read())
        return self._last_read[1]

    def _first(self) -> EventId:
        return self._blocks[0].first if self._blocks else self._latest[0][0]

    def _remove_oldest(self) -> None:
        self._count -= 1
        self.floor = self._first()
        if not self._blocks:
            self._latest_bytes -= EVENT_OVERHEAD_BYTES + len(self._latest.popleft()[1])
            return
        block = self._blocks[0]
        block.begin += 1
        if not len(block):
            self._block_bytes -= self._blocks.popleft().bytes


def _following(events: Sequence[StoredEvent], event_id: EventId, limit: int, begin: int = 0) -> Iterator[StoredEvent]:
    """The first `limit` after `event_id`, none of them before the index `begin`."""
    first = bisect_right(events, event_id, lo=begin, key=itemgetter(0))
    return islice(events, first, first + limit)

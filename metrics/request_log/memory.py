"""The store of a single process. Older records are compressed, many at a time: they are similar."""

import time
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice
from typing import Final

import msgspec

from metrics.request_log.record import RecordKind
from metrics.request_log.store import (
    KEPT_SECONDS,
    MAX_BYTES,
    MAX_RECORDS,
    MAX_SAME_ID,
    NewRecord,
    Position,
    StoredRecord,
)

BLOCK: Final = 100
"""Records that are compressed at once. As many, the latest, are not compressed."""
LEVEL: Final = 1
"""The fastest: a higher one saves another tenth."""

RecordRow = tuple[Position, str, bytes]
"""A record's position, its request id and its encoded form."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[bytes]).decode


class _Block:
    """Compressed records, the oldest first. `begin` is the index of the first that has not been removed."""

    __slots__ = ("_data", "_ids", "_milliseconds", "_numbers", "_sizes", "begin")

    def __init__(self, rows: Sequence[RecordRow]) -> None:
        self._milliseconds = array("q", (position.milliseconds for position, _, _ in rows))
        self._numbers = array("q", (position.number for position, _, _ in rows))
        self._sizes = array("q", (len(data) for _, _, data in rows))
        self._ids = "\n".join(identifier for _, identifier, _ in rows)
        self._data = zlib.compress(_encode([data for _, _, data in rows]), LEVEL)
        self.begin = 0

    def __len__(self) -> int:
        return len(self._sizes) - self.begin

    @property
    def oldest(self) -> Position:
        return self._position(self.begin)

    @property
    def oldest_size(self) -> int:
        return self._sizes[self.begin]

    def may_have(self, identifier: str) -> bool:
        return identifier in self._ids

    def latest(self) -> Iterator[RecordRow]:
        """The rows, the latest first."""
        data, ids = _decode(zlib.decompress(self._data)), self._ids.split("\n")
        return ((self._position(index), ids[index], data[index]) for index in reversed(range(self.begin, len(data))))

    def _position(self, index: int) -> Position:
        return Position(self._milliseconds[index], self._numbers[index])


class _Kept:
    """One kind's records, the oldest first: compressed ones, then the latest."""

    def __init__(self) -> None:
        self._blocks: deque[_Block] = deque()
        self._rows: deque[RecordRow] = deque()
        self._count = self._bytes = 0

    def append(self, row: RecordRow) -> None:
        self._rows.append(row)
        self._count += 1
        self._bytes += len(row[2])

    def compress(self) -> None:
        while len(self._rows) >= 2 * BLOCK:
            self._blocks.append(_Block([self._rows.popleft() for _ in range(BLOCK)]))

    def trim(self, now: float) -> None:
        oldest = Position(int((now - KEPT_SECONDS) * 1_000))
        while self._count and (self._count > MAX_RECORDS or self._bytes > MAX_BYTES or self._oldest() < oldest):
            self._remove_oldest()

    def latest(self, before: Position | None) -> Iterator[StoredRecord]:
        """The records stored before a position, the latest first."""
        blocks = (block for block in reversed(self._blocks) if before is None or block.oldest < before)
        for position, _, data in chain(reversed(self._rows), chain.from_iterable(block.latest() for block in blocks)):
            if before is None or position < before:
                yield StoredRecord(position, data)

    def named(self, identifier: str) -> Iterator[StoredRecord]:
        blocks = (block for block in reversed(self._blocks) if block.may_have(identifier))
        for position, name, data in chain(reversed(self._rows), chain.from_iterable(map(_Block.latest, blocks))):
            if name == identifier:
                yield StoredRecord(position, data)

    def _oldest(self) -> Position:
        return self._blocks[0].oldest if self._blocks else self._rows[0][0]

    def _remove_oldest(self) -> None:
        self._count -= 1
        if not self._blocks:
            self._bytes -= len(self._rows.popleft()[2])
            return
        block = self._blocks[0]
        self._bytes -= block.oldest_size
        block.begin += 1
        if not len(block):
            self._blocks.popleft()


class MemoryStore:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept = {kind: _Kept() for kind in RecordKind}
        self._last = Position(0)
        self._omitted = 0

    async def add(self, records: Sequence[NewRecord], omitted: int) -> None:
        self.put(records)
        self._omitted += omitted
        for kept in self._kept.values():
            kept.compress()

    def put(self, records: Iterable[NewRecord]) -> None:
        """Without compression: for a store that is read once."""
        now = self._clock()
        for kind, identifier, data in records:
            self._last = max(Position(int(now * 1_000)), Position(self._last.milliseconds, self._last.number + 1))
            self._kept[kind].append((self._last, identifier, data))
        for kept in self._kept.values():
            kept.trim(now)

    async def page(self, kinds: Sequence[RecordKind], before: Position | None, count: int) -> list[StoredRecord]:
        return list(islice(merge(*(self._kept[kind].latest(before) for kind in kinds), reverse=True), count))

    async def find(self, identifier: str) -> list[StoredRecord]:
        named = merge(*(kept.named(identifier) for kept in self._kept.values()), reverse=True)
        return list(islice(named, MAX_SAME_ID))

    async def omitted(self) -> int:
        return self._omitted

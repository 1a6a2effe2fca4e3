"""Records in this process, for a gateway of one worker. Bounded in bytes: the oldest are removed first."""

import time
from collections.abc import Callable
from typing import Final

from routing.idempotency.record import IdempotencyRecord

MAX_BYTES: Final = 64 * 1024 * 1024
OVERHEAD_BYTES: Final = 1024
"""Memory per record besides the body of its response."""


class MemoryStore:
    def __init__(self, clock: Callable[[], float] = time.time, max_bytes: int = MAX_BYTES) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._bytes = 0
        self._records: dict[str, tuple[float, IdempotencyRecord]] = {}

    async def begin(self, name: str, record: IdempotencyRecord, seconds: float) -> IdempotencyRecord | None:
        found = self._get(name)
        if found is None:
            self._put(name, record, seconds)
        return found

    async def finish(self, name: str, record: IdempotencyRecord, seconds: float) -> None:
        found = self._get(name)
        if found is None or found.holder == record.holder:
            self._put(name, record, seconds)

    async def release(self, name: str, holder: str) -> None:
        found = self._get(name)
        if found is not None and found.holder == holder:
            self._drop(name)

    def _get(self, name: str) -> IdempotencyRecord | None:
        expires, record = self._records.get(name, (0.0, None))
        if record is not None and self._clock() >= expires:
            self._drop(name)
            return None
        return record

    def _put(self, name: str, record: IdempotencyRecord, seconds: float) -> None:
        self._drop(name)
        self._records[name] = self._clock() + seconds, record
        self._bytes += _size(record)
        while self._bytes > self._max_bytes and len(self._records) > 1:
            self._drop(next(iter(self._records)))

    def _drop(self, name: str) -> None:
        removed = self._records.pop(name, None)
        if removed is not None:
            self._bytes -= _size(removed[1])


def _size(record: IdempotencyRecord) -> int:
    return OVERHEAD_BYTES + (len(record.response.body) if record.response else 0)

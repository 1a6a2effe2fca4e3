"""The store of a single process."""

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from metrics.counting.counts import CountBatch, PendingCounts
from metrics.counting.store import Flush

MAX_FLUSH_IDS: Final = 1_000
"""Ids of flushes kept to detect one that is sent twice."""


class MemoryStore:
    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._id = secrets.token_hex(16)
        self._closed: CountBatch | None = None
        self._flush_ids: dict[str, None] = {}
        self._gauges: dict[str, int] = {}

    async def add(self, flush: Flush) -> None:
        if flush.id in self._flush_ids:
            return
        self._flush_ids[flush.id] = None
        if len(self._flush_ids) > MAX_FLUSH_IDS:
            del self._flush_ids[next(iter(self._flush_ids))]
        self._open.update(flush.counts)
        self._gauges = flush.gauges

    async def take(self, worker: str | None) -> CountBatch | None:  # noqa: ARG002 - there is only one worker
        if self._closed is None and self._open:
            self._closed = CountBatch(self._id, dict(self._open))
            self._open, self._id = Counter(), secrets.token_hex(16)
        return self._closed

    async def acknowledge(self, batch: str) -> None:
        if self._closed is not None and self._closed.id == batch:
            self._closed = None

    async def pending(self, now: float) -> PendingCounts:  # noqa: ARG002 - this process's gauges do not expire
        batches = (self._closed, CountBatch(self._id, dict(self._open)) if self._open else None)
        return PendingCounts(tuple(batch for batch in batches if batch), dict(self._gauges))

    def listen(self, flush: Callable[[], Awaitable[None]]) -> None:
        """There are no other workers."""

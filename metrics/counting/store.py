"""The port to the store in which all workers' counts wait to be written to the database."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from metrics.counting.counts import CountBatch, PendingCounts


class Flush(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's counts since its last flush, at Unix seconds `at`. Adding the same id twice counts once."""

    id: str
    worker: str
    at: float
    counts: dict[str, int]
    gauges: dict[str, int] = {}


class Store(Protocol):
    """All methods raise StoreUnavailable if a shared store cannot be reached."""

    async def add(self, flush: Flush) -> None: ...

    async def take(self, worker: str | None) -> CountBatch | None:
        """Return all stored counts as one batch: the same batch until it is acknowledged.

        None if there is nothing, or if another worker holds the lease; a caller that passes None ignores the lease.
        """

    async def acknowledge(self, batch: str) -> None:
        """Remove a batch that has been written to the database."""

    async def pending(self, now: float) -> PendingCounts:
        """A consistent view of all counts that are not acknowledged, at `now` (Unix seconds).

        First asks the other workers to flush, and waits for them briefly.
        """

    def listen(self, flush: Callable[[], Awaitable[None]]) -> None:
        """Call `flush` whenever another worker calls `pending`. To be set before the link to the store starts."""

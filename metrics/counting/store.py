"""What counting asks of the place where all workers' counts wait for the database."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from metrics.counting.counts import CountBatch, PendingCounts


class Flush(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker hands over at once, at Unix seconds `at`. Sent again under the same id, it counts once."""

    id: str
    worker: str
    at: float
    counts: dict[str, int]
    gauges: dict[str, int] = {}


class Store(Protocol):
    """Raises StoreUnavailable where a shared store cannot be reached."""

    async def add(self, flush: Flush) -> None: ...

    async def take(self, worker: str | None) -> CountBatch | None:
        """All that waits, as one batch: the same one again until it is `done`. None when there is nothing, or while
        another than `worker` is the one who takes; who gives no name takes in any case.
        """

    async def acknowledge(self, batch: str) -> None:
        """The batch is in the database."""

    async def pending(self, now: float) -> PendingCounts:
        """What has been added and is not `done`, at one moment (Unix seconds).

        The other workers are asked to add what they hold first, and waited for a moment.
        """

    def listen(self, flush: Callable[[], Awaitable[None]]) -> None:
        """Call `flush` whenever another worker wants to know what waits. Before the link to the store starts."""

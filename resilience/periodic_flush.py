"""The base of what is collected in memory and stored at intervals."""

import asyncio
import contextlib
from abc import ABC, abstractmethod

from resilience.outage import StoreUnavailable
from resilience.task_set import cancel_and_wait


class PeriodicFlush(ABC):
    """Flushes every `seconds`, and once more when it is closed. `start` and `close` from the event loop."""

    def __init__(self, seconds: float) -> None:
        self._flush_seconds = seconds
        self._flushing: asyncio.Task[None] | None = None

    @abstractmethod
    async def flush(self) -> None:
        """Store what is pending. Raises StoreUnavailable, and keeps it then."""

    def start(self) -> None:
        self._flushing = asyncio.create_task(self._flush_at_intervals())

    async def close(self) -> None:
        if self._flushing is not None:
            await cancel_and_wait(self._flushing)
            self._flushing = None
        with contextlib.suppress(StoreUnavailable):
            await self.flush()

    async def _flush_at_intervals(self) -> None:
        while True:
            await asyncio.sleep(self._flush_seconds)
            with contextlib.suppress(StoreUnavailable):
                await self.flush()

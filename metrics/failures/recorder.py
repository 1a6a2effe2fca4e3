"""An Observer that notes failed requests of consumers in memory, and stores them once a second."""

import asyncio
import contextlib
from collections import deque
from typing import Final

from metrics.failures.failure import KEPT, Failure, latest
from metrics.failures.store import MAX_CONSUMERS, Store
from resilience.outage import StoreUnavailable
from resilience.task_set import cancel_and_wait
from routing.consumers.subscription import Subscription
from routing.observability.events import Observer, RequestFinished

STORE_SECONDS: Final = 1.0


class FailureRecorder(Observer):
    """`start` and `close` from the event loop. While the store is unavailable, the latest wait in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending: dict[int, deque[Failure]] = {}
        self._storing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def failed(self, subscription: Subscription, event: RequestFinished) -> None:
        consumer = subscription.consumer_id
        pending = self._pending.get(consumer)
        if pending is None:
            if not consumer or len(self._pending) >= MAX_CONSUMERS:
                return
            pending = self._pending[consumer] = deque(maxlen=KEPT)
        pending.append(Failure.of(event))

    async def read(self, consumer: int) -> list[Failure]:
        """The latest first. Raises StoreUnavailable."""
        await self.flush()
        return latest(await self._store.read(consumer))

    async def flush(self) -> None:
        """Store what is pending. Raises StoreUnavailable, and keeps it then."""
        async with self._storing:
            pending, self._pending = self._pending, {}
            if not pending:
                return
            try:
                await self._store.add(pending)
            except BaseException:
                self._put_back(pending)
                raise

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            await cancel_and_wait(self._task)
            self._task = None
        with contextlib.suppress(StoreUnavailable):
            await self.flush()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(STORE_SECONDS)
            if self._pending:
                with contextlib.suppress(StoreUnavailable):
                    await self.flush()

    def _put_back(self, earlier: dict[int, deque[Failure]]) -> None:
        """Some may have been stored: a failure is then listed twice rather than lost."""
        for consumer, failures in earlier.items():
            self._pending[consumer] = deque([*failures, *self._pending.get(consumer, ())], maxlen=KEPT)

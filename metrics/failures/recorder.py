"""An Observer that notes failed requests of consumers and services in memory, and stores them once a second."""

import asyncio
from collections import deque
from typing import Final

from metrics.failures.failure import KEPT, Failure, latest
from metrics.failures.store import MAX_LISTS, Store
from resilience.periodic_flush import PeriodicFlush
from routing.consumers.subscription import Subscription
from routing.observability.events import Observer, RequestFinished

STORE_SECONDS: Final = 1.0
SERVICE: Final = "service:"
"""What the name of a service's list begins with; that of a consumer is its row's id."""


_Noted = tuple[RequestFinished, str]
"""A failed request and its cause: a Failure is made of those few that are stored."""


class FailureRecorder(PeriodicFlush, Observer):
    """While the store is unavailable, the latest failures wait in memory."""

    def __init__(self, store: Store) -> None:
        super().__init__(STORE_SECONDS)
        self._store = store
        self._pending: dict[str, deque[_Noted]] = {}
        self._storing = asyncio.Lock()

    def failed(self, subscription: Subscription, event: RequestFinished) -> None:
        if subscription.consumer_id:
            self._note(str(subscription.consumer_id), event, "")

    def service_failed(self, event: RequestFinished, cause: str) -> None:
        """A request of a service has failed. `cause` is for operators."""
        self._note(f"{SERVICE}{event.service}", event, cause)

    async def read(self, consumer: int) -> list[Failure]:
        """A consumer's, the latest first. Raises StoreUnavailable."""
        return await self._read(str(consumer))

    async def read_service(self, service: str) -> list[Failure]:
        """A service's, the latest first. Raises StoreUnavailable."""
        return await self._read(f"{SERVICE}{service}")

    async def flush(self) -> None:
        async with self._storing:
            pending, self._pending = self._pending, {}
            if not pending:
                return
            try:
                await self._store.add(
                    {owner: [Failure.of(*noted) for noted in kept] for owner, kept in pending.items()}
                )
            except BaseException:
                self._put_back(pending)
                raise

    def _note(self, owner: str, event: RequestFinished, cause: str) -> None:
        pending = self._pending.get(owner)
        if pending is None:
            if len(self._pending) >= MAX_LISTS:
                return
            pending = self._pending[owner] = deque(maxlen=KEPT)
        pending.append((event, cause))

    async def _read(self, owner: str) -> list[Failure]:
        await self.flush()
        return latest(await self._store.read(owner))

    def _put_back(self, earlier: dict[str, deque[_Noted]]) -> None:
        """Some may have been stored: a failure is then listed twice rather than lost."""
        for owner, failures in earlier.items():
            self._pending[owner] = deque([*failures, *self._pending.get(owner, ())], maxlen=KEPT)

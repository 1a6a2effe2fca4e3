"""What remains of backends' limits: noted with each response in memory, and shared once a second."""

from collections.abc import Iterable
from typing import Final

from resilience.outage import StoreUnavailable
from resilience.quotas.reading import remaining
from resilience.quotas.store import QuotaCounts, Store

MAX_PER_SERVICE: Final = 16
"""The most limits of one service that are noted: each adds a label to the metrics."""


class QuotaBook:
    """This worker's notes, and through the store those of all."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, set[str]] = {}
        self._unsent: QuotaCounts = {}

    def note(self, service: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Note what a response of the service says. Keeps the last value of each limit."""
        for name, number in remaining(headers).items():
            known = self._known.setdefault(service, set())
            if name in known or len(known) < MAX_PER_SERVICE:
                known.add(name)
                self._unsent[service, name] = number

    async def flush(self) -> None:
        """Share what was noted since the last call. Called every second."""
        if not self._unsent:
            return
        unsent, self._unsent = self._unsent, {}
        try:
            await self._store.put(unsent)
        except StoreUnavailable:
            self._unsent = unsent | self._unsent

    async def load(self) -> QuotaCounts:
        """The last known value of each limit; without the store, what this worker has noted since it was lost."""
        await self.flush()
        try:
            return await self._store.load()
        except StoreUnavailable:
            return dict(self._unsent)

"""Where the verdicts of health checks are shared, and what a worker does when it cannot reach them."""

from collections.abc import Mapping
from typing import Protocol

from resilience.outage import StoreUnavailable
from routing.balancing.memory import MemoryStore
from routing.balancing.rules import HealthVerdict, merge_newest


class Store(Protocol):
    """One prober and its verdicts, by target's name. Raises StoreUnavailable."""

    async def lead(self, holder: str, seconds: float) -> bool:
        """Whether `holder` is the one that asks, now and for so many seconds: nobody else was, or it was already."""

    async def load(self) -> Mapping[str, HealthVerdict]:
        """What was saved last."""

    async def save(self, holder: str, verdicts: Mapping[str, HealthVerdict]) -> bool:
        """Put `verdicts` in the place of all that was saved, if `holder` still leads."""


class FailOpen:
    """A store that never fails: while the shared one is away, this worker asks for itself, from what it knew last.

    `ahead`: it found out something alone, which the shared store is to learn if this worker is the one that asks again.
    """

    def __init__(self, shared: Store) -> None:
        self.ahead = False
        self._shared = shared
        self._alone = MemoryStore()

    async def lead(self, holder: str, seconds: float) -> bool:
        try:
            leads = await self._shared.lead(holder, seconds)
        except StoreUnavailable:
            return True
        self.ahead = self.ahead and leads
        return leads

    async def load(self) -> Mapping[str, HealthVerdict]:
        try:
            verdicts = await self._shared.load()
        except StoreUnavailable:
            return await self._alone.load()
        if self.ahead:
            verdicts = merge_newest(verdicts, await self._alone.load())
        self._alone.put(verdicts)
        return verdicts

    async def save(self, holder: str, verdicts: Mapping[str, HealthVerdict]) -> bool:
        self._alone.put(verdicts)
        try:
            saved = await self._shared.save(holder, verdicts)
        except StoreUnavailable:
            self.ahead = True
            return True
        self.ahead = False
        return saved

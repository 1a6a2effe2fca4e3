"""The shared store of health verdicts, and the fallback while it is unavailable."""

from collections.abc import Mapping
from typing import Protocol

from resilience.outage import StoreUnavailable
from routing.balancing.memory import MemoryStore
from routing.balancing.rules import HealthVerdict, merge_newest


class Store(Protocol):
    """Elects the worker that runs the checks and shares its verdicts by target key. Raises StoreUnavailable."""

    async def lead(self, holder: str, seconds: float) -> bool:
        """Acquire or renew the lease for `seconds`. Returns whether `holder` has it."""

    async def load(self) -> Mapping[str, HealthVerdict]:
        """The verdicts saved last."""

    async def save(self, holder: str, verdicts: Mapping[str, HealthVerdict]) -> bool:
        """Replace all saved verdicts, if `holder` still has the lease. Returns whether it did."""


class FailOpen:
    """A store that never fails: while the shared one is unavailable, this worker runs the checks for itself, starting
    from the last verdicts it loaded.

    `ahead`: its own verdicts are newer than the shared ones. They are saved if it gets the lease, else discarded.
    """

    def __init__(self, shared: Store) -> None:
        self.ahead = False
        self._shared = shared
        self._local = MemoryStore()

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
            return await self._local.load()
        if self.ahead:
            verdicts = merge_newest(verdicts, await self._local.load())
        self._local.put(verdicts)
        return verdicts

    async def save(self, holder: str, verdicts: Mapping[str, HealthVerdict]) -> bool:
        self._local.put(verdicts)
        try:
            saved = await self._shared.save(holder, verdicts)
        except StoreUnavailable:
            self.ahead = True
            return True
        self.ahead = False
        return saved

"""Where the windows of all workers are kept, and what a worker does when they cannot be reached."""

from typing import Protocol

from resilience.outage import StoreUnavailable
from resilience.ratelimit.memory import MemoryStore
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.window import Decision


class Store(Protocol):
    """One sliding window for each key, which is counted under one policy alone. Raises StoreUnavailable.

    `now` is this worker's clock; a shared store goes by its own, the one clock that all workers have in common.
    """

    async def take(self, key: str, policy: RatePolicy, now: float, wanted: int) -> Decision:
        """Count as many of `wanted` as still fit."""

    async def refund(self, key: str, taken: int, count: int) -> None:
        """Uncount `count` that were counted in the slice `taken`, and never used."""


class FailOpen:
    """A store that never fails: while the shared one is away, this worker allows its share of the limit alone.

    Slices counted alone go by the name `~slice`, so that what was taken alone is given back alone.
    """

    def __init__(self, shared: Store, share: int) -> None:
        self.degraded = False
        self._shared = shared
        self._alone = MemoryStore()
        self._share = share

    async def take(self, key: str, policy: RatePolicy, now: float, wanted: int) -> Decision:
        try:
            decision = await self._shared.take(key, policy, now, wanted)
        except StoreUnavailable:
            self.degraded = True
            alone = self._alone.try_take(key, self._part(policy), now, wanted)
            return Decision(alone.granted, alone.remaining, alone.reset, ~alone.slice, alone.keep)
        self.degraded = False
        return decision

    async def refund(self, key: str, taken: int, count: int) -> None:
        if taken < 0:
            await self._alone.refund(key, ~taken, count)
            return
        try:
            await self._shared.refund(key, taken, count)
        except StoreUnavailable:  # they stay counted, which errs on the limit's side
            self.degraded = True

    def _part(self, policy: RatePolicy) -> RatePolicy:
        return RatePolicy(max(1, policy.limit // self._share), policy.window)

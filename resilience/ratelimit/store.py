"""The port to the store of shared windows, and a wrapper for when it is unavailable."""

from typing import Protocol

from resilience.outage import StoreUnavailable
from resilience.ratelimit.memory import MemoryStore
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.window import Decision


class Store(Protocol):
    """One sliding window per key; a key is always used with the same policy. Raises StoreUnavailable.

    `now` is by this worker's clock; a shared store uses its own, so that all workers count by one clock.
    """

    async def take(self, key: str, policy: RatePolicy, now: float, wanted: int) -> Decision:
        """Count as many of `wanted` requests as the limit allows."""

    async def refund(self, key: str, taken: int, count: int) -> None:
        """Uncount `count` requests of slice `taken` that were not made."""


class FailOpen:
    """A store that never fails: while the shared one is unavailable, this worker grants its share of the limit.

    Slices counted locally are numbered `~slice` (negative), so that refunds go to the store that counted them.
    """

    def __init__(self, shared: Store, share: int) -> None:
        self.degraded = False
        self._shared = shared
        self._local = MemoryStore()
        self._share = share

    async def take(self, key: str, policy: RatePolicy, now: float, wanted: int) -> Decision:
        try:
            decision = await self._shared.take(key, policy, now, wanted)
        except StoreUnavailable:
            self.degraded = True
            local = self._local.try_take(key, self._share_of(policy), now, wanted)
            return Decision(local.granted, local.remaining, local.reset, ~local.slice, local.expires_in)
        self.degraded = False
        return decision

    async def refund(self, key: str, taken: int, count: int) -> None:
        if taken < 0:
            await self._local.refund(key, ~taken, count)
            return
        try:
            await self._shared.refund(key, taken, count)
        except StoreUnavailable:  # they stay counted, which errs towards the limit
            self.degraded = True

    def _share_of(self, policy: RatePolicy) -> RatePolicy:
        return RatePolicy(max(1, policy.limit // self._share), policy.window)

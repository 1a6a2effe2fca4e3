"""One worker's limiter: tokens leased in blocks, one question at a time for each caller, denials remembered.

A token is used only while the slice it was counted in lasts, by the store's clock: so a count never leaves the
window before the request it stands for, and no window holds more than the limit. What is left of a block
when its slice ends is given back, so a worker withholds one block of a caller's limit at most.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from resilience.ratelimit.memory import CALLERS, MemoryStore
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.store import FailOpen, Store
from resilience.ratelimit.window import Decision
from resilience.task_set import TaskSet

DENIAL_SECONDS: Final = 1.0
"""Longest a denial is repeated without asking again: others may have given tokens back."""
NEAR: Final = 10
"""A block is at most this part of what is left, so that a limit is exact when it is reached."""


class TokenBlock:
    """What this worker holds and knows of one caller's window. Times are of this worker's clock."""

    __slots__ = ("denied_until", "expires", "remaining", "reset_at", "serving", "slice", "tokens", "waiters")

    def __init__(self, policy: RatePolicy) -> None:
        self.tokens = 0
        self.slice = 0
        self.expires = 0.0
        self.remaining = policy.limit
        self.reset_at = 0.0
        self.denied_until = 0.0
        self.waiters: list[asyncio.Future[Decision]] = []
        self.serving = False

    def spend(self, now: float) -> Decision | None:
        """A decision that needs nobody else: a token in hand, or a denial that still holds."""
        if self.tokens and now < self.expires:
            self.tokens -= 1
            return Decision(1, self.remaining + self.tokens, max(0.0, self.reset_at - now), self.slice)
        if now < self.denied_until:
            return Decision(0, 0, max(0.0, self.reset_at - now))
        return None


class Limiter:
    """`share` is the number of workers: what each allows of a limit, while the shared store is away."""

    def __init__(
        self, store: Store, *, clock: Callable[[], float] = time.time, share: int = 1, callers: int = CALLERS
    ) -> None:
        self._alone = store if isinstance(store, MemoryStore) else None
        self._store = FailOpen(store, share)
        self._clock = clock
        self._callers = callers
        self._leases: OrderedDict[str, TokenBlock] = OrderedDict()
        self._tasks = TaskSet()

    @property
    def degraded(self) -> bool:
        """The shared store is away: this worker allows its share alone."""
        return self._store.degraded

    def try_take(self, key: str, policy: RatePolicy) -> Decision | None:
        """The decision, where no store must be asked; None where `take` must be awaited.

        `key` says whose requests are counted, and under which policy: two policies are never counted under one key.
        """
        if self._alone is not None:
            return self._alone.try_take(key, policy, self._clock(), 1)
        lease = self._leases.get(key)
        return None if lease is None else lease.spend(self._clock())

    async def take(self, key: str, policy: RatePolicy) -> Decision:
        """Count one request, or deny it. Requests that come while the store is asked are asked for together, next."""
        decision = self.try_take(key, policy)
        if decision is not None:
            return decision
        lease = self._lease(key, policy)
        waiter: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        lease.waiters.append(waiter)
        if not lease.serving:
            lease.serving = True
            self._tasks.create(self._serve(lease, key, policy))
        return await waiter

    async def refund(self, key: str, decision: Decision) -> None:
        """Uncount a request that `decision` allowed and that was then not made."""
        if not decision.allowed:
            return
        lease = self._leases.get(key)
        if lease is not None:
            lease.denied_until = 0.0
        await self._store.refund(key, decision.slice, 1)

    async def close(self) -> None:
        """Wait for the questions that are still open."""
        await self._tasks.wait()

    def _lease(self, key: str, policy: RatePolicy) -> TokenBlock:
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = TokenBlock(policy)
            if len(self._leases) > self._callers:
                self._leases.popitem(last=False)
        else:
            self._leases.move_to_end(key)
        return lease

    async def _serve(self, lease: TokenBlock, key: str, policy: RatePolicy) -> None:
        """Ask the store for all who wait, until nobody does."""
        batch: list[asyncio.Future[Decision]] = []
        try:
            while batch := self._unserved(lease):
                await self._ask(lease, key, policy, batch)
        except BaseException as error:
            for waiter in (*batch, *lease.waiters):
                if not waiter.done():
                    waiter.set_exception(error)
            lease.waiters = []
            raise
        finally:
            lease.serving = False

    def _unserved(self, lease: TokenBlock) -> list[asyncio.Future[Decision]]:
        """Those who wait, but for whom the last answer serves: they came while it was on its way."""
        now, waiting, lease.waiters = self._clock(), lease.waiters, []
        for place, waiter in enumerate(waiting):
            decision = None if waiter.done() else lease.spend(now)
            if decision is not None:
                waiter.set_result(decision)
            elif not waiter.done():
                return waiting[place:]
        return []

    async def _ask(
        self, lease: TokenBlock, key: str, policy: RatePolicy, batch: list[asyncio.Future[Decision]]
    ) -> None:
        if lease.tokens:
            spare, lease.tokens = lease.tokens, 0
            await self._store.refund(key, lease.slice, spare)
        asked = self._clock()
        wanted = max(len(batch), min(policy.block, lease.remaining // NEAR))
        decision = await self._store.take(key, policy, asked, wanted)
        # The store counted after `asked`, so its slice ends no sooner than this, whatever its clock shows.
        lease.tokens, lease.slice, lease.expires = decision.granted, decision.slice, asked + decision.keep
        lease.remaining, lease.reset_at = decision.remaining, asked + decision.reset
        if decision.granted < wanted:
            lease.denied_until = asked + min(decision.reset, DENIAL_SECONDS)
        for waiter in batch:
            if not waiter.done():  # one that was cancelled leaves its token to the next
                waiter.set_result(_served(lease, decision))


def _served(lease: TokenBlock, decision: Decision) -> Decision:
    """What one of those who waited gets: counted when the store answered, though the slice may have ended since."""
    granted = min(1, lease.tokens)
    lease.tokens -= granted
    return Decision(granted, lease.remaining + lease.tokens, decision.reset, decision.slice)

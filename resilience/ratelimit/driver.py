"""Rate limits as one worker applies them: blocks of tokens from the store, and remembered denials.

A token is used only while the slice it was counted in lasts, by the store's clock. So a count never leaves the window
before the request it stands for, and no window holds more than the limit. Tokens that are left when their slice ends
are refunded, so a worker withholds at most one block of a caller's limit.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from resilience.ratelimit.memory import MAX_CALLERS, MemoryStore
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.store import FailOpen, Store
from resilience.ratelimit.window import Decision
from resilience.task_set import TaskSet

DENIAL_SECONDS: Final = 1.0
"""How long a denial is repeated without asking the store, where another worker may have refunded tokens."""
REMAINING_PER_TOKEN: Final = 10
"""A block has at most one token per this many that remain, so that the limit is exact when it is reached."""


class TokenBlock:
    """The tokens that this worker holds of one caller's limit, and the requests that wait for more.

    Times are by this worker's clock.
    """

    __slots__ = ("denied_until", "expires", "refilling", "remaining", "reset_at", "slice", "tokens", "waiters")

    def __init__(self, policy: RatePolicy) -> None:
        self.tokens = 0
        self.slice = 0
        self.expires = 0.0
        self.remaining = policy.limit
        self.reset_at = 0.0
        self.denied_until = 0.0
        self.waiters: list[asyncio.Future[Decision]] = []
        self.refilling = False

    def spend(self, now: float) -> Decision | None:
        """Decide by a token of this block or a remembered denial. None: the store must decide."""
        if self.tokens and now < self.expires:
            self.tokens -= 1
            return Decision(1, self.remaining + self.tokens, max(0.0, self.reset_at - now), self.slice)
        if now < self.denied_until:
            return Decision(0, 0, max(0.0, self.reset_at - now))
        return None

    def takes_back(self, decision: Decision, now: float) -> bool:
        """Whether the token of this decision is one of the slice whose tokens are here."""
        return decision.slice == self.slice and now < self.expires


class Limiter:
    """`clock` measures durations: with Unix time, all would be refused while a clock that was set back is behind.

    `share` is the number of workers among which a limit is divided while the shared store is unavailable.
    """

    def __init__(
        self, store: Store, *, clock: Callable[[], float] = time.monotonic, share: int = 1, callers: int = MAX_CALLERS
    ) -> None:
        self._memory = store if isinstance(store, MemoryStore) else None
        self._store = FailOpen(store, share)
        self._clock = clock
        self._callers = callers
        self._blocks: OrderedDict[str, TokenBlock] = OrderedDict()
        self._tasks = TaskSet()

    @property
    def degraded(self) -> bool:
        """Whether the shared store is unavailable, so that this worker grants its share of each limit."""
        return self._store.degraded

    def try_take(self, key: str, policy: RatePolicy) -> Decision | None:
        """Count one request without waiting. None: the store must decide, so `take` must be awaited.

        `key` identifies whose requests are counted and under which policy; two policies must not share a key.
        """
        if self._memory is not None:
            return self._memory.try_take(key, policy, self._clock(), 1)
        block = self._blocks.get(key)
        return None if block is None else block.spend(self._clock())

    async def take(self, key: str, policy: RatePolicy) -> Decision:
        """Count one request, or deny it. Requests that arrive during a call to the store share the next call."""
        decision = self.try_take(key, policy)
        if decision is not None:
            return decision
        block = self._block(key, policy)
        waiter: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        block.waiters.append(waiter)
        if not block.refilling:
            block.refilling = True
            self._tasks.create(self._serve(block, key, policy))
        return await waiter

    def peek(self, key: str, policy: RatePolicy) -> Decision | None:
        """What remains, as far as this worker knows it without asking the store; None if it does not."""
        now = self._clock()
        if self._memory is not None:
            return self._memory.peek(key, policy, now)
        block = self._blocks.get(key)
        if block is None or now >= block.reset_at:
            return None
        return Decision(0, block.remaining + block.tokens, block.reset_at - now)

    async def refund(self, key: str, decision: Decision) -> None:
        """Uncount a request that `decision` allowed but that was not made."""
        if not decision.allowed:
            return
        block = self._blocks.get(key)
        if block is not None:
            block.denied_until = 0.0
        await self._store.refund(key, decision.slice, 1)

    def give_back(self, key: str, decision: Decision) -> None:
        """The same without waiting, and without a call to the store where this worker can use the token itself."""
        block = self._blocks.get(key)
        if not decision.allowed:
            return
        if self._memory is not None:
            self._memory.give_back(key, decision.slice)
        elif block is not None and not block.refilling and block.takes_back(decision, self._clock()):
            block.tokens += 1
        else:
            self._tasks.create(self.refund(key, decision))

    async def close(self) -> None:
        """Wait for the calls to the store."""
        await self._tasks.wait()

    def _block(self, key: str, policy: RatePolicy) -> TokenBlock:
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = TokenBlock(policy)
            if len(self._blocks) > self._callers:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(key)
        return block

    async def _serve(self, block: TokenBlock, key: str, policy: RatePolicy) -> None:
        """Refill the block until no request waits."""
        batch: list[asyncio.Future[Decision]] = []
        try:
            while batch := self._unserved(block):
                await self._refill(block, key, policy, batch)
        except BaseException as error:
            for waiter in (*batch, *block.waiters):
                if not waiter.done():
                    waiter.set_exception(error)
            block.waiters = []
            raise
        finally:
            block.refilling = False

    def _unserved(self, block: TokenBlock) -> list[asyncio.Future[Decision]]:
        """Decide the waiting requests as far as the block allows, and return the rest."""
        now, waiting, block.waiters = self._clock(), block.waiters, []
        for index, waiter in enumerate(waiting):
            decision = None if waiter.done() else block.spend(now)
            if decision is not None:
                waiter.set_result(decision)
            elif not waiter.done():
                return waiting[index:]
        return []

    async def _refill(
        self, block: TokenBlock, key: str, policy: RatePolicy, batch: list[asyncio.Future[Decision]]
    ) -> None:
        if block.tokens:
            expired, block.tokens = block.tokens, 0
            await self._store.refund(key, block.slice, expired)
        asked_at = self._clock()
        wanted = max(len(batch), min(policy.block, block.remaining // REMAINING_PER_TOKEN))
        decision = await self._store.take(key, policy, asked_at, wanted)
        # The store counted after `asked_at`, so its slice ends no sooner than this, whatever its clock shows.
        block.tokens, block.slice, block.expires = decision.granted, decision.slice, asked_at + decision.expires_in
        block.remaining, block.reset_at = decision.remaining, asked_at + decision.reset
        if decision.granted < wanted:
            block.denied_until = asked_at + min(decision.reset, DENIAL_SECONDS)
        for waiter in batch:
            if not waiter.done():  # a cancelled request leaves its token to the next
                waiter.set_result(_spend_granted(block, decision))


def _spend_granted(block: TokenBlock, decision: Decision) -> Decision:
    """The decision for one request of the batch. Its token was counted, even if the slice has ended since."""
    granted = min(1, block.tokens)
    block.tokens -= granted
    return Decision(granted, block.remaining + block.tokens, decision.reset, decision.slice)

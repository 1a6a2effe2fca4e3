"""Quotas as one worker applies them: tokens in advance from the shared counter, and a journal for the database.

Tokens that were taken in advance are used or given back within LEASE_SECONDS. A request that finds the quota used up
while other workers may have some waits that long, and asks again: nothing is refused below the quota.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from resilience.outage import StoreUnavailable
from resilience.task_set import TaskSet
from resilience.usage.counter import LEASE_SECONDS, Allowance, Counter, Missing, OtherPeriod, Take
from resilience.usage.filling import Filling
from resilience.usage.journal import Journal
from resilience.usage.meter import Meter, QuotaVerdict
from resilience.usage.periods import period_at
from resilience.usage.store import Ledger, Store
from resilience.usage.tokens import Tokens

DENIAL_SECONDS: Final = 1.0
"""How long a denial is repeated without asking the store, where the quota may be raised meanwhile."""
SPEND_SECONDS: Final = 0.8 * LEASE_SECONDS
"""How long tokens that were taken in advance are used; then they are given back."""
MAX_SPARE: Final = 256
MAX_METERS: Final = 100_000
_ATTEMPTS: Final = 6
_ASKS: Final = 4
"""How often a request that found the quota used up asks again, each time after LEASE_SECONDS at most."""
_MARGIN_SECONDS: Final = 0.005


Notify = Callable[[Meter, int, Counter], None]
"""Called once in the cluster when a quota reaches a threshold, in percent."""


class Quotas:
    """`share` is the number of workers among which a quota is divided while the store is unavailable.

    `clock` is Unix time, which says what period is current and may be set back; `timer` measures durations.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        share: int = 1,
        notify: Notify = lambda _meter, _percent, _counter: None,
    ) -> None:
        self._store, self._ledger, self._share = store, ledger, share
        self._clock, self._timer, self._sleep = clock, timer, sleep
        self._notify = notify
        self._journal = Journal(store, ledger)
        self._filling = Filling(store, ledger, self._journal)
        self._known: OrderedDict[str, Tokens] = OrderedDict()
        self._tasks = TaskSet()

    def try_take(self, meter: Meter) -> QuotaVerdict | None:
        """Count one request without waiting. None: `take` must be awaited."""
        tokens = self._known.get(meter.key)
        return None if tokens is None else self._spend(tokens, meter)

    async def take(self, meter: Meter) -> QuotaVerdict:
        """Count one request, or deny it. Requests that arrive meanwhile share the next call to the store."""
        verdict = self.try_take(meter)
        if verdict is not None:
            return verdict
        tokens = self._tokens(meter.key)
        waiter: asyncio.Future[QuotaVerdict] = asyncio.get_running_loop().create_future()
        tokens.waiters.append(waiter)
        if not tokens.refilling:
            tokens.refilling = True
            self._tasks.create(self._serve(tokens, meter))
        return await waiter

    def peek(self, meter: Meter) -> QuotaVerdict | None:
        """What remains, as this worker has seen it last; None if it has not, in this period. `allowed` says nothing."""
        tokens, now = self._known.get(meter.key), self._timer()
        if tokens is None or now >= tokens.ends:
            return None
        return self._verdict(tokens, meter, True, now)

    def give_back(self, meter: Meter) -> None:
        """Uncount a request that was counted, but refused for another reason. Another request gets its token."""
        tokens = self._tokens(meter.key)
        now = self._timer()
        if tokens.budget is not None:
            tokens.budget += 1
            self._journal.count(meter.key, tokens.counter, -1, local=True)
        elif tokens.count and now < tokens.expires:
            tokens.count += 1
        else:
            self._tasks.create(self._refund(meter, tokens.counter, 1))

    async def adjust(self, meter: Meter, *, used: int | None = 0, extra: int = 0) -> Counter:
        """Refund `used` requests of the current period, all if it is None, and raise its limit by `extra`.

        Raises StoreUnavailable.
        """
        taken = await self._adjust(meter, used, extra)
        self._journal.count(meter.key, taken.counter, taken.granted, extra=extra, lowered=True)
        self._tokens(meter.key).denied_until = 0.0
        await self._journal.flush()
        return taken.counter

    async def read(self, meter: Meter) -> Counter:
        """The counter of the current period. Raises StoreUnavailable."""
        return (await self._adjust(meter, 0, 0)).counter

    async def _adjust(self, meter: Meter, used: int | None, extra: int) -> Take:
        return await self._retrying(meter, lambda quota, now: self._store.adjust(meter.key, quota, used, extra, now))

    async def flush(self) -> None:
        """Save what was counted since the last call. Called every second."""
        with contextlib.suppress(StoreUnavailable):
            await self._journal.retry()

    async def close(self) -> None:
        """Give tokens back and save what was counted."""
        for key, tokens in self._known.items():
            spare, tokens.count = tokens.count, 0
            if spare:
                self._tasks.create(self._refund_key(key, tokens.counter, spare))
        await self._tasks.wait()
        await self.flush()

    def _spend(self, tokens: Tokens, meter: Meter) -> QuotaVerdict | None:
        now = self._timer()
        if tokens.count and now < tokens.expires:
            tokens.count -= 1
            return self._verdict(tokens, meter, True, now)
        if now < tokens.denied_until:
            return self._verdict(tokens, meter, False, now)
        return None

    def _verdict(self, tokens: Tokens, meter: Meter, allowed: bool, now: float) -> QuotaVerdict:
        limit = meter.policy.amount + tokens.counter.extra
        remaining = max(0, limit - tokens.counter.used) + tokens.count
        return QuotaVerdict(allowed, remaining if allowed else 0, max(0.0, tokens.ends - now), limit)

    def _tokens(self, key: str) -> Tokens:
        tokens = self._known.get(key)
        if tokens is None:
            tokens = self._known[key] = Tokens()
            if len(self._known) > MAX_METERS:
                oldest, idle = next(iter(self._known.items()))
                if not idle.refilling and not idle.count:
                    del self._known[oldest]
        else:
            self._known.move_to_end(key)
        return tokens

    async def _serve(self, tokens: Tokens, meter: Meter) -> None:
        """Refill until no request waits."""
        batch: list[asyncio.Future[QuotaVerdict]] = []
        try:
            while batch := self._unserved(tokens, meter):
                await self._refill(tokens, meter, batch)
        except BaseException as error:
            for waiter in (*batch, *tokens.waiters):
                if not waiter.done():
                    waiter.set_exception(error)
            tokens.waiters = []
            raise
        finally:
            tokens.refilling = False

    def _unserved(self, tokens: Tokens, meter: Meter) -> list[asyncio.Future[QuotaVerdict]]:
        waiting, tokens.waiters = [waiter for waiter in tokens.waiters if not waiter.done()], []
        for index, waiter in enumerate(waiting):
            verdict = self._spend(tokens, meter)
            if verdict is None:
                return waiting[index:]
            waiter.set_result(verdict)
        return []

    async def _refill(self, tokens: Tokens, meter: Meter, batch: list[asyncio.Future[QuotaVerdict]]) -> None:
        await self._return_unspent(tokens, meter)
        try:
            left = await self._from_store(tokens, meter, len(batch))
        except StoreUnavailable:
            left = await self._from_share(tokens, meter, len(batch))
        now = self._timer()
        for waiter in batch:
            allowed = left > 0
            if not waiter.done():
                waiter.set_result(self._verdict(tokens, meter, allowed, now))
                left -= allowed
        if left > 0:
            tokens.count, tokens.expires = left, min(tokens.expires, tokens.ends)
            self._tasks.create(self._expire(tokens, meter))
        elif not allowed:
            tokens.denied_until = min(now + DENIAL_SECONDS, tokens.ends)

    async def _from_store(self, tokens: Tokens, meter: Meter, wanted: int) -> int:
        """Tokens of the shared counter: waits once for those that other workers may give back."""
        if tokens.budget is not None and not self._store.unavailable:
            await self._journal.flush()
        granted = 0
        for _ in range(_ASKS):
            asked_at = self._timer()
            left, spare = wanted - granted, tokens.spare
            taken = await self._retrying(meter, partial(self._store_take, meter.key, left, spare))
            tokens.budget = None
            granted += taken.granted
            tokens.counter, tokens.expires = taken.counter, asked_at + SPEND_SECONDS
            tokens.ends = asked_at + taken.counter.ends - taken.now
            self._journal.count(meter.key, taken.counter, taken.granted)
            if taken.crossed:
                self._notify(meter, taken.crossed, taken.counter)
            if granted >= wanted or not taken.retry_in:
                break
            await self._sleep(taken.retry_in + _MARGIN_SECONDS)
        tokens.spare = min(MAX_SPARE, max(1, tokens.spare * 2))
        return granted

    async def _store_take(self, key: str, wanted: int, spare: int, quota: Allowance, now: float) -> Take:
        return await self._store.take(key, quota, wanted, spare, now)

    async def _from_share(self, tokens: Tokens, meter: Meter, wanted: int) -> int:
        """Tokens of this worker's share of what was left when the store was seen last."""
        now = self._clock()
        if tokens.budget is None or now >= tokens.counter.ends:
            period = period_at(meter.policy, now, meter.signed_up)
            counter = tokens.counter if now < tokens.counter.ends else await self._saved(meter)
            if now >= counter.ends:
                counter = Counter(since=period.starts)
            counter.ends, counter.generation = period.ends, ""
            tokens.counter, tokens.ends = counter, self._timer() + period.ends - now
            tokens.budget = max(0, meter.policy.amount + counter.extra - counter.used) // self._share
        granted = min(wanted, tokens.budget)
        tokens.budget -= granted
        tokens.counter.used += granted
        self._journal.count(meter.key, tokens.counter, granted, local=True)
        return granted

    async def _saved(self, meter: Meter) -> Counter:
        try:
            return await self._ledger.read(meter.key)
        except StoreUnavailable:
            return Counter()

    async def _return_unspent(self, tokens: Tokens, meter: Meter) -> None:
        unspent, tokens.count = tokens.count, 0
        if unspent:
            tokens.spare //= 2
            await self._refund(meter, tokens.counter, unspent)

    async def _expire(self, tokens: Tokens, meter: Meter) -> None:
        """Give back what was not spent in time, unless it was taken later."""
        await self._sleep(SPEND_SECONDS)
        if tokens.count and self._timer() >= tokens.expires and not tokens.refilling:
            unspent, tokens.count, tokens.spare = tokens.count, 0, tokens.spare // 4
            await self._refund(meter, tokens.counter, unspent)

    async def _refund(self, meter: Meter, counter: Counter, count: int) -> None:
        self._tokens(meter.key).denied_until = 0.0
        await self._refund_key(meter.key, counter, count)

    async def _refund_key(self, key: str, counter: Counter, count: int) -> None:
        """Uncount requests in the store. A counter that was reset or filled again since has not counted them: the
        database subtracts them.
        """
        self._journal.count(key, counter, -count)
        with contextlib.suppress(StoreUnavailable):  # they stay counted in the store, which errs towards the quota
            await self._store.settle(key, counter.generation, counter.since, -count)

    async def _retrying(self, meter: Meter, call: Callable[[Allowance, float], Awaitable[Take]]) -> Take:
        """Call the store with the period that is current by its clock, and fill a counter that is missing."""
        now = self._clock()
        for _ in range(_ATTEMPTS):
            period = period_at(meter.policy, now, meter.signed_up)
            try:
                return await call(Allowance(meter.policy.amount, period), now)
            except OtherPeriod as other:
                now = other.now
            except Missing:
                await self._filling.fill(meter.key)
        raise StoreUnavailable("the counter changes too often")

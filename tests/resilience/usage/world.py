"""Workers that share a counter and a database, in virtual time."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import msgspec

from resilience.outage import StoreUnavailable
from resilience.usage.counter import Allowance, Counter, Take, take
from resilience.usage.driver import Quotas
from resilience.usage.meter import Meter, QuotaVerdict
from resilience.usage.store import Delta, MemoryStore


class VirtualTime:
    def __init__(self, now: float) -> None:
        self.now = now
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((self.now + seconds, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let time pass, and what waits for it happen."""
        until = self.now + seconds
        while due := sorted((at, index) for index, (at, _) in enumerate(self._waiting) if at <= until):
            at, future = self._waiting.pop(due[0][1])
            self.now = max(self.now, at)
            if not future.done():
                future.set_result(None)
            await spin()
        self.now = until

    async def run(self, work: Awaitable[Any]) -> Any:
        """The result, letting time pass where the work waits for it."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await spin()
            if not task.done():
                await self.advance(0.05)
        return task.result()


async def spin() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


class SharedStore(MemoryStore):
    """Counters that all workers share, which grants tokens in advance as Redis does, and which can be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.calls = 0

    @property
    def unavailable(self) -> bool:  # type: ignore[override]
        return self.away

    def counter(self, key: str) -> Counter:
        return self._counter(key)

    def lose(self) -> None:
        """Restart empty."""
        self._counters.clear()

    async def take(self, key: str, quota: Allowance, wanted: int, spare: int, now: float) -> Take:
        self._check()
        self.calls += 1
        return take(self._counter(key), quota, wanted, spare, now)

    async def adjust(self, key: str, quota: Allowance, used: int | None, extra: int, now: float) -> Take:
        self._check()
        return await super().adjust(key, quota, used, extra, now)

    async def fill(self, key: str, counter: Counter) -> str:
        self._check()
        return await super().fill(key, counter)

    async def settle(self, key: str, generation: str, since: int, count: int) -> bool:
        self._check()
        return await super().settle(key, generation, since, count)

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable


class FakeLedger:
    """The database, by the rules of routing/database/quota_ledger.py."""

    def __init__(self) -> None:
        self.rows: dict[str, Counter] = {}
        self.away = False
        self.begun = 0
        """How many transactions have begun counters."""

    async def read(self, key: str) -> Counter:
        self._check()
        return msgspec.structs.replace(self.rows.get(key, Counter()))

    async def begin(self, keys: Sequence[str], generation: str) -> list[Counter]:
        self._check()
        self.begun += 1
        for key in keys:
            self.rows.setdefault(key, Counter()).generation = generation
        return [msgspec.structs.replace(self.rows[key]) for key in keys]

    async def adopt(self, generation: str, others: Mapping[str, str]) -> None:
        self._check()
        for key, other in others.items():
            if self.rows[key].generation == generation:
                self.rows[key].generation = other

    async def save(self, deltas: Sequence[Delta]) -> list[str]:
        self._check()
        generations = []
        for delta in deltas:
            row = self.rows.setdefault(delta.key, Counter())
            generations.append(row.generation)
            if delta.since > row.since:
                row.used = row.extra = row.warned = 0
                row.since = delta.since
            if delta.since == row.since:
                row.used, row.extra = row.used + delta.count, row.extra + delta.extra
                row.ends = delta.ends
                row.warned = delta.warned if delta.lowered else max(row.warned, delta.warned)
        return generations

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable


class World:
    def __init__(self, now: float, workers: int = 4) -> None:
        self.time, self.store, self.ledger = VirtualTime(now), SharedStore(), FakeLedger()
        self.events: list[tuple[str, int]] = []
        self.ahead = 0.0
        """What the workers' clocks have been set ahead by."""
        self.workers = [self.worker(workers) for _ in range(workers)]

    def worker(self, share: int) -> Quotas:
        return Quotas(
            self.store,
            self.ledger,
            clock=lambda: self.time.now + self.ahead,
            timer=self.time,
            sleep=self.time.sleep,
            share=share,
            notify=lambda meter, percent, _counter: self.events.append((meter.key, percent)),
        )

    async def take(self, worker: int, meter: Meter) -> QuotaVerdict:
        verdict = self.workers[worker].try_take(meter)
        if verdict is None:
            verdict = await self.time.run(self.workers[worker].take(meter))
        return verdict

    async def flush(self) -> None:
        for worker in self.workers:
            await worker.flush()

"""From this worker's memory to the shared store each second, and from there to the database, by one worker of all.

A flush keeps its id and its contents until the store has it, and a batch until the database has it; both know what
they have already. So nothing is counted twice and nothing lost but a killed worker's last second.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from metrics.counting.counts import MINUTE, CountBatch, PendingCounts
from metrics.counting.observer import CircuitTransition, MetricsObserver
from metrics.counting.store import Flush, Store
from resilience.outage import StoreUnavailable

log = logging.getLogger(__name__)

Readers = Mapping[str, Callable[[], int]]
"""By name, what returns a number's current value."""
NONE: Final[Readers] = {}

FLUSH_SECONDS: Final = 1.0
FORGET_SECONDS: Final = 600.0
"""How often what is past its time is deleted."""


class Database(Protocol):
    """What is kept for good; its calls block, and are made in one thread."""

    def apply(self, batch: CountBatch) -> None:
        """Add a batch to the rows; one already there changes nothing."""

    def record_transitions(self, changes: list[CircuitTransition]) -> None:
        """Write down circuits' moves."""

    def delete_expired(self, now: float) -> None:
        """Delete what is past its time. `now` is Unix seconds."""

    def disconnect(self) -> None:
        """Let go of this thread's connection."""


class Flusher:
    """`clock` gives Unix seconds."""

    def __init__(
        self,
        observer: MetricsObserver,
        store: Store,
        database: Database,
        *,
        counters: Readers = NONE,
        gauges: Readers = NONE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.observer = observer
        self.connected = True
        self._counters = counters
        self._gauges = gauges
        self._reported: Counter[str] = Counter()
        self._store = store
        self._database = database
        self._clock = clock
        self._worker = secrets.token_hex(8)
        self._unsent: Flush | None = None
        self._aside: Flush | None = None
        self._unkept: list[CircuitTransition] = []
        self._forgot_at = 0.0
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "metrics")
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        store.listen(self.flush)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Hand over what is left, to the database itself if the store is away."""
        self._stopping.set()
        if self._task:
            await self._task
        await self._round(None)
        for batch in _batches(self._unsent):  # if the store took it without saying so, and survives, it counts twice
            await self._blocking(self._database.apply, batch)
        await self._blocking(self._database.disconnect)
        self._thread.shutdown(wait=False)

    def now(self) -> float:
        """Unix seconds, by the clock that all here go by."""
        return self._clock()

    async def flush(self) -> None:
        """Hand this worker's counts to the store; while it is away they are kept, to be sent as they are."""
        async with self._lock:
            try:
                if self._unsent:
                    await self._store.add(self._unsent)
                self._unsent = self._next()
                if self._unsent:
                    await self._store.add(self._unsent)
                self._unsent = None
            except StoreUnavailable:
                self.connected = False
                return
            self.connected = True

    async def drain(self, worker: str | None) -> None:
        """Bring what waits in the store into the database, if that is `worker`'s to do; None does it in any case."""
        if self._unkept:
            keeping, self._unkept = self._unkept, []
            await self._keep(keeping)
        while batch := await self._store.take(worker):
            await self._blocking(self._database.apply, batch)
            await self._store.acknowledge(batch.id)
            if worker is not None:
                break
        await self._forget()

    async def _keep(self, changes: list[CircuitTransition]) -> None:
        try:
            await self._blocking(self._database.record_transitions, changes)
        except Exception:
            self._unkept = [*changes, *self._unkept]
            raise

    async def _forget(self) -> None:
        now = self._clock()
        if not 0 <= now - self._forgot_at < FORGET_SECONDS:
            self._forgot_at = now
            await self._blocking(self._database.delete_expired, now)

    async def pending(self) -> PendingCounts:
        """What the database does not have yet: this worker's included, and the others' as the store knows them."""
        await self.flush()
        if not self.connected:
            self._aside = self._aside or self._next()
        aside = _batches(self._aside)
        try:
            shared = await self._store.pending(self._clock())
        except StoreUnavailable:
            self.connected = False
            return PendingCounts((*_batches(self._unsent), *aside))
        return PendingCounts((*shared.batches, *aside), shared.gauges)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), FLUSH_SECONDS)
            await self.tick()

    async def tick(self) -> None:
        """What is done each second."""
        await self._round(self._worker)

    async def _round(self, worker: str | None) -> None:
        try:
            await self.flush()
            if self._aside or not self.connected:
                await self._go_around()
            await self.drain(worker)
        except StoreUnavailable:
            self.connected = False
        except Exception:
            log.exception("counts cannot be brought into the database now; they wait")

    def _next(self) -> Flush | None:
        counts, changes = self.observer.take()
        self._unkept += changes
        counts |= self._grown()
        gauges = {name: ask() for name, ask in self._gauges.items()}
        if not counts and not gauges:
            return None
        return Flush(id=secrets.token_hex(16), worker=self._worker, at=self._clock(), counts=counts, gauges=gauges)

    def _grown(self) -> dict[str, int]:
        """Of no service, as counts are handed over; what has been told is not told again."""
        now = {field: ask() for field, ask in self._counters.items()}
        grown = Counter(now) - self._reported
        self._reported.update(grown)
        minute = int(self._clock() // MINUTE) * MINUTE
        return {f"{minute}||{field}": number for field, number in grown.items()}

    async def _go_around(self) -> None:
        """While the store is away, what it was never offered goes to the database itself."""
        self._aside = self._aside or self._next()
        for batch in _batches(self._aside):
            await self._blocking(self._database.apply, batch)
        self._aside = None

    async def _blocking(self, work: Callable[..., None], *given: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)


def _batches(flush: Flush | None) -> tuple[CountBatch, ...]:
    return (CountBatch(flush.id, flush.counts),) if flush else ()

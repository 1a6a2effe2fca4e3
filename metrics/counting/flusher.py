"""Moves counts from this worker's memory to the shared store each second, and on into the database.

One worker of the cluster at a time, the holder of the store's lease, writes to the database. A flush keeps its id
until the store has accepted it, and a batch until the database has; both ignore ids they have seen. So nothing is
counted twice, and a killed worker loses at most its last second, and of the counts of paths its last PATH_SECONDS.
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

from django.db import DatabaseError, InterfaceError

from metrics.counting.counts import CountBatch, PendingCounts
from metrics.counting.observer import CircuitTransition, MetricsObserver
from metrics.counting.store import Flush, Store
from resilience.durations import MINUTE
from resilience.outage import StoreUnavailable
from resilience.throttled_log import ThrottledLog

log = logging.getLogger(__name__)

FLUSH_INTERVAL_SECONDS: Final = 1.0
PATH_SECONDS: Final = 10.0
"""How often the counts of paths are sent unasked: they are most of the fields that Redis has to increment."""

Readers = Mapping[str, Callable[[], int]]
"""Functions that return a current value, by name."""
NO_READERS: Final[Readers] = {}
WORKERS: Final = "workers"
"""The gauge whose sum is the number of live workers."""


class Database(Protocol):
    """The permanent storage. Its methods block; all are called in the same thread."""

    def apply(self, batch: CountBatch) -> None:
        """Add a batch to the totals. A batch that was applied before changes nothing."""

    def record_transitions(self, transitions: list[CircuitTransition]) -> None: ...

    def disconnect(self) -> None:
        """Close this thread's connection."""


class Flusher:
    """`counters` are monotonic counts kept elsewhere, by field; their increase is counted at each flush.

    `gauges` are this worker's current values, by name, and `more_gauges` those whose names vary. `clock` returns Unix
    seconds. `connected` is false while the store is unavailable.
    """

    def __init__(
        self,
        observer: MetricsObserver,
        store: Store,
        database: Database,
        *,
        counters: Readers = NO_READERS,
        gauges: Readers = NO_READERS,
        more_gauges: Callable[[], Mapping[str, int]] = dict,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.observer = observer
        self.connected = True
        self._counters = counters
        self._gauges = gauges
        self._more_gauges = more_gauges
        self._reported: Counter[str] = Counter()
        self._paths_sent_at = clock()
        self._store = store
        self._database = database
        self._clock = clock
        self._worker = secrets.token_hex(8)
        self._unsent: Flush | None = None
        self._bypass: Flush | None = None  # never offered to the store: goes to the database directly
        self._unsaved_transitions: list[CircuitTransition] = []
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "metrics")
        self._warn = ThrottledLog(log).warning
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        store.listen(self.flush)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write everything that is left, directly to the database if the store is unavailable."""
        self._stopping.set()
        if self._task:
            await self._task
        await self._flush_and_drain(None)
        # Counts twice only if the store accepted the flush without a reply and outlives this worker.
        for batch in _batches(self._unsent):
            await self._run_in_thread(self._database.apply, batch)
        await self._run_in_thread(self._database.disconnect)
        self._thread.shutdown(wait=False)

    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    async def flush(self, *, with_paths: bool = True) -> None:
        """Send this worker's counts to the store. While it is unavailable they are kept, and sent unchanged later."""
        async with self._lock:
            try:
                if self._unsent:
                    await self._store.add(self._unsent)
                self._unsent = self._next_flush(with_paths=with_paths)
                if self._unsent:
                    await self._store.add(self._unsent)
                self._unsent = None
            except StoreUnavailable:
                self.connected = False
                return
            self.connected = True

    async def drain(self, worker: str | None) -> None:
        """Write the store's counts to the database if `worker` holds the lease, or in any case if it is None."""
        if self._unsaved_transitions:
            transitions, self._unsaved_transitions = self._unsaved_transitions, []
            await self._save_transitions(transitions)
        while batch := await self._store.take(worker):
            await self._run_in_thread(self._database.apply, batch)
            await self._store.acknowledge(batch.id)
            if worker is not None:
                break

    async def _save_transitions(self, transitions: list[CircuitTransition]) -> None:
        try:
            await self._run_in_thread(self._database.record_transitions, transitions)
        except Exception:
            self._unsaved_transitions = [*transitions, *self._unsaved_transitions]
            raise

    async def pending(self) -> PendingCounts:
        """What the database does not have yet: this worker's counts, and the other workers' through the store."""
        await self.flush()
        if not self.connected:
            self._bypass = self._bypass or self._next_flush()
        bypass = _batches(self._bypass)
        try:
            shared = await self._store.pending(self._clock())
        except StoreUnavailable:
            self.connected = False
            return PendingCounts((*_batches(self._unsent), *bypass))
        return PendingCounts((*shared.batches, *bypass), shared.gauges)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), FLUSH_INTERVAL_SECONDS)
            await self.run_once()

    async def run_once(self) -> None:
        """One iteration of the loop that `start` begins."""
        with_paths = not 0 <= self._clock() - self._paths_sent_at < PATH_SECONDS
        await self._flush_and_drain(self._worker, with_paths=with_paths)

    async def _flush_and_drain(self, worker: str | None, *, with_paths: bool = True) -> None:
        try:
            await self.flush(with_paths=with_paths)
            if self._bypass or not self.connected:
                await self._bypass_store()
            await self.drain(worker)
        except StoreUnavailable:
            self.connected = False
        except (DatabaseError, InterfaceError) as error:
            self._warn("metrics cannot be written to the database at the moment", type(error).__name__)
        except Exception:
            log.exception("failed to write the metrics to the database; will retry")

    def _next_flush(self, *, with_paths: bool = True) -> Flush | None:
        if with_paths:
            self._paths_sent_at = self._clock()
        counts, transitions = self.observer.take(with_paths=with_paths)
        self._unsaved_transitions += transitions
        counts |= self._counter_increases()
        gauges = {name: read() for name, read in self._gauges.items()} | dict(self._more_gauges())
        if not counts and not gauges:
            return None
        return Flush(id=secrets.token_hex(16), worker=self._worker, at=self._clock(), counts=counts, gauges=gauges)

    def _counter_increases(self) -> dict[str, int]:
        """By how much `counters` have grown since the last call, under the current minute and no service."""
        increases = Counter({field: read() for field, read in self._counters.items()}) - self._reported
        self._reported.update(increases)
        minute = int(self._clock() // MINUTE) * MINUTE
        return {f"{minute}||{field}": number for field, number in increases.items()}

    async def _bypass_store(self) -> None:
        """Write counts that the store was never offered directly to the database."""
        self._bypass = self._bypass or self._next_flush()
        for batch in _batches(self._bypass):
            await self._run_in_thread(self._database.apply, batch)
        self._bypass = None

    async def _run_in_thread(self, function: Callable[..., None], *args: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)


def _batches(flush: Flush | None) -> tuple[CountBatch, ...]:
    return (CountBatch(flush.id, flush.counts),) if flush else ()

"""From this worker's memory to the shared store each second, and from there to the database, by one worker of all.

A flush keeps its id and its contents until the store has it, and a batch until the database has it; both know what
they have already. So nothing is counted twice and nothing lost but a killed worker's last second.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from metrics.counting import Change, Counting
from metrics.counts import Batch, Waiting
from metrics.store import Flush, Store
from resilience.outage import StoreUnavailable

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 1.0
FORGET_SECONDS: Final = 600.0
"""How often what is past its time is deleted."""


class Database(Protocol):
    """What is kept for good; its calls block, and are made in one thread."""

    def apply(self, batch: Batch) -> None:
        """Add a batch to the rows; one already there changes nothing."""

    def keep(self, changes: list[Change]) -> None:
        """Write down circuits' moves."""

    def forget(self, now: float) -> None:
        """Delete what is past its time. `now` is Unix seconds."""

    def disconnect(self) -> None:
        """Let go of this thread's connection."""


class Flusher:
    """`clock` gives Unix seconds."""

    def __init__(
        self, counting: Counting, store: Store, database: Database, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.counting = counting
        self.connected = True
        self._store = store
        self._database = database
        self._clock = clock
        self._worker = secrets.token_hex(8)
        self._unsent: Flush | None = None
        self._unkept: list[Change] = []
        self._forgot_at = 0.0
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "metrics")
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Hand over what is left, to the database itself if the store is away."""
        self._stopping.set()
        if self._task:
            await self._task
        await self._round(None)
        if not self.connected:
            await self._past_the_store()
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
        self._unkept += self.counting.take_changes()
        if self._unkept:
            await self._blocking(self._database.keep, self._unkept)
            self._unkept = []
        while batch := await self._store.take(worker):
            await self._blocking(self._database.apply, batch)
            await self._store.done(batch.id)
            if worker is not None:
                break
        await self._forget()

    async def _forget(self) -> None:
        now = self._clock()
        if not 0 <= now - self._forgot_at < FORGET_SECONDS:
            self._forgot_at = now
            await self._blocking(self._database.forget, now)

    async def waiting(self) -> Waiting:
        """What the database does not have yet: this worker's included, and the others' as the store knows them."""
        await self.flush()
        try:
            return await self._store.waiting(self._clock())
        except StoreUnavailable:
            self.connected = False
        own = self._unsent
        return Waiting((Batch(own.id, own.counts),) if own else ())

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), FLUSH_SECONDS)
            await self._round(self._worker)

    async def _round(self, worker: str | None) -> None:
        await self.flush()
        try:
            await self.drain(worker)
        except StoreUnavailable:
            self.connected = False
        except Exception:
            log.exception("counts cannot be brought into the database now; they wait")

    def _next(self) -> Flush | None:
        counts = self.counting.take()
        gauges = {name: ask() for name, ask in self.counting.gauges.items()}
        if not counts and not gauges:
            return None
        return Flush(id=secrets.token_hex(16), worker=self._worker, at=self._clock(), counts=counts, gauges=gauges)

    async def _past_the_store(self) -> None:
        """The last of a worker whose store is away. A flush the store has taken without saying so is counted twice."""
        for flush in (self._unsent, self._next()):
            if flush:
                await self._blocking(self._database.apply, Batch(flush.id, flush.counts))

    async def _blocking(self, work: Callable[..., None], *given: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)

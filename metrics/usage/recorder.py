"""Seals this worker's counts in batches, and saves them: in Redis within a second, in the database soon after.

A batch has an id and never changes. The database adds it once, whichever worker saves it and however often; Redis keeps
it until then. So what is counted is lost only with a worker that is killed: what it has counted since its last second.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from django.db import DatabaseError, InterfaceError

from metrics.usage.meter import UsageMeter
from metrics.usage.record import UsageBatch
from metrics.usage.store import Backup
from resilience.outage import StoreUnavailable
from resilience.throttled_log import ThrottledLog

log = logging.getLogger(__name__)

SEAL_SECONDS: Final = 1.0
SAVE_SECONDS: Final = 5.0
"""How often batches that Redis has are written to the database; without Redis each second."""
ABANDONED_SECONDS: Final = 15.0
"""A batch that has been in Redis for so long is saved by whichever worker finds it: its own may have been killed."""
MANY_BATCHES: Final = 60
"""Unsaved batches from which on one is sealed each SLOW_SEAL_SECONDS only, since the database is unavailable."""
SLOW_SEAL_SECONDS: Final = 60.0
MAX_UNSAVED_ROWS: Final = 200_000
"""Rows of unsaved batches, beyond which counts stay in the meter: the bound of this worker's memory."""


class Ledger(Protocol):
    """metrics.usage.ledger.UsageLedger. Its methods block; all are called in the same thread."""

    def save(self, batches: Sequence[UsageBatch]) -> None: ...


class UsageRecorder:
    """`clock` is the Unix time that workers share."""

    def __init__(
        self,
        meter: UsageMeter,
        backup: Backup,
        ledger: Ledger,
        *,
        timezone: ZoneInfo,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.timezone = timezone
        self._meter = meter
        self._backup = backup
        self._ledger = ledger
        self._clock = clock
        self._worker = secrets.token_hex(12)
        self._number = 0
        self._unsaved: list[UsageBatch] = []
        self._unsent: list[UsageBatch] = []
        self._sealed_at = self._saved_at = 0.0
        self._sending = asyncio.Lock()
        self._saving = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "usage")
        self._warn = ThrottledLog(log).warning
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        backup.listen(self.flush)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Save everything that is left. If that fails, other workers find it in Redis."""
        self._stopping.set()
        if self._task:
            await self._task
        self._seal(self._clock())
        await self._send()
        await self._try_save()
        self._thread.shutdown(wait=False)

    async def flush(self) -> None:
        """Seal what has been counted, and put it into Redis, while the database is written or not.

        Raises StoreUnavailable.
        """
        self._seal(self._clock())
        if not await self._send():
            raise StoreUnavailable("usage cannot be kept")

    async def collect(self) -> None:
        """Save what all workers have counted until now, so that the database has it. Raises DatabaseError.

        While Redis is unavailable, what other workers have not saved yet is missing.
        """
        with contextlib.suppress(StoreUnavailable):
            await self._backup.gather()
        self._seal(self._clock())
        await self._send()
        await self._save()
        await self._save_others(0.0)

    async def run_once(self) -> None:
        """One iteration of the loop that `start` begins."""
        now = self._clock()
        if not 0 <= now - self._sealed_at < self._seal_interval():
            self._seal(now)
        is_kept = await self._send() and self._backup.is_shared
        if not is_kept or not 0 <= now - self._saved_at < SAVE_SECONDS:
            self._saved_at = now
            await self._try_save()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), SEAL_SECONDS)
            await self.run_once()

    def _seal_interval(self) -> float:
        return SEAL_SECONDS * 0.9 if len(self._unsaved) < MANY_BATCHES else SLOW_SEAL_SECONDS

    def _seal(self, now: float) -> None:
        """Make a batch of what has been counted, unless there are too many that cannot be saved."""
        if sum(len(batch.rows) for batch in self._unsaved) >= MAX_UNSAVED_ROWS:
            return
        self._sealed_at = now
        usage = self._meter.take()
        if usage:
            self._number += 1
            batch = UsageBatch(f"usage-{self._worker}-{self._number}", now, list(usage.items()))
            self._unsaved.append(batch)
            self._unsent.append(batch)

    async def _send(self) -> bool:
        """Put batches that Redis does not have there. Whether it has all now."""
        async with self._sending:
            batches = list(self._unsent)
            try:
                if batches:
                    await self._backup.put(batches)
            except StoreUnavailable:
                return False
            self._forget_unsent(batches)
            return True

    def _forget_unsent(self, batches: Sequence[UsageBatch]) -> None:
        ids = {batch.id for batch in batches}
        self._unsent = [batch for batch in self._unsent if batch.id not in ids]

    async def _try_save(self) -> None:
        try:
            await self._save()
            await self._save_others(ABANDONED_SECONDS)
        except (DatabaseError, InterfaceError) as error:
            self._warn("usage cannot be written to the database at the moment", type(error).__name__)
        except Exception:
            log.exception("usage could not be written to the database; will retry")

    async def _save(self) -> None:
        """Write this worker's batches to the database. Raises DatabaseError."""
        async with self._saving:
            batches = list(self._unsaved)
            if not batches:
                return
            await self._in_thread(self._ledger.save, batches)
            del self._unsaved[: len(batches)]
            self._forget_unsent(batches)
        with contextlib.suppress(StoreUnavailable):  # they are found there again, and change nothing
            await self._backup.remove([batch.id for batch in batches])

    async def _save_others(self, age: float) -> None:
        """Write batches that have been in Redis for so long, whose worker may be gone. Raises DatabaseError."""
        with contextlib.suppress(StoreUnavailable):
            now = self._clock()
            batches = [batch for batch in await self._backup.all() if now - batch.at >= age]
            if batches:
                await self._in_thread(self._ledger.save, batches)
                await self._backup.remove([batch.id for batch in batches])

    async def _in_thread(self, function: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

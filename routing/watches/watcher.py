"""Keeps the watches that webhooks ask for: finds those that are due, claims them, and lets them be renewed.

Every worker runs one. A claim in the database makes exactly one of them renew a watch, with or without Redis.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple

from resilience.task_set import TaskSet
from routing.router.live import LiveConfiguration
from routing.router.table import RouteTable
from routing.watches.record import Wanted, WatchRecord
from routing.watches.renewer import LostClaim, Renewer
from routing.watches.store import StoreFailed, WatchStore
from routing.watches.wanted import is_paused, services_with_accounts, wanted_watches

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
"""How often a worker compares times in its memory."""
POLL_SECONDS: Final = 10.0
"""How often it reads the database: for accounts that were connected, and for what other workers have done."""
UNUSED_SECONDS: Final = 300.0
"""The same while no webhook watches anything: for rows of webhooks that were removed."""
OUTAGE_SECONDS: Final = 10.0
KEEP_SECONDS: Final = 5.0
"""How often a claim is extended while its watch is renewed."""
AT_ONCE: Final = 4
CLOSE_SECONDS: Final = 5.0
"""How long renewals in progress may take at the end."""

WatchKey = tuple[str, str, str]


class _Plan(NamedTuple):
    """What the configuration asks for, and the rows that there are; without those of webhooks that are paused."""

    table: RouteTable
    wanted: dict[WatchKey, Wanted]
    rows: dict[WatchKey, WatchRecord]

    def is_shared(self, record: WatchRecord) -> bool:
        """Whether another webhook watches the same resource of the same account."""
        same = (record.service, record.subject, record.resource)
        return any((each.service, each.subject, each.resource) == same for each in self.wanted.values())


class Watcher:
    """`key` is of digests of settings, the same in all workers; `clock` is the Unix time that workers share."""

    def __init__(
        self, store: WatchStore, renewer: Renewer, live: LiveConfiguration, *, key: bytes, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._renewer = renewer
        self._live = live
        self._key = key
        self._clock = clock
        self._owner = secrets.token_hex(8)
        self._passing = asyncio.Lock()
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._seen: RouteTable | None = None
        self._next_at = 0.0
        self._loop = TaskSet()
        self._renewing = TaskSet()

    def start(self) -> None:
        """Start on the running event loop."""
        self._loop.create(self._run())

    async def close(self) -> None:
        """Start nothing more, and let renewals in progress end. What is cut is repeated by another worker."""
        await self._loop.cancel_and_wait()
        await self._renewing.wait_at_most(CLOSE_SECONDS)
        await self._renewing.cancel_and_wait()

    def wake(self) -> None:
        """Look for what is due within a second. From any thread."""
        self._next_at = 0.0

    async def renew(self, services: Collection[str] | None = None, *, force: bool = False) -> list[WatchRecord]:
        """Renew the watches of these services (None: of all) that are due, or with `force` all; returns all of them.

        Those that another worker has claimed are left to it. Raises StoreFailed.
        """
        async with self._passing:
            await self._pass(services, force=force)
        return await self.load(services)

    async def load(self, services: Collection[str] | None = None) -> list[WatchRecord]:
        """The watches of these services. Raises StoreFailed."""
        rows = await self._store.load()
        return [row for row in rows if services is None or row.service in services]

    async def _run(self) -> None:
        while True:
            table, now = self._live.table, self._clock()
            if table is not self._seen or not self._next_at - UNUSED_SECONDS <= now < self._next_at:
                self._seen = table
                self._next_at = self._clock() + await self._try_pass()
            await asyncio.sleep(TICK_SECONDS)

    async def _try_pass(self) -> float:
        """A pass, and the seconds until the next one."""
        try:
            async with self._passing:
                return await self._pass(None, force=False)
        except StoreFailed as error:
            log.warning("watches cannot be renewed while the database is unavailable: %s", error)
        except Exception:
            log.exception("watches could not be renewed")
        return OUTAGE_SECONDS

    async def _pass(self, services: Collection[str] | None, *, force: bool) -> float:
        """Do what is due, and return the seconds until the next pass."""
        plan = await self._plan()
        for key, row in plan.rows.items():
            wanted = plan.wanted.get(key)
            if services is not None and row.service not in services:
                continue
            if wanted is None:
                is_due, work = row.is_end_due(self._clock()), partial(self._end, plan)
            else:
                is_due, work = force or row.is_due(wanted, self._clock()), partial(self._renew, wanted, force)
            if is_due:
                self._renewing.create(self._claimed(row, work))
        await self._renewing.wait()
        if not plan.rows:
            return UNUSED_SECONDS
        due = [row.due_at - self._clock() for row in await self._store.load() if row.key in plan.rows]
        return max(TICK_SECONDS, min([POLL_SECONDS, *due]))

    async def _plan(self) -> _Plan:
        table = self._live.table
        services = services_with_accounts(table)
        accounts = await self._store.accounts(services) if services else []
        wanted = {each.key: each for each in wanted_watches(table, accounts, self._key)}
        rows = await self._store.load()
        missing = wanted.keys() - {row.key for row in rows}
        if missing:
            await self._store.add([wanted[key] for key in sorted(missing)])
            rows = await self._store.load()
        kept = {row.key: row for row in rows if row.key in wanted or not is_paused(table, row.webhook)}
        return _Plan(table, wanted, kept if table.is_loaded else {})

    async def _claimed(self, row: WatchRecord, work: Callable[[WatchRecord], Awaitable[None]]) -> None:
        """Do the work while this worker alone has the watch; nothing if another one has it."""
        async with self._limit:
            try:
                record = await self._store.claim(row.pk, self._owner, self._clock())
                if record is not None:
                    async with self._kept(row.pk):
                        await work(record)
            except LostClaim:
                log.warning("another worker has taken over the watch of %s, %s", row.webhook, row.resource)
            except StoreFailed as error:
                log.warning("the watch of %s, %s could not be stored: %s", row.webhook, row.resource, error)
            except Exception:
                log.exception("the watch of %s, %s could not be renewed", row.webhook, row.resource)

    @asynccontextmanager
    async def _kept(self, pk: int) -> AsyncIterator[None]:
        """Extend the claim meanwhile, and release it in the end."""
        keeping = asyncio.create_task(self._keep(pk))
        try:
            yield
        finally:
            keeping.cancel()
            with contextlib.suppress(StoreFailed):  # it ends by itself
                await self._store.release(pk, self._owner)

    async def _keep(self, pk: int) -> None:
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            with contextlib.suppress(StoreFailed):
                await self._store.keep(pk, self._owner, self._clock())

    async def _renew(self, wanted: Wanted, force: bool, record: WatchRecord) -> None:
        if force or record.is_due(wanted, self._clock()):  # another worker may just have done it
            await self._renewer.run(record, wanted, self._owner, force=force)

    async def _end(self, plan: _Plan, record: WatchRecord) -> None:
        """End a watch that is not wanted any more, and remove its row. Without its service nothing can be ended."""
        is_over = record.service not in plan.table.services
        if not is_over:
            is_over = await self._renewer.end(record, self._owner, stops_mailbox=not plan.is_shared(record))
        if is_over:
            await self._store.delete(record.pk, self._owner)

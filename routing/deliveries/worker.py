"""Takes deliveries from the queue and does their work, some at a time; tries those that fail again, and keeps the rest
for staff.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from resilience.outage import StoreUnavailable
from resilience.task_set import TaskSet
from routing.deliveries.work import Work, WorkFailed
from routing.router.live import LiveConfiguration
from routing.webhooks.delivery import Delivery, decode, encode, retry_delay
from routing.webhooks.queue import TAKEN_AT_ONCE, Entry, Queue

log = logging.getLogger(__name__)

KEEP_SECONDS: Final = 2.0
"""How often the queue is notified which entries are being worked on."""
UNUSED_SECONDS: Final = 0.25
"""How often a gateway without webhooks looks whether there are any."""
OUTAGE_SECONDS: Final = 0.5
CLOSE_SECONDS: Final = 5.0
"""How long work in progress may take when the worker stops."""
STORE_RETRY_SECONDS: Final = 30.0
"""When a delivery that could not be kept for staff is tried again."""
STOPPED: Final = "the gateway stopped before the work was done"

KeepFailed = Callable[[Delivery], Awaitable[None]]
"""Keeps a delivery whose work has failed, for staff. Raises any exception if it could not."""


class DeliveryWorker:
    """`count` takes a webhook's name and what has happened, for the metrics."""

    def __init__(
        self,
        queue: Queue,
        work: Work,
        live: LiveConfiguration,
        *,
        keep_failed: KeepFailed,
        count: Callable[[str, str], None],
    ) -> None:
        self._queue = queue
        self._work = work
        self._live = live
        self._keep_failed = keep_failed
        self._count = count
        self._entries: dict[str, Entry] = {}
        self._processing = TaskSet()
        self._loops = TaskSet()
        self._freed = asyncio.Event()

    def start(self) -> None:
        """Start on the running event loop."""
        self._loops.create(self._take())
        self._loops.create(self._keep())

    async def close(self) -> None:
        """Take no more, let work in progress end, and keep what would be lost with this process."""
        await self._loops.cancel_and_wait()
        await self._processing.wait_at_most(CLOSE_SECONDS)
        await self._processing.cancel_and_wait()
        for data in await self._queue.close():
            delivery = decode(data)
            await self._store(delivery if delivery.error else delivery.failed(delivery.done, STOPPED))

    async def _take(self) -> None:
        while True:
            free = TAKEN_AT_ONCE - len(self._entries)
            if not self._live.table.webhooks:
                await asyncio.sleep(UNUSED_SECONDS)
            elif free <= 0:
                self._freed.clear()
                await self._freed.wait()
            else:
                await self._take_some(free)

    async def _take_some(self, limit: int) -> None:
        try:
            entries = await self._queue.take(limit)
        except StoreUnavailable:
            await asyncio.sleep(OUTAGE_SECONDS)
            return
        for entry in entries:
            self._entries[entry.id] = entry
            self._processing.create(self._process(entry))

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            with contextlib.suppress(StoreUnavailable):
                await self._queue.keep(list(self._entries.values()))

    async def _process(self, entry: Entry) -> None:
        try:
            await self._try(entry)
        except Exception:
            log.exception("a delivery could not be processed")  # it is taken again once nobody keeps it
        finally:
            self._entries.pop(entry.id, None)
            self._freed.set()

    async def _try(self, entry: Entry) -> None:
        try:
            delivery = decode(entry.data)
        except ValueError:
            log.warning("a malformed delivery in the queue is dropped: another program has written it")
            await self._queue.done(entry)
            return
        try:
            await self._work.run(delivery)
        except WorkFailed as failure:
            failed = delivery.failed(failure.done, failure.error)
            await self._after_failure(entry, failed, is_final=failure.is_final)
        except Exception as error:
            log.exception("the work of a delivery of %s failed", delivery.webhook)
            await self._after_failure(entry, delivery.failed(delivery.done, type(error).__name__), is_final=False)
        else:
            await _until_available(lambda: self._queue.done(entry))
            self._count(delivery.webhook, "done")

    async def _after_failure(self, entry: Entry, delivery: Delivery, *, is_final: bool) -> None:
        webhook = self._live.table.webhooks.get(delivery.webhook)
        if not is_final and webhook is not None and delivery.tries < webhook.attempts:
            self._count(delivery.webhook, "retried")
            delay = retry_delay(delivery.tries)
            await _until_available(lambda: self._queue.put_back(entry, encode(delivery), delay))
        elif await self._store(delivery):
            self._count(delivery.webhook, "failed")
            await _until_available(lambda: self._queue.done(entry))
        else:
            await _until_available(lambda: self._queue.put_back(entry, encode(delivery), STORE_RETRY_SECONDS))

    async def _store(self, delivery: Delivery) -> bool:
        try:
            await self._keep_failed(delivery)
        except Exception as error:  # noqa: BLE001 - whatever the database raises: the delivery stays in the queue
            log.error("a failed delivery of %s could not be stored: %s", delivery.webhook, type(error).__name__)
            return False
        return True


async def _until_available(call: Callable[[], Awaitable[None]]) -> None:
    """Repeat the call while the store is away: the work must not be done again only because it was not noted."""
    while True:
        try:
            await call()
        except StoreUnavailable:
            await asyncio.sleep(OUTAGE_SECONDS)
        else:
            return

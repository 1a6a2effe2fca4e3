"""Deletes expired rows in the background: one worker of the cluster in each interval."""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

from django.db import DatabaseError, InterfaceError

from metrics.retention.deletion import INTERVAL_SECONDS, claim, delete_expired
from metrics.retention.tables import GrowingTable
from resilience.throttled_log import ThrottledLog

log = logging.getLogger(__name__)

FIRST_SECONDS: Final = 60.0
"""When the first deletion begins after the start, which has other work to do."""


class RetentionKeeper:
    """`tables` is called at each run, in the thread that deletes."""

    def __init__(self, tables: Callable[[], Iterable[GrowingTable]]) -> None:
        self._tables = tables
        self._stopping = threading.Event()
        self._thread = ThreadPoolExecutor(1, "retention")
        self._warn = ThrottledLog(log).warning

    async def run(self) -> None:
        """Work until cancelled."""
        await asyncio.sleep(FIRST_SECONDS * random.uniform(1, 2))  # noqa: S311 - no secret
        while True:
            await self.run_once()
            await asyncio.sleep(INTERVAL_SECONDS * random.uniform(0.5, 1))  # noqa: S311 - as above

    async def run_once(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._delete)

    def close(self) -> None:
        """End after the batch that is being deleted."""
        self._stopping.set()
        self._thread.shutdown(wait=False)

    def _delete(self) -> None:
        try:
            if claim(time.time()):
                now = datetime.now(UTC)
                delete_expired(self._tables(), now, pause=self._stopping.wait, is_stopping=self._stopping.is_set)
        except (DatabaseError, InterfaceError) as error:
            self._warn("expired rows cannot be deleted at the moment", type(error).__name__)
        except Exception:
            log.exception("expired rows could not be deleted; will retry")

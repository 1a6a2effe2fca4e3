"""Background work for API keys: writes when they were used last, and warns before they expire."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

from django.db import DatabaseError, InterfaceError

from resilience.throttled_log import ThrottledLog
from routing.authentication.key_usage import KeyUsage, Uses

T = TypeVar("T")
log = logging.getLogger(__name__)

WRITE_SECONDS: Final = 5.0
WARN_SECONDS: Final = 60.0


class ExpiringKey(NamedTuple):
    """`days` is the threshold that has been passed, `expires` Unix time."""

    prefix: str
    name: str
    days: int
    expires: float


class Unwritten(NamedTuple):
    """Uses to be written later: a key's is written once a minute by all workers together."""

    keys: Uses
    retired: Uses


class KeyUpkeep:
    """`write` and `find_expiring` block and run in a thread of their own; `find_expiring` returns each warning to one
    worker only. `write` writes all if its last argument is true.
    """

    def __init__(
        self,
        usage: KeyUsage,
        write: Callable[[Uses, Uses, bool], Unwritten],
        find_expiring: Callable[[], Iterable[ExpiringKey]],
        notify: Callable[[str, int, float], None],
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._usage = usage
        self._write = write
        self._find_expiring = find_expiring
        self._notify = notify
        self._timer = timer
        self._warned_at: float | None = None
        self._thread = ThreadPoolExecutor(1, "keys")
        self._log_outage = ThrottledLog(log).warning

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.run_once()

    async def run_once(self) -> None:
        try:
            await self.flush()
            if self._warned_at is None or self._timer() - self._warned_at >= WARN_SECONDS:
                self._warned_at = self._timer()
                await self._warn()
        except (DatabaseError, InterfaceError) as error:
            self._log_outage(
                "the use of API keys cannot be written to the database at the moment", type(error).__name__
            )
        except Exception:
            log.exception("the use or the expiry of API keys could not be recorded; will retry")

    async def flush(self, *, everything: bool = False) -> None:
        """Write what was recorded. If the database is unavailable, it is kept."""
        keys, retired = self._usage.take()
        if not keys and not retired:
            return
        try:
            left = await self._in_thread(self._write, keys, retired, everything)
        except BaseException:
            self._usage.put_back(keys, retired)
            raise
        self._usage.put_back(*left)

    async def close(self) -> None:
        """Write what is left."""
        try:
            await self.flush(everything=True)
        except Exception:
            log.exception("the last use of API keys could not be written")
        self._thread.shutdown(wait=False)

    async def _warn(self) -> None:
        for key in await self._in_thread(self._find_expiring):
            log.warning("the API key %r (%s) expires within %d days", key.name, key.prefix, key.days)
            self._notify(key.prefix, key.days, key.expires)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

"""Keeps a worker's configuration up to date, by notification and polling. A faulty one leaves the last valid one."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from routing.configuration.faults import ConfigurationError
from routing.router.live import LoadedConfiguration

T = TypeVar("T")
FULL_SHARE: Final = 0.05
"""The share of the time that loads without a known change may take."""
PAUSE_SECONDS: Final = 0.1
"""Between two checks, however many changes are announced: each load that changes something ends what is memoised."""
logger = logging.getLogger(__name__)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration in use: its version, and the fault of a newer one, if any."""

    version: int | None = None
    fault: str | None = None


def log_fault(error: Exception) -> None:
    """Log a fault. Its text never contains a header's value or an API key."""
    logger.error("the configuration cannot be loaded; the last valid one stays in use: %s", error)


def log_faults(loaded: LoadedConfiguration, before: LoadedConfiguration | None) -> None:
    """Log the faults that `before` did not have, and the services that can be loaded again."""
    services = loaded.table.services
    earlier = {} if before is None else before.table.services
    for name, service in services.items():
        old = earlier[name].faults if name in earlier else ()
        continues = name in loaded.invalid and name in earlier and not old
        effect = "the last valid one stays in use" if continues else "the service is out of service"
        for fault in service.faults if service.faults != old else ():
            if service.is_out:
                logger.error("the configuration cannot be loaded; %s: services.%s: %s", effect, name, fault)
            else:
                logger.warning("a secret cannot be read: services.%s: %s", name, fault)
        if old and not service.faults:
            logger.info("the service %s can be loaded again", name)
    for fault in loaded.faults if before is None or loaded.faults != before.faults else ():
        logger.error("a part of the configuration cannot be loaded: %s", fault)


class Reloader:
    """Polls the configuration's version every `interval` seconds and loads the configuration when it changes.

    It is also loaded when `secrets_changed` returns true at a poll, and every `full_every` seconds, since bulk updates
    do not change the version; less often where loads take long, at most FULL_SHARE of the time. `load`, `version` and
    `secrets_changed` block and run in a thread of the reloader's own; `swap` and `on_fault` are called in the event
    loop. `clock` returns Unix time.
    """

    def __init__(
        self,
        load: Callable[[], LoadedConfiguration],
        version: Callable[[], int],
        swap: Callable[[LoadedConfiguration], None],
        *,
        clock: Callable[[], float],
        secrets_changed: Callable[[], bool] = lambda: False,
        interval: float = 0.75,
        full_every: float = 10.0,
        on_fault: Callable[[Exception], None] = log_fault,
    ) -> None:
        self.status = Status()
        self._load, self._version, self._swap = load, version, swap
        self._secrets_changed = secrets_changed
        self._clock, self._interval, self._full_every = clock, interval, full_every
        self._on_fault = on_fault
        self._loaded: LoadedConfiguration | None = None
        self._seen_version: int | None = None
        self._loaded_at = self._load_seconds = 0.0
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(1, "configuration")

    def wake(self) -> None:
        """Check now. Thread-safe; has no effect while `run` is not running."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Check until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await self.check()
                await asyncio.sleep(PAUSE_SECONDS)
                await self._wait()
        finally:
            self._loop = None
            self._thread.shutdown(wait=False)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._interval):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    async def check(self) -> None:
        """Load the configuration if it or a secret has changed, or the last load is `full_every` seconds old."""
        try:
            version, has_new_secrets = await self._in_thread(self._poll)
            is_due = not 0 <= self._clock() - self._loaded_at < max(self._full_every, self._load_seconds / FULL_SHARE)
            if version != self._seen_version or has_new_secrets or is_due:
                await self._reload(version)
        except Exception as error:  # noqa: BLE001 - the last valid configuration stays in use
            self._failed(error)

    def _poll(self) -> tuple[int, bool]:
        return self._version(), self._secrets_changed()

    async def _reload(self, version: int) -> None:
        self._seen_version, self._loaded_at = version, self._clock()
        loaded = await self._in_thread(self._load)
        self._load_seconds = max(0.0, self._clock() - self._loaded_at)
        if loaded != self._loaded:
            log_faults(loaded, self._loaded)
            self._swap(loaded)
            self._loaded = loaded
        self._seen_version = loaded.version
        if self.status.fault is not None:
            logger.info("the configuration can be loaded again")
        self.status = Status(version=loaded.version)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, ConfigurationError):
            # A faulty configuration is retried when its version changes; a failing database, at the next check.
            self._seen_version = None
        fault = f"{type(error).__name__}: {error}"
        if fault != self.status.fault:
            self.status = msgspec.structs.replace(self.status, fault=fault)
            self._on_fault(error)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

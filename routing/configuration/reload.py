"""Keeps a worker's configuration up to date, by being told and by looking, and never worse than the last good one."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from routing.configuration.faults import ConfigurationError
from routing.router.live import LoadedConfiguration

Value = TypeVar("Value")
logger = logging.getLogger(__name__)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What is being served: its version, when it was read (Unix time), and why nothing newer is, if so."""

    version: int | None = None
    loaded_at: float | None = None
    fault: str | None = None


def log_fault(error: Exception) -> None:
    """The fault's own words; they never hold a header's value or a key."""
    logger.error("the configuration cannot be loaded, the last good one serves on: %s", error)


class Reloader:
    """Reads the configuration again when its version moves, and now and then in any case.

    `load` and `version` block, and are run in one thread of the reloader's own; `swap` and `on_fault` are called in
    the event loop. `interval` and `full_every` are seconds; `clock` gives Unix time.
    """

    def __init__(
        self,
        load: Callable[[], LoadedConfiguration],
        version: Callable[[], int],
        swap: Callable[[LoadedConfiguration], None],
        *,
        clock: Callable[[], float],
        interval: float = 0.75,
        full_every: float = 10.0,
        on_fault: Callable[[Exception], None] = log_fault,
    ) -> None:
        self.status = Status()
        self._load, self._version, self._swap = load, version, swap
        self._clock, self._interval, self._full_every = clock, interval, full_every
        self._on_fault = on_fault
        self._serving: LoadedConfiguration | None = None
        self._seen: int | None = None
        self._read_at = 0.0
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(1, "configuration")

    def wake(self) -> None:
        """Something changed: look now. May be called from any thread, also when `run` does not."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await self.check()
                await self._pause()
        finally:
            self._loop = None
            self._thread.shutdown(wait=False)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._interval):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    async def check(self) -> None:
        """One look: reads everything when the version moved or the last full read is long ago."""
        try:
            version = await self._in_thread(self._version)
            if version != self._seen or not 0 <= self._clock() - self._read_at < self._full_every:
                await self._reload(version)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the last good configuration serves on
            self._failed(error)

    async def _reload(self, version: int) -> None:
        self._seen, self._read_at = version, self._clock()
        loaded = await self._in_thread(self._load)
        if loaded != self._serving:
            self._swap(loaded)
            self._serving = loaded
        self._seen = loaded.table.version
        if self.status.fault is not None:
            logger.info("the configuration loads again")
        self.status = Status(version=loaded.table.version, loaded_at=self._clock())

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, ConfigurationError):
            # A bad configuration stays bad until something moves; a database that went away may be back in a moment.
            self._seen = None
        fault = f"{type(error).__name__}: {error}"
        if fault != self.status.fault:
            self.status = msgspec.structs.replace(self.status, fault=fault)
            self._on_fault(error)

    async def _in_thread(self, read: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._thread, read)

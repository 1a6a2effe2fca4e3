"""The database file of this process, read again when it has been replaced."""

import asyncio
import logging
from pathlib import Path
from typing import Final

from resilience.throttled_log import ThrottledLog
from routing.countries.database import CountryDatabase, FileState, file_state, open_database
from routing.countries.lookup import CountryLookup, Find

log = logging.getLogger(__name__)

CHECK_SECONDS: Final = 10.0


class CountryFile:
    """`countries` looks addresses up in the file at `path`. All methods but `run` block."""

    def __init__(self, path: Path, countries: CountryLookup) -> None:
        self._path = path
        self._countries = countries
        self._loaded: FileState | None = None
        self._seen: FileState | None = None
        self._warn = ThrottledLog(log).warning

    def open(self) -> Find:
        """Raises ValueError, which names the file."""
        try:
            return self._open().find
        except (OSError, ValueError) as error:
            raise ValueError(f"{self._path}: {getattr(error, 'strerror', None) or error}") from None

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await asyncio.to_thread(self.check)
            except Exception:
                log.exception("the check of the database of countries failed")

    def check(self) -> None:
        """Read the file if it has changed, and has not changed since the last check: it may still be written.

        One that is missing or damaged leaves the last one in use.
        """
        try:
            state = file_state(self._path)
            if state == self._loaded:
                return
            if state != self._seen:
                self._seen = state
                return
            found = self._open()
        except (OSError, ValueError) as error:
            self._warn("the database of countries cannot be read; the last one stays in use", str(error))
            return
        self._countries.use(found.find)
        log.info("read the database of countries again: %s", found.kind)

    def _open(self) -> CountryDatabase:
        found = open_database(self._path)
        self._loaded = found.state
        return found

"""A file that is read again when it was replaced or overwritten."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from resilience.throttled_log import ThrottledLog

log = logging.getLogger(__name__)

CHECK_SECONDS: Final = 10.0
FileState = tuple[int, int, int]
"""What differs when a file was replaced or written: its inode, size and time of modification."""


class WatchedFile:
    """`use` is called with the content, and raises ValueError if it is invalid: the previous content stays in use then.
    `name` is for the log. All methods but `run` block.
    """

    def __init__(self, path: Path, use: Callable[[bytes], None], name: str) -> None:
        self._path = path
        self._use = use
        self._name = name
        self._loaded: FileState | None = None
        self._seen: FileState | None = None
        self._warn = ThrottledLog(log).warning

    def load(self) -> None:
        """Raises ValueError, which names the file."""
        try:
            self._read()
        except (OSError, ValueError) as error:
            raise ValueError(f"{self._path}: {getattr(error, 'strerror', None) or error}") from None

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await asyncio.to_thread(self.check)
            except Exception:
                log.exception("%s cannot be checked", self._path)

    def check(self) -> None:
        """Read the file if it has changed, and has not changed since the last check: it may still be written.

        One that is missing or damaged leaves the last one in use.
        """
        try:
            state = _state(self._path)
            if state == self._loaded:
                return
            if state != self._seen:
                self._seen = state
                return
            self._read()
        except (OSError, ValueError) as error:
            self._warn(f"{self._name} cannot be read again; the last one stays in use", str(error))
            return
        log.info("%s was read again", self._name)

    def _read(self) -> None:
        before = _state(self._path)
        content = self._path.read_bytes()
        if _state(self._path) != before:
            raise ValueError("the file is being written")
        self._use(content)
        self._loaded = before


def _state(path: Path) -> FileState:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns

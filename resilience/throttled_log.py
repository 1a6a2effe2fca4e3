"""Warnings that would otherwise be repeated with each request."""

import logging
import time
from typing import Final

WARNING_SECONDS: Final = 60.0
"""How often one warning is repeated."""


class ThrottledLog:
    """Logs each message at most once in WARNING_SECONDS, whatever its detail."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._next: dict[str, float] = {}

    def warning(self, message: str, detail: str) -> None:
        now = time.monotonic()
        if now >= self._next.get(message, now):
            self._next[message] = now + WARNING_SECONDS
            self._log.warning("%s: %s", message, detail)

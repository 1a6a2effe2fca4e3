"""Addresses that send signatures which are not valid: verifying one takes longer than refusing it."""

from typing import Final

MAX_FAILURES: Final = 100
"""Failures of one address within a window, after which none of its signatures is verified until the window ends."""
WINDOW_SECONDS: Final = 60.0
MAX_ADDRESSES: Final = 10_000


class Failures:
    """Counts by address in one process, of at most MAX_ADDRESSES. Times are Unix time."""

    def __init__(self) -> None:
        self._began = 0.0
        self._counts: dict[str, int] = {}

    def are_too_many(self, address: str, now: float) -> bool:
        return self._counts.get(address, 0) >= MAX_FAILURES and now < self._began + WINDOW_SECONDS

    def add(self, address: str, now: float) -> None:
        """Beyond MAX_ADDRESSES, further addresses are not counted until the window ends."""
        if not self._began <= now < self._began + WINDOW_SECONDS:
            self._began, self._counts = now, {}
        if address in self._counts or len(self._counts) < MAX_ADDRESSES:
            self._counts[address] = self._counts.get(address, 0) + 1

"""How many calls may be repeated, as a share of all: so that retries never multiply a backend's trouble."""

from typing import Final

RESERVE: Final = 10.0
"""Repeats that a service begins with."""
MOST_SAVED: Final = 100.0
"""Repeats that may be saved up, for the moment in which a target with many calls in flight goes away."""


class RetryBudget:
    """Each call earns `share` of a repeat; each repeat costs one. Per service and worker."""

    __slots__ = ("_saved",)

    def __init__(self) -> None:
        self._saved = RESERVE

    def earn(self, share: float) -> None:
        if self._saved < MOST_SAVED:
            self._saved += share

    def spend(self, share: float) -> bool:
        """Whether one more repeat is within the budget; of no share, none is."""
        if self._saved < 1 or not share:
            return False
        self._saved -= 1
        return True

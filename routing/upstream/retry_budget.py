"""A budget of retries as a share of calls, so that retries never multiply a backend's load."""

from typing import Final

RESERVE: Final = 10.0
"""Retries that a service starts with."""
MAX_BALANCE: Final = 100.0
"""Retries that may accumulate, for the moment a target with many calls in flight goes away."""


class RetryBudget:
    """Each call deposits `share` of a retry; each retry withdraws one. Per service and worker."""

    __slots__ = ("_balance",)

    def __init__(self) -> None:
        self._balance = RESERVE

    def deposit(self, share: float) -> None:
        if self._balance < MAX_BALANCE:
            self._balance += share

    def withdraw(self, share: float) -> bool:
        """Whether one more retry is within the budget. None is where `share` is 0."""
        if self._balance < 1 or not share:
            return False
        self._balance -= 1
        return True

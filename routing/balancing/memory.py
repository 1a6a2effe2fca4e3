"""Verdicts in this process: for a single worker, for tests, and while the shared store is unavailable."""

import time
from collections.abc import Callable, Mapping

from routing.balancing.rules import HealthVerdict


class MemoryStore:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._leader = ""
        self._lease_ends = float("-inf")
        self._verdicts: Mapping[str, HealthVerdict] = {}

    async def lead(self, holder: str, seconds: float) -> bool:
        if self._leads(holder) or self._clock() >= self._lease_ends:
            self._leader, self._lease_ends = holder, self._clock() + seconds
        return self._leads(holder)

    async def load(self) -> Mapping[str, HealthVerdict]:
        return self._verdicts

    async def save(self, holder: str, verdicts: Mapping[str, HealthVerdict]) -> bool:
        if not self._leads(holder):
            return False
        self.put(verdicts)
        return True

    def put(self, verdicts: Mapping[str, HealthVerdict]) -> None:
        self._verdicts = dict(verdicts)

    def _leads(self, holder: str) -> bool:
        return holder == self._leader and self._clock() < self._lease_ends

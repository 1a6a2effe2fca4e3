"""The ports to the shared counters and to the database they are saved in, and counters in this process."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from resilience.usage.counter import Allowance, Counter, Missing, Take, adjust, take


class Store(Protocol):
    """Shared counters, by key. Raises StoreUnavailable, and Missing for a counter that was never filled.

    `now` is by this worker's clock; a shared store uses its own. `take` and `adjust` are those of counter.py.
    """

    @property
    def unavailable(self) -> bool: ...

    async def take(self, key: str, quota: Allowance, wanted: int, spare: int, now: float) -> Take: ...

    async def adjust(self, key: str, quota: Allowance, used: int | None, extra: int, now: float) -> Take: ...

    async def fill(self, key: str, counter: Counter) -> str:
        """Set a counter, unless another worker has. Return the generation that it has."""

    async def settle(self, key: str, generation: str, since: int, count: int) -> bool:
        """Count what was counted elsewhere, if the counter is of this generation and has not begun again. False if
        there is no counter.

        Not below zero: tokens that are given back after a reset were uncounted by it.
        """


class Delta(msgspec.Struct):
    """What was counted and is not saved yet. `generation` is empty if it was counted while the store was unavailable.

    `lowered`: `warned` may be less than before, since requests were refunded.
    """

    key: str
    since: int
    generation: str
    ends: int
    count: int = 0
    extra: int = 0
    warned: int = 0
    lowered: bool = False


class Ledger(Protocol):
    """The database. Raises StoreUnavailable."""

    async def read(self, key: str) -> Counter: ...

    async def begin(self, keys: Sequence[str], generation: str) -> list[Counter]:
        """The saved counters, which are of this generation from now on."""

    async def adopt(self, generation: str, others: Mapping[str, str]) -> None:
        """Give counters that were begun with this generation the one that the store has, by key: another worker has
        filled them.
        """

    async def save(self, deltas: Sequence[Delta]) -> list[str]:
        """Add them to the saved counters, and return each one's generation."""


class MemoryStore:
    unavailable = False

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}

    async def take(self, key: str, quota: Allowance, wanted: int, spare: int, now: float) -> Take:  # noqa: ARG002 - one worker needs none to spare
        return take(self._counter(key), quota, wanted, 0, now)

    async def adjust(self, key: str, quota: Allowance, used: int | None, extra: int, now: float) -> Take:
        return adjust(self._counter(key), quota, used, extra, now)

    async def fill(self, key: str, counter: Counter) -> str:
        return self._counters.setdefault(key, counter).generation

    async def settle(self, key: str, generation: str, since: int, count: int) -> bool:
        counter = self._counters.get(key)
        if counter is not None and (counter.generation, counter.since) == (generation, since):
            counter.used = max(0, counter.used + count)
        return counter is not None

    def _counter(self, key: str) -> Counter:
        counter = self._counters.get(key)
        if counter is None:
            raise Missing
        return counter

"""The port to the store of failures, and the store of a single process."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from metrics.failures.failure import KEPT, Failure

MAX_CONSUMERS: Final = 2_000
"""Whose failures one process remembers: those who failed last. With 20 each, at most some 30 MB."""


class Store(Protocol):
    """Consumers are told apart by their row's id. Raises StoreUnavailable if a shared store cannot be reached."""

    async def add(self, failures: Mapping[int, Sequence[Failure]]) -> None:
        """Add failures of several consumers, the latest last."""

    async def read(self, consumer: int) -> list[Failure]:
        """At most KEPT of the latest."""


class MemoryStore:
    def __init__(self) -> None:
        self._kept: OrderedDict[int, list[Failure]] = OrderedDict()

    async def add(self, failures: Mapping[int, Sequence[Failure]]) -> None:
        for consumer, added in failures.items():
            self._kept[consumer] = [*self._kept.pop(consumer, ()), *added][-KEPT:]
        while len(self._kept) > MAX_CONSUMERS:
            self._kept.popitem(last=False)

    async def read(self, consumer: int) -> list[Failure]:
        return list(self._kept.get(consumer, ()))

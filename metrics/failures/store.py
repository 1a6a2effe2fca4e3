"""The port to the store of failures, and the store of a single process."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from metrics.failures.failure import KEPT, Failure

MAX_LISTS: Final = 2_000
"""The most consumers and services whose failures one process remembers: those that failed last. With 20 each, at most
some 30 MB.
"""


class Store(Protocol):
    """Lists of failures by their owners' names. Raises StoreUnavailable if a shared store cannot be reached."""

    async def add(self, failures: Mapping[str, Sequence[Failure]]) -> None:
        """Add to several lists, the latest last."""

    async def read(self, owner: str) -> list[Failure]:
        """At most KEPT of the latest."""


class MemoryStore:
    def __init__(self) -> None:
        self._kept: OrderedDict[str, list[Failure]] = OrderedDict()

    async def add(self, failures: Mapping[str, Sequence[Failure]]) -> None:
        for owner, added in failures.items():
            self._kept[owner] = [*self._kept.pop(owner, ()), *added][-KEPT:]
        while len(self._kept) > MAX_LISTS:
            self._kept.popitem(last=False)

    async def read(self, owner: str) -> list[Failure]:
        return list(self._kept.get(owner, ()))

"""Hold-offs in this process: for a single worker, for tests, and for a worker that has lost the shared store."""

from collections.abc import Callable

from resilience.holdoff.rules import HoldOff, Swap
from resilience.partition import Partition


class MemoryStore:
    def __init__(self) -> None:
        self._stored: dict[Partition, HoldOff] = {}
        self._listeners: list[Callable[[Partition, HoldOff | None], None]] = []

    async def load(self) -> dict[Partition, HoldOff]:
        return dict(self._stored)

    async def swap(self, partition: Partition, before: HoldOff | None, after: HoldOff | None) -> Swap:
        if self._stored.get(partition) != before:
            return Swap(False, self._stored.get(partition))
        self.put(partition, after)
        for listener in self._listeners:
            listener(partition, after)
        return Swap(True, after)

    def listen(self, listener: Callable[[Partition, HoldOff | None], None]) -> None:
        self._listeners.append(listener)

    def put(self, partition: Partition, after: HoldOff | None) -> None:
        if after is None:
            self._stored.pop(partition, None)
        else:
            self._stored[partition] = after

    def clear(self) -> None:
        self._stored.clear()

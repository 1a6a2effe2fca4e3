"""The port to the store of shared hold-offs, and a wrapper for when it is unavailable."""

from collections.abc import Callable, Mapping
from typing import Protocol

from resilience.holdoff.memory import MemoryStore
from resilience.holdoff.rules import HoldOff, Swap
from resilience.outage import StoreUnavailable
from resilience.partition import Partition

Listener = Callable[[Partition, HoldOff | None], None]


class Store(Protocol):
    """Hold-offs by partition. Raises StoreUnavailable."""

    async def load(self) -> Mapping[Partition, HoldOff] | None:
        """All hold-offs; None if they are as they were at the last call."""

    async def swap(self, partition: Partition, before: HoldOff | None, after: HoldOff | None) -> Swap:
        """Store `after` (None: nothing) if `before` is stored."""

    def listen(self, listener: Listener) -> None:
        """Call `listener` with each change, by any worker, in their order. It may come before the reply to a `swap` or
        `load` that was processed earlier.
        """


class FailOpen:
    """A store that never fails: while the shared one is unavailable, this worker holds off on its own."""

    def __init__(self, shared: Store) -> None:
        self.degraded = False
        self._shared = shared
        self._local = MemoryStore()

    async def load(self) -> Mapping[Partition, HoldOff] | None:
        """The shared hold-offs, once those of this worker have been written to them."""
        try:
            for partition, own in (await self._local.load()).items():
                if (await self._shared.swap(partition, None, own)).made:
                    self._local.put(partition, None)
            loaded = await self._shared.load()
        except StoreUnavailable:
            self.degraded = True
            return None
        self._local.clear()
        self.degraded = False
        return loaded

    async def swap(self, partition: Partition, before: HoldOff | None, after: HoldOff | None) -> Swap:
        try:
            return await self._shared.swap(partition, before, after)
        except StoreUnavailable:
            self.degraded = True
            self._local.put(partition, after)
            return Swap(True, after)

    def listen(self, listener: Listener) -> None:
        self._shared.listen(listener)

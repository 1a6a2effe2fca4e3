"""Where the cluster keeps its circuits, and what a worker does when it cannot be reached."""

from collections.abc import Callable, Sequence
from typing import Protocol

from resilience.breaker.machine import Snapshot
from resilience.breaker.memory import MemoryStore
from resilience.outage import StoreUnavailable

SnapshotListener = Callable[[str, Snapshot], None]


class Store(Protocol):
    """Snapshots by name; one never written is `Snapshot()`. Raises StoreUnavailable."""

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        """The snapshots of `names`, in that order."""

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        """Store `after` if `before` is what is stored, and give None; else give what is stored instead.

        Not `after` itself: two workers may want the very same snapshot, and only one of them has won.
        """

    def listen(self, listener: SnapshotListener) -> None:
        """Call `listener` with each snapshot of a new generation, whoever stored it."""


class FailOpen:
    """A store that never fails: while the shared one is away, this worker decides alone on what it knew last.

    Snapshots that were moved on alone have higher generations than the shared ones, and are pushed up on return.
    """

    def __init__(self, shared: Store) -> None:
        self.degraded = False
        self._shared = shared
        self._known = MemoryStore()

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        try:
            shared = await self._shared.load(names)
            newest = [await self._newest(name, stored) for name, stored in zip(names, shared, strict=True)]
        except StoreUnavailable:
            self.degraded = True
            return await self._known.load(names)
        self.degraded = False
        return newest

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        try:
            stored = await self._shared.swap(name, before, after)
            while stored is not None and stored.generation < before.generation:
                stored = await self._shared.swap(name, stored, after)
        except StoreUnavailable:
            self.degraded = True
            self._known.put(name, before)
            return await self._known.swap(name, before, after)
        self.degraded = False
        self._known.put(name, after if stored is None else stored)
        return stored

    def listen(self, listener: SnapshotListener) -> None:
        def heard(name: str, snapshot: Snapshot) -> None:
            self._known.put(name, snapshot)
            listener(name, snapshot)

        self._shared.listen(heard)

    async def _newest(self, name: str, stored: Snapshot) -> Snapshot:
        known = self._known.get(name)
        while stored.generation < known.generation:
            winner = await self._shared.swap(name, stored, known)
            stored = known if winner is None else winner
        self._known.put(name, stored)
        return stored

"""The port to the store of shared circuits, and a wrapper for when it is unavailable."""

from collections.abc import Callable, Sequence
from typing import Protocol

from resilience.breaker.machine import Snapshot
from resilience.breaker.memory import MemoryStore
from resilience.outage import StoreUnavailable

SnapshotListener = Callable[[str, Snapshot], None]


class Store(Protocol):
    """Snapshots by service name, `Snapshot()` where none is stored. Raises StoreUnavailable."""

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        """The snapshots of `names`, in that order."""

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        """Store `after` and return None if `before` is stored; else return the stored snapshot.

        The return value says who won even where two workers try to store equal snapshots.
        """

    def listen(self, listener: SnapshotListener) -> None:
        """Call `listener` with each snapshot of a new version, by any worker."""


class FailOpen:
    """A store that never fails: while the shared one is unavailable, this worker continues on its own copy.

    Transitions made meanwhile have higher versions than the shared snapshots, and are stored there afterwards.
    """

    def __init__(self, shared: Store) -> None:
        self.degraded = False
        self._shared = shared
        self._local = MemoryStore()

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        try:
            shared = await self._shared.load(names)
            newest = [await self._newest(name, stored) for name, stored in zip(names, shared, strict=True)]
        except StoreUnavailable:
            self.degraded = True
            return await self._local.load(names)
        self.degraded = False
        return newest

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        try:
            stored = await self._shared.swap(name, before, after)
            while stored is not None and stored.version < before.version:
                stored = await self._shared.swap(name, stored, after)
        except StoreUnavailable:
            self.degraded = True
            self._local.put(name, before)
            return await self._local.swap(name, before, after)
        self.degraded = False
        self._local.put(name, after if stored is None else stored)
        return stored

    def listen(self, listener: SnapshotListener) -> None:
        def on_snapshot(name: str, snapshot: Snapshot) -> None:
            self._local.put(name, snapshot)
            listener(name, snapshot)

        self._shared.listen(on_snapshot)

    async def _newest(self, name: str, stored: Snapshot) -> Snapshot:
        local = self._local.get(name)
        while stored.version < local.version:
            winner = await self._shared.swap(name, stored, local)
            stored = local if winner is None else winner
        self._local.put(name, stored)
        return stored

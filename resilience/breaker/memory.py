"""Circuits in this process: for a single worker, for tests, and for a worker that has lost the shared store."""

from collections.abc import Callable, Sequence

from resilience.breaker.machine import Snapshot


class MemoryStore:
    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._listeners: list[Callable[[str, Snapshot], None]] = []

    async def load(self, names: Sequence[str]) -> list[Snapshot]:
        return [self.get(name) for name in names]

    async def swap(self, name: str, before: Snapshot, after: Snapshot) -> Snapshot | None:
        stored = self.get(name)
        if stored != before:
            return stored
        self._snapshots[name] = after
        if after.version != before.version:
            for listener in self._listeners:
                listener(name, after)
        return None

    def listen(self, listener: Callable[[str, Snapshot], None]) -> None:
        self._listeners.append(listener)

    def get(self, name: str) -> Snapshot:
        return self._snapshots.get(name, Snapshot())

    def put(self, name: str, snapshot: Snapshot) -> None:
        """Store a snapshot from elsewhere, unless it is of an earlier version."""
        if snapshot.version >= self.get(name).version:
            self._snapshots[name] = snapshot

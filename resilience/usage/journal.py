"""What this worker has counted and not saved yet, and what the shared counters do not contain yet."""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from resilience.usage.counter import Counter
from resilience.usage.store import Delta, Ledger, Store

_SETTLED_AT_ONCE: Final = 32
_TRIES: Final = 5
"""How many seconds a count waits for its counter, which another worker may be about to fill without it."""


class _Count(NamedTuple):
    """What the store has not counted."""

    key: str
    generation: str
    since: int
    number: int
    tries: int = 1


class Journal:
    """Saved in batches. Requests counted under a generation other than the database's are missing in the store: it was
    unavailable, or was filled before they were saved.
    """

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store, self._ledger = store, ledger
        self._unsaved: dict[tuple[str, int, str], Delta] = {}
        self._unsettled: list[_Count] = []
        self._waiting: list[_Count] = []
        self._saving = asyncio.Lock()

    def count(
        self, key: str, counter: Counter, count: int, *, extra: int = 0, local: bool = False, lowered: bool = False
    ) -> None:
        """Note that `count` requests were counted, and how much the limit was raised by."""
        generation = "" if local else counter.generation
        place = key, counter.since, generation
        delta = self._unsaved.get(place)
        if delta is None:
            delta = self._unsaved[place] = Delta(key, counter.since, generation, counter.ends)
        delta.count += count
        delta.extra += extra
        delta.ends, delta.warned = counter.ends, counter.warned
        delta.lowered |= lowered

    async def flush(self) -> None:
        """Save, then settle. Raises StoreUnavailable; what could not be done is kept for the next call."""
        async with self._saving:
            unsaved, self._unsaved = self._unsaved, {}
            deltas = list(unsaved.values())
            if deltas:
                try:
                    generations = await self._ledger.save(deltas)
                except BaseException:
                    self._keep(deltas)
                    raise
                self._unsettled += [
                    _Count(delta.key, generation, delta.since, delta.count)
                    for delta, generation in zip(deltas, generations, strict=True)
                    if generation and generation != delta.generation and delta.count
                ]
            while self._unsettled:
                await self._settle(self._unsettled[:_SETTLED_AT_ONCE])

    async def retry(self) -> None:
        """Flush, with the counts whose counters were missing. Called every second."""
        waiting, self._waiting = self._waiting, []
        self._unsettled += waiting
        await self.flush()

    async def _settle(self, counts: Sequence[_Count]) -> None:
        """Settle the first counts of `_unsettled`, and forget those that succeed. Raises StoreUnavailable."""
        results = await asyncio.gather(*(self._store.settle(*count[:4]) for count in counts), return_exceptions=True)
        failed = [count for count, result in zip(counts, results, strict=True) if isinstance(result, BaseException)]
        self._unsettled[: len(counts)] = failed
        missed = [count for count, result in zip(counts, results, strict=True) if result is False]
        self._waiting += [count._replace(tries=count.tries + 1) for count in missed if count.tries < _TRIES]
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _keep(self, deltas: list[Delta]) -> None:
        for delta in deltas:
            place = delta.key, delta.since, delta.generation
            later = self._unsaved.get(place)
            if later is None:
                self._unsaved[place] = delta
            else:
                later.count += delta.count
                later.extra += delta.extra

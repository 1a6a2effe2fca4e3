"""Fills counters that the shared store lacks from the database: after a restart of Redis, those of all callers."""

import asyncio
from collections.abc import Sequence
from secrets import token_hex

from resilience.batcher import Batcher
from resilience.usage.journal import Journal
from resilience.usage.store import Ledger, Store


class Filling:
    """Counters that are missing at the same time are read in one transaction."""

    def __init__(self, store: Store, ledger: Ledger, journal: Journal) -> None:
        self._store, self._ledger, self._journal = store, ledger, journal
        self._fills: Batcher[str, None] = Batcher(self._fill_all)

    async def fill(self, key: str) -> None:
        """Set the store's counter from the database. Raises StoreUnavailable."""
        await self._fills.submit("", key)

    async def _fill_all(self, _group: str, keys: Sequence[str]) -> list[None]:
        await self._journal.flush()
        generation = token_hex(8)
        counters = await self._ledger.begin(keys, generation)
        found = await asyncio.gather(*(self._store.fill(*pair) for pair in zip(keys, counters, strict=True)))
        others = {key: other for key, other in zip(keys, found, strict=True) if other != generation}
        if others:
            await self._ledger.adopt(generation, others)
        return [None] * len(keys)

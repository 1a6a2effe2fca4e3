"""The queue of a gateway of one process, without Redis."""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import count
from typing import Final

from routing.webhooks.content import DeliveryIdentity
from routing.webhooks.queue import MAX_BYTES, MAX_DELIVERIES, Added, Entry

WAIT_SECONDS: Final = 0.25
MAX_REMEMBERED: Final = 100_000
"""The most identities that are remembered; the oldest are forgotten first."""


class MemoryQueue:
    """`clock` is Unix time."""

    def __init__(
        self, clock: Callable[[], float], *, max_deliveries: int = MAX_DELIVERIES, max_bytes: int = MAX_BYTES
    ) -> None:
        self._clock = clock
        self._max_deliveries, self._max_bytes = max_deliveries, max_bytes
        self._numbers = count(1)
        self._waiting: list[tuple[float, int, Entry]] = []
        self._taken: dict[str, Entry] = {}
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._bytes = 0
        self._added = asyncio.Event()

    async def add(self, identity: DeliveryIdentity | None, data: bytes) -> Added:
        now = self._clock()
        if identity is not None and self._seen.get(identity.key, 0.0) > now:
            return Added.DUPLICATE
        if len(self._waiting) + len(self._taken) >= self._max_deliveries or self._bytes + len(data) > self._max_bytes:
            return Added.FULL
        if identity is not None:
            self._seen[identity.key] = now + identity.seconds
            self._seen.move_to_end(identity.key)
            if len(self._seen) > MAX_REMEMBERED:
                self._seen.popitem(last=False)
        self._put(data, now)
        return Added.QUEUED

    async def take(self, limit: int) -> list[Entry]:
        if not self._is_due():
            self._added.clear()
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._added.wait()
            except TimeoutError:
                pass
        entries = list[Entry]()
        while self._is_due() and len(entries) < limit:
            entry = heapq.heappop(self._waiting)[2]
            self._taken[entry.id] = entry
            entries.append(entry)
        return entries

    async def keep(self, entries: Iterable[Entry]) -> None:
        """Nothing to do: there is no other worker."""

    async def done(self, entry: Entry) -> None:
        if self._taken.pop(entry.id, None) is not None:
            self._bytes -= len(entry.data)

    async def put_back(self, entry: Entry, data: bytes, seconds: float) -> None:
        await self.done(entry)
        self._put(data, self._clock() + seconds)

    async def depth(self) -> int:
        return len(self._waiting) + len(self._taken)

    async def close(self) -> list[bytes]:
        left = [*self._taken.values(), *(entry for _, _, entry in sorted(self._waiting))]
        self._taken.clear()
        self._waiting.clear()
        return [entry.data for entry in left]

    def _put(self, data: bytes, due: float) -> None:
        number = next(self._numbers)
        heapq.heappush(self._waiting, (due, number, Entry(str(number), data)))
        self._bytes += len(data)
        self._added.set()

    def _is_due(self) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= self._clock()

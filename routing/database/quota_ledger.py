"""What is used of quotas, in the database: read and written in a thread of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import transaction

from resilience.outage import StoreUnavailable
from resilience.usage.counter import Counter
from resilience.usage.store import Delta
from routing.database.connection import in_thread
from routing.models import QuotaUsage

T = TypeVar("T")


class QuotaLedger:
    """Raises StoreUnavailable while the database is unavailable."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "quotas")

    async def read(self, key: str) -> Counter:
        return await self._run(lambda: _counter(QuotaUsage.objects.filter(counter=key).first() or QuotaUsage()))

    async def begin(self, key: str, generation: str) -> Counter:
        return await self._run(lambda: _begin(key, generation))

    async def save(self, deltas: Sequence[Delta]) -> list[str]:
        return await self._run(lambda: _save(deltas))

    def close(self) -> None:
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T]) -> T:
        return await in_thread(call, StoreUnavailable, self._thread)


def _counter(row: QuotaUsage) -> Counter:
    return Counter(row.used, row.extra, row.since, row.ends, row.warned, row.generation)


def _begin(key: str, generation: str) -> Counter:
    with transaction.atomic():
        row = _locked(key)
        row.generation = generation
        row.save(update_fields=["generation"])
    return _counter(row)


def _save(deltas: Sequence[Delta]) -> list[str]:
    generations = {}
    with transaction.atomic():
        for delta in sorted(deltas, key=lambda item: item.key):  # in one order, so that no two transactions deadlock
            row = _locked(delta.key)
            generations[id(delta)] = row.generation
            if delta.since >= row.since:
                _add(row, delta)
                row.save()
    return [generations[id(delta)] for delta in deltas]


def _locked(key: str) -> QuotaUsage:
    row, _ = QuotaUsage.objects.select_for_update().get_or_create(counter=key)
    return row


def _add(row: QuotaUsage, delta: Delta) -> None:
    """What was counted in a later period than the row's begins a new one."""
    if delta.since > row.since:
        row.used = row.extra = row.warned = 0
        row.since = delta.since
    row.used = max(0, row.used + delta.count)
    row.extra = max(0, row.extra + delta.extra)
    row.ends = delta.ends
    row.warned = delta.warned if delta.lowered else max(row.warned, delta.warned)

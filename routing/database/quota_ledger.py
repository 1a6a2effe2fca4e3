"""What is used of quotas, in the database: read and written in a thread of its own."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from django.db import transaction

from resilience.outage import StoreUnavailable
from resilience.usage.counter import Counter
from resilience.usage.store import Delta
from routing.database.connection import in_thread
from routing.models import QuotaUsage

T = TypeVar("T")
_CHUNK: Final = 500
"""The most rows of one statement."""
_FIELDS: Final = ("used", "extra", "since", "ends", "warned", "generation")


class QuotaLedger:
    """Raises StoreUnavailable while the database is unavailable."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "quotas")

    async def read(self, key: str) -> Counter:
        return await self._run(lambda: _counter(QuotaUsage.objects.filter(counter=key).first() or QuotaUsage()))

    async def begin(self, keys: Sequence[str], generation: str) -> list[Counter]:
        return await self._run(lambda: _begin(keys, generation))

    async def adopt(self, generation: str, others: Mapping[str, str]) -> None:
        await self._run(lambda: _adopt(generation, others))

    async def save(self, deltas: Sequence[Delta]) -> list[str]:
        return await self._run(lambda: _save(deltas))

    def close(self) -> None:
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T]) -> T:
        return await in_thread(call, StoreUnavailable, self._thread)


def _counter(row: QuotaUsage) -> Counter:
    return Counter(row.used, row.extra, row.since, row.ends, row.warned, row.generation)


def _begin(keys: Sequence[str], generation: str) -> list[Counter]:
    _create_missing(keys)
    with transaction.atomic():
        rows = _locked(keys)
        for row in rows.values():
            row.generation = generation
        _write(rows.values())
    return [_counter(rows[key]) for key in keys]


def _adopt(generation: str, others: Mapping[str, str]) -> None:
    for key, other in sorted(others.items()):
        QuotaUsage.objects.filter(counter=key, generation=generation).update(generation=other)


def _save(deltas: Sequence[Delta]) -> list[str]:
    keys = [delta.key for delta in deltas]
    _create_missing(keys)
    with transaction.atomic():
        rows = _locked(keys)
        for delta in deltas:
            if delta.since >= rows[delta.key].since:
                _add(rows[delta.key], delta)
        _write(rows.values())
    return [rows[delta.key].generation for delta in deltas]


def _create_missing(keys: Iterable[str]) -> None:
    """In one order, so that no two workers wait for each other."""
    for chunk in _chunks(keys):
        present = set(QuotaUsage.objects.filter(counter__in=chunk).values_list("counter", flat=True))
        missing = [QuotaUsage(counter=key) for key in chunk if key not in present]
        QuotaUsage.objects.bulk_create(missing, ignore_conflicts=True)


def _locked(keys: Iterable[str]) -> dict[str, QuotaUsage]:
    """The rows, locked until the transaction ends, in one order as well."""
    found: dict[str, QuotaUsage] = {}
    for chunk in _chunks(keys):
        rows = QuotaUsage.objects.select_for_update().filter(counter__in=chunk).order_by("counter")
        found |= {row.counter: row for row in rows}
        for key in set(chunk).difference(found):  # deleted meanwhile, as its period ended long ago
            found[key] = QuotaUsage.objects.create(counter=key)
    return found


def _write(rows: Iterable[QuotaUsage]) -> None:
    """Change rows that are locked, many with each statement."""
    values = [QuotaUsage(counter=row.counter, **{name: getattr(row, name) for name in _FIELDS}) for row in rows]
    QuotaUsage.objects.bulk_create(
        values, _CHUNK, update_conflicts=True, unique_fields=["counter"], update_fields=_FIELDS
    )


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    """Distinct keys, sorted."""
    names = sorted(set(keys))
    return (names[index : index + _CHUNK] for index in range(0, len(names), _CHUNK))


def _add(row: QuotaUsage, delta: Delta) -> None:
    """What was counted in a later period than the row's begins a new one."""
    if delta.since > row.since:
        row.used = row.extra = row.warned = 0
        row.since = delta.since
    row.used = max(0, row.used + delta.count)
    row.extra = max(0, row.extra + delta.extra)
    row.ends = delta.ends
    row.warned = delta.warned if delta.lowered else max(row.warned, delta.warned)

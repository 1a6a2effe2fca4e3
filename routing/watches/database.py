"""Watches in the database. Called from the event loop: each call is in a thread."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from django.db.models import Q

from routing.database.connection import in_thread
from routing.models import BackendCredential, Watch
from routing.watches.record import Superseded, Wanted, WatchRecord
from routing.watches.store import LEASE_SECONDS, Account, StoreFailed

T = TypeVar("T")
MAX_ROWS: Final = 50_000
_TIMES: Final = ("expires_at", "renewed_at", "renew_at", "due_at", "failed_at")
_SAVED: Final = (
    *(
        "service",
        "tenant",
        "base",
        "digest",
        "channel",
        "resource_id",
        "resource_uri",
        "failure",
        "detail",
        "failures",
        "stale",
    ),
    *_TIMES,
)


class DatabaseWatches:
    """A WatchStore."""

    async def load(self) -> list[WatchRecord]:
        return await _in_thread(_load)

    async def accounts(self, services: Sequence[str]) -> list[Account]:
        return await _in_thread(partial(_accounts, services))

    async def add(self, wanted: Sequence[Wanted]) -> None:
        await _in_thread(partial(_add, wanted))

    async def claim(self, pk: int, owner: str, now: float) -> WatchRecord | None:
        return await _in_thread(partial(_claim, pk, owner, now))

    async def keep(self, pk: int, owner: str, now: float) -> None:
        await _in_thread(partial(_update, pk, owner, claimed_until=_time(now + LEASE_SECONDS)))

    async def save(self, record: WatchRecord, owner: str) -> bool:
        return await _in_thread(partial(_update, record.pk, owner, **_fields(record)))

    async def release(self, pk: int, owner: str) -> None:
        await _in_thread(partial(_update, pk, owner, claimed_by="", claimed_until=None))

    async def delete(self, pk: int, owner: str) -> None:
        await _in_thread(partial(_delete, pk, owner))


def expedite(watches: Sequence[Watch]) -> int:
    """Let these be renewed by whichever worker looks next; how many there still are."""
    now = datetime.now(UTC)
    return Watch.objects.filter(pk__in=[watch.pk for watch in watches]).update(due_at=now, renew_at=now)


def expedite_all() -> None:
    """Let all watches be renewed at once."""
    now = datetime.now(UTC)
    Watch.objects.update(due_at=now, renew_at=now)


def record_of(row: Watch) -> WatchRecord:
    values: dict[str, Any] = {name: getattr(row, name) for name in _SAVED}
    times = {name: _seconds(values[name]) for name in _TIMES}
    return WatchRecord(
        pk=row.pk,
        webhook=row.webhook,
        subject=row.subject,
        resource=row.resource,
        superseded=_superseded(row.superseded),
        **(values | times),
    )


def _load() -> list[WatchRecord]:
    return [record_of(row) for row in Watch.objects.order_by("due_at", "pk")[:MAX_ROWS]]


def _accounts(services: Sequence[str]) -> list[Account]:
    """A credential whose grant is an account's has a refresh token; others have been used or have failed."""
    rows = BackendCredential.objects.filter(service__in=services).exclude(subject="service")
    used = ~Q(refresh_token="") | Q(fresh_until__isnull=False)
    fields = ("service", "subject", "connected_at", "tenant")
    found = rows.filter(used).values_list(*fields).order_by("service", "subject")
    return [Account(service, subject, _seconds(at), tenant) for service, subject, at, tenant in found]


def _add(wanted: Sequence[Wanted]) -> None:
    now = datetime.now(UTC)
    rows = [
        Watch(
            webhook=each.webhook,
            subject=each.subject,
            resource=each.resource,
            service=each.service,
            tenant=each.tenant,
            digest=each.digest,
            due_at=now,
        )
        for each in wanted
    ]
    Watch.objects.bulk_create(rows, ignore_conflicts=True)


def _claim(pk: int, owner: str, now: float) -> WatchRecord | None:
    """One statement decides. A claim that ends later than any can is of a clock that was wrong."""
    rows = Watch.objects.filter(pk=pk)
    free = Q(claimed_until__isnull=True) | Q(claimed_until__lte=_time(now)) | Q(claimed_by=owner)
    free |= Q(claimed_until__gt=_time(now + 10 * LEASE_SECONDS))
    if not rows.filter(free).update(claimed_by=owner, claimed_until=_time(now + LEASE_SECONDS)):
        return None
    row = rows.first()
    return None if row is None else record_of(row)


def _update(pk: int, owner: str, **fields: Any) -> bool:
    return bool(Watch.objects.filter(pk=pk, claimed_by=owner).update(**fields))


def _delete(pk: int, owner: str) -> None:
    Watch.objects.filter(pk=pk, claimed_by=owner).delete()


def _fields(record: WatchRecord) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(record, name) for name in _SAVED}
    return (
        values | {name: _time(values[name]) for name in _TIMES} | {"superseded": msgspec.to_builtins(record.superseded)}
    )


def _superseded(value: Any) -> tuple[Superseded, ...]:
    """What another program has written is left out: the channels end by themselves."""
    try:
        return msgspec.convert(value, tuple[Superseded, ...])
    except msgspec.ValidationError:
        return ()


def _time(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _seconds(time: datetime | None) -> float:
    return time.timestamp() if time else 0.0


async def _in_thread(work: Callable[[], T]) -> T:
    """Raises StoreFailed."""
    return await in_thread(work, StoreFailed)

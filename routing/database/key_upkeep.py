"""Writes when API keys were used, and finds those that will expire soon. Each call takes a few statements."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from routing.authentication.key_upkeep import ExpiringKey, Unwritten
from routing.authentication.key_usage import LastUse, Uses
from routing.database.connection import thread_connection
from routing.models import ApiKey, RetiredSecret

PAUSE: Final = timedelta(minutes=1)
"""Between two writes of one key's last use, by all workers together."""
BATCH: Final = 500
THRESHOLDS: Final = (1, 7, 14)
"""Days before a key's expiry at which is warned, once each."""
_FIELDS: Final = ("last_used_at", "last_used_from", "last_used_service")


@thread_connection()
def write_uses(keys: Uses, retired: Uses, everything: bool = False) -> Unwritten:
    """Write last uses; unless `everything`, none of a key that was written in the last minute. Returns the others."""
    rows = [
        row
        for prefixes in _batches(keys)
        for row in ApiKey.objects.filter(prefix__in=prefixes).only("prefix", "last_used_at")
    ]
    due = [row for row in rows if everything or _is_due(row.last_used_at, keys[row.prefix])]
    for row in due:
        _set(row, keys[row.prefix])
    ApiKey.objects.bulk_update(due, _FIELDS, batch_size=BATCH)
    due_secrets = _due_secrets(retired, everything)
    for secret in due_secrets:
        _set(secret, retired[secret.digest])
        secret.uses = F("uses") + retired[secret.digest].uses
    RetiredSecret.objects.bulk_update(due_secrets, (*_FIELDS, "uses"), batch_size=BATCH)
    known = {row.prefix for row in rows} - {row.prefix for row in due}
    written = {secret.digest for secret in due_secrets}
    return Unwritten(
        {prefix: keys[prefix] for prefix in known},
        {digest: use for digest, use in retired.items() if digest not in written},
    )


def _due_secrets(retired: Uses, everything: bool) -> list[RetiredSecret]:
    return [
        secret
        for digests in _batches(retired)
        for secret in RetiredSecret.objects.filter(digest__in=digests).only("digest", "last_used_at")
        if everything or _is_due(secret.last_used_at, retired[secret.digest])
    ]


def _batches(uses: Uses) -> Iterator[list[str]]:
    """SQLite limits the parameters of a statement."""
    names = list(uses)
    for start in range(0, len(names), BATCH):
        yield names[start : start + BATCH]


def _is_due(written: datetime | None, use: LastUse) -> bool:
    return written is None or _time(use) - written >= PAUSE


def _set(row: ApiKey | RetiredSecret, use: LastUse) -> None:
    if row.last_used_at is None or row.last_used_at < _time(use):
        row.last_used_at = _time(use)
    row.last_used_from, row.last_used_service = use.client[:64], use.service[:63]


def _time(use: LastUse) -> datetime:
    return datetime.fromtimestamp(use.at, UTC)


@thread_connection()
def warn_of_expiry(record: Callable[[ApiKey, int], object]) -> list[ExpiringKey]:
    """The keys that have come within 14, 7 or 1 days of their expiry. Each is returned to one caller in the cluster,
    and once for each threshold; a changed expiry starts over. `record` is called in the transaction that claims it.
    """
    now = timezone.now()
    soon = ApiKey.objects.filter(
        revoked_at=None, expires_at__gt=now, expires_at__lte=now + timedelta(days=THRESHOLDS[-1])
    )
    found = []
    for key in soon.only("prefix", "name", "expires_at", "warned_for", "warned_days"):
        assert key.expires_at is not None  # noqa: S101 - by the filter
        days = next(days for days in THRESHOLDS if key.expires_at - now <= timedelta(days=days))
        if key.warned_for == key.expires_at and key.warned_days is not None and key.warned_days <= days:
            continue
        if _claim(key, days, record):
            found.append(ExpiringKey(key.prefix, key.name, days, key.expires_at.timestamp()))
    return found


def _claim(key: ApiKey, days: int, record: Callable[[ApiKey, int], object]) -> bool:
    """Whether this process is the one that warns."""
    others = Q(warned_for=None) | ~Q(warned_for=key.expires_at) | Q(warned_days__gt=days)
    with transaction.atomic():
        same = ApiKey.objects.filter(others, pk=key.pk, expires_at=key.expires_at, revoked_at=None)
        claimed = bool(same.update(warned_for=key.expires_at, warned_days=days))
        if claimed:
            record(key, days)
    return claimed

"""Issues, rotates, revokes and finds API keys. The key itself is returned once and never stored."""

import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.utils import timezone

from routing.authentication.key_form import digest, generate_api_key, is_well_formed, parse_prefix
from routing.database.actor import DEFAULT_ACTOR, current_actor
from routing.models import ApiKey, RetiredSecret

MAX_GRACE: Final = timedelta(days=90)
MAX_RETIRED: Final = 5
"""Replaced secrets of one key that are still accepted."""
KEPT: Final = timedelta(days=30)
"""How long a replaced secret's use is shown after its end."""


class FoundKey(NamedTuple):
    """A key found by its secret. `reason` is empty if it is accepted, else `revoked`, `expired`, `replaced`,
    `disabled`, as its consumer is, or `environment`, if it is for another one than the gateway.

    `expires` is when this secret ends; `is_retired`: it has been replaced.
    """

    row: ApiKey
    reason: str
    expires: datetime | None
    is_retired: bool


def issue(key: ApiKey) -> str:
    """Save a new key's row and return the key. Raises ValidationError."""
    new_key = generate_api_key(key.environment)
    key.prefix, key.digest = new_key.prefix, new_key.digest
    actor = current_actor()
    if not key.created_by and actor != DEFAULT_ACTOR:
        key.created_by = actor.name
    key.full_clean()
    key.save()
    return new_key.key


def rotate(key: ApiKey, grace: timedelta, expires_at: datetime | None = None) -> str:
    """Give a key a new secret and return the new key, with the same prefix. The present secret is accepted for `grace`;
    without one, it and those replaced before are refused at once. `expires_at` replaces the key's expiry.

    Raises ValueError for a key that is revoked or has expired, and where too many replaced secrets are accepted.
    """
    if not timedelta() <= grace <= MAX_GRACE:
        raise ValueError(f"the grace must be from 0 to {MAX_GRACE.days} days")
    with transaction.atomic():
        now = timezone.now()
        row = ApiKey.objects.select_for_update().get(pk=key.pk)
        if expires_at is not None and row.revoked_at is None:
            row.expires_at = expires_at
        if row.state(now) != "active":
            raise ValueError(f"the key is {row.state(now)}")
        _retire(row, now, grace)
        new_key = generate_api_key(row.environment, row.prefix)
        row.digest, row.rotated_at = new_key.digest, now
        row.save(update_fields=["digest", "rotated_at", "expires_at"])
    return new_key.key


def _retire(row: ApiKey, now: datetime, grace: timedelta) -> None:
    row.retired.filter(valid_until__lte=now - KEPT).delete()
    accepted = row.retired.filter(valid_until__gt=now)
    if not grace:
        accepted.update(valid_until=now)
    elif accepted.count() >= MAX_RETIRED:
        raise ValueError(f"{MAX_RETIRED} replaced secrets of the key are still accepted: rotate it without a grace")
    until = now + grace if row.expires_at is None else min(now + grace, row.expires_at)
    RetiredSecret.objects.create(key=row, digest=row.digest, valid_until=until)


def revoke(keys: Iterable[ApiKey]) -> int:
    """Revoke those that are not yet revoked, and return their number. Rows are kept for the audit log."""
    active = [key for key in keys if key.revoked_at is None]
    with transaction.atomic():
        for key in active:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
    return len(active)


def by_prefix(text: str) -> ApiKey | None:
    """The key with this prefix, in any form in which prefixes are shown; a whole key names its own."""
    prefix = parse_prefix(text)
    return (
        ApiKey.objects.select_related("consumer").prefetch_related("retired").filter(prefix=prefix).first()
        if prefix
        else None
    )


def find(text: str, environment: str = "") -> FoundKey | None:
    """The key whose secret this is, whether it is accepted or not by a gateway of this environment. None if there is
    none.

    Looked up by digest, which a guess cannot be steered through.
    """
    if not is_well_formed(text):
        return None
    now, wanted = timezone.now(), digest(text)
    retired = RetiredSecret.objects.select_related("key__consumer").filter(digest=wanted).first()
    row = retired.key if retired else ApiKey.objects.select_related("consumer").filter(digest=wanted).first()
    if row is None or not hmac.compare_digest(wanted, retired.digest if retired else row.digest):
        return None
    state, expires = row.state(now), row.expires_at
    if retired is not None:
        expires = retired.valid_until if expires is None else min(expires, retired.valid_until)
    reason = "" if state == "active" else state
    if not reason and retired is not None and retired.valid_until <= now:
        reason = "replaced"
    if not reason and row.consumer is not None and not row.consumer.enabled:
        reason = "disabled"
    if not reason and environment and row.environment not in ("", environment):
        reason = "environment"
    return FoundKey(row, reason, expires, retired is not None)

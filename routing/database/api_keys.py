"""Issues and revokes API keys. The key itself is returned once and never stored."""

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from routing.authentication.api_keys import generate_api_key
from routing.models import ApiKey


def issue(key: ApiKey) -> str:
    """Save a new key's row and return the key. Raises ValidationError."""
    new_key = generate_api_key()
    key.prefix, key.digest = new_key.prefix, new_key.digest
    key.full_clean()
    key.save()
    return new_key.key


def revoke(keys: Iterable[ApiKey]) -> int:
    """Revoke those that are not yet revoked, and return their number. Rows are kept for the audit log."""
    active = [key for key in keys if key.revoked_at is None]
    with transaction.atomic():
        for key in active:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
    return len(active)

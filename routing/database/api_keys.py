"""Gives out API keys and ends them. A key's own text is returned once and kept nowhere."""

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from routing.authentication.api_keys import generate_api_key
from routing.models import ApiKey


def issue(key: ApiKey) -> str:
    """Saves a new key's row and returns the key. Raises ValidationError."""
    new_key = generate_api_key()
    key.prefix, key.digest = new_key.prefix, new_key.digest
    key.full_clean()
    key.save()
    return new_key.key


def revoke(keys: Iterable[ApiKey]) -> int:
    """Ends those that are in force, and how many that were. They are kept, so that logs stay readable."""
    ending = [key for key in keys if key.revoked_at is None]
    with transaction.atomic():
        for key in ending:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
    return len(ending)

"""The keys that sign identities: made once for all workers, encrypted at rest, and replaced by a command."""

import secrets
from datetime import timedelta
from itertools import pairwise
from typing import Final

from django.db import transaction
from django.utils import timezone

from routing.authentication.identity_signer import IdentityKey as Key
from routing.authentication.identity_signer import new_private_key, public_jwk
from routing.credentials.cipher import Cipher
from routing.database.connection import thread_connection
from routing.database.locks import lock_configuration
from routing.models import IdentityKey

RETIRED: Final = timedelta(hours=24)
"""How long a key is published after the one that replaced it was made."""


@thread_connection()
def identity_keys(cipher: Cipher) -> tuple[Key, ...]:
    """All keys that can be decrypted. Makes the first one, if there is none."""
    rows = list(IdentityKey.objects.all())
    if not rows:
        with transaction.atomic():
            lock_configuration()
            rows = list(IdentityKey.objects.all()) or [create_key(cipher)]
    opened = ((row, cipher.decrypt(_name(row.kid), row.sealed.encode())) for row in rows)
    return tuple(Key(row.kid, row.created_at.timestamp(), private) for row, private in opened if private is not None)


def create_key(cipher: Cipher) -> IdentityKey:
    """A new key, which is published at once and signs a little later, unless it is the first."""
    kid, private = secrets.token_urlsafe(12), new_private_key()
    sealed = cipher.encrypt(_name(kid), private).decode()
    return IdentityKey.objects.create(kid=kid, sealed=sealed, public=public_jwk(kid, private))


def rotate_keys(cipher: Cipher) -> IdentityKey:
    """Make a new key and delete those that were replaced long ago."""
    with transaction.atomic():
        lock_configuration()
        rows = list(IdentityKey.objects.all())
        limit = timezone.now() - RETIRED
        for row, successor in pairwise(rows):
            if successor.created_at < limit:
                row.delete()
        return create_key(cipher)


def encrypt_again(cipher: Cipher) -> int:
    """Encrypt all keys with the first of CREDENTIAL_KEYS; return how many."""
    count = 0
    for row in IdentityKey.objects.all():
        private = cipher.decrypt(_name(row.kid), row.sealed.encode())
        if private is not None:
            sealed = cipher.encrypt(_name(row.kid), private).decode()
            count += IdentityKey.objects.filter(pk=row.pk, sealed=row.sealed).update(sealed=sealed)
    return count


def public_keys() -> list[dict[str, str]]:
    """The key set that backends verify with."""
    return list(IdentityKey.objects.values_list("public", flat=True))


def _name(kid: str) -> str:
    return f"identity key {kid}"

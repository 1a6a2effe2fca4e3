"""Reads the keys of programs that sign their requests. One that cannot be read is not accepted, and harms no other."""

from collections.abc import Callable
from typing import Final

from django.db.models import Q
from django.utils import timezone

from routing.authentication.signatures import keys
from routing.authentication.signatures.algorithms import SignatureAlgorithm, secret_bytes
from routing.configuration.faults import ConfigurationError
from routing.configuration.headers import reference, resolve
from routing.configuration.values import SecretLookup
from routing.models import SigningKey

Unseal = Callable[[str, bytes], bytes | None]
"""Decrypts a ciphertext, given the name that it is for; None if no key fits."""
_CORRUPT: Final = (ValueError, TypeError, AttributeError, ConfigurationError)


def load_signing_keys(secret: SecretLookup, unseal: Unseal) -> tuple[tuple[keys.SigningKey, ...], tuple[str, ...]]:
    """The keys that are accepted now or later, and the faults of those that cannot be read."""
    now = timezone.now()
    current = Q(valid_until=None) | Q(valid_until__gt=now)
    rows = SigningKey.objects.filter(current, Q(expires_at=None) | Q(expires_at__gt=now))
    found, faults = [], []
    for row in rows.order_by("pk"):
        try:
            found.append(_key(row, secret, unseal))
        except _CORRUPT as error:
            faults.append(f"signing key {row.keyid} cannot be used: {error}")
    return tuple(found), tuple(faults)


def _key(row: SigningKey, secret: SecretLookup, unseal: Unseal) -> keys.SigningKey:
    algorithm = SignatureAlgorithm(row.algorithm)
    if row.scopes is not None and not isinstance(row.scopes, list):
        raise ValueError("scopes is not a list")
    return keys.SigningKey(
        keyid=row.keyid,
        algorithm=algorithm,
        material=_secret(row, secret, unseal) if algorithm.is_secret else row.public_key,
        consumer=row.consumer_id,
        scopes=None if row.scopes is None else frozenset(map(str, row.scopes)),
        until=row.until.timestamp() if row.until else None,
    )


def _secret(row: SigningKey, secret: SecretLookup, unseal: Unseal) -> str:
    found = reference(row.secret)
    if found is not None:
        text = resolve(found, secret)
    else:
        content = unseal(row.name, row.secret.encode())
        if content is None:
            raise ValueError("none of CREDENTIAL_KEYS decrypts its secret")
        text = content.decode()
    secret_bytes(text)
    return text

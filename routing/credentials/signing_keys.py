"""Issues, rotates and revokes the keys of programs that sign their requests. A generated secret is returned once."""

import secrets
from datetime import datetime, timedelta
from typing import Final

from django.db import models, transaction
from django.utils import timezone

from routing.authentication.signatures.algorithms import SignatureAlgorithm
from routing.configuration.headers import reference
from routing.credentials.cipher import Cipher
from routing.database.actor import DEFAULT_ACTOR, current_actor
from routing.models import SigningKey

MAX_GRACE: Final = timedelta(days=90)
SECRET_BYTES: Final = 32


def issue(key: SigningKey, cipher: Cipher, secret: str = "") -> str:
    """Save a new key. For hmac-sha256, `secret` is a reference such as `env:GATEWAY_SECRET_ACME`; without one, a secret
    is generated and returned. Raises ValidationError, and ValueError for a secret that is no reference.
    """
    generated = _set_secret(key, cipher, secret)
    actor = current_actor()
    if not key.created_by and actor != DEFAULT_ACTOR:
        key.created_by = actor.name
    key.full_clean()
    key.save()
    return generated


def rotate(
    key: SigningKey, cipher: Cipher, grace: timedelta, *, public_key: str = "", secret: str = ""
) -> tuple[SigningKey, str]:
    """Replace a key by one with the same id, and return it with its generated secret, if it has one.

    The present key is accepted for `grace` beside the new one; without a grace, all earlier ones end at once. Raises
    ValidationError and ValueError.
    """
    if not timedelta() <= grace <= MAX_GRACE:
        raise ValueError(f"the grace must be from 0 to {MAX_GRACE.days} days")
    with transaction.atomic():
        now = timezone.now()
        row = SigningKey.objects.select_for_update().get(pk=key.pk)
        if row.state() != "active":
            raise ValueError(f"the key is {row.state()}")
        if not grace:
            end(SigningKey.objects.filter(keyid=row.keyid).exclude(pk=row.pk), now)
        row.valid_until = now + grace
        row.save(update_fields=["valid_until"])
        new = SigningKey(
            keyid=row.keyid,
            consumer=row.consumer,
            algorithm=row.algorithm,
            public_key=public_key,
            scopes=row.scopes,
            expires_at=row.expires_at,
        )
        return new, issue(new, cipher, secret)


def revoke(keyid: str) -> int:
    """End all keys with this id at once, and return their number."""
    return end(SigningKey.objects.filter(keyid=keyid), timezone.now())


def end(rows: models.QuerySet[SigningKey], now: datetime) -> int:
    """Let these keys end now. Each is saved, so that every worker learns of it."""
    count = 0
    for row in rows:
        if row.until is None or row.until > now:
            row.valid_until = now
            row.save(update_fields=["valid_until"])
            count += 1
    return count


def encrypt_again(cipher: Cipher) -> int:
    """Encrypt all secrets with the first of CREDENTIAL_KEYS; return how many could not be decrypted."""
    unreadable = 0
    for row in SigningKey.objects.exclude(secret=""):
        if reference(row.secret) is not None:
            continue
        content = cipher.decrypt(row.name, row.secret.encode())
        if content is None:
            unreadable += 1
            continue
        sealed = cipher.encrypt(row.name, content).decode()
        SigningKey.objects.filter(pk=row.pk, secret=row.secret).update(secret=sealed)
    return unreadable


def _set_secret(key: SigningKey, cipher: Cipher, secret: str) -> str:
    """The generated secret, or an empty text."""
    if key.algorithm != SignatureAlgorithm.HMAC_SHA256:
        if secret:
            raise ValueError(f"{key.algorithm} has a public key, and no secret")
        return ""
    if secret:
        found = reference(secret)
        if found is None or found.scheme:
            raise ValueError("a secret is given as env:NAME or file:/PATH; without one, it is generated")
        key.secret = secret
        return ""
    generated = secrets.token_urlsafe(SECRET_BYTES)
    key.secret = cipher.encrypt(key.name, generated.encode()).decode()
    return generated

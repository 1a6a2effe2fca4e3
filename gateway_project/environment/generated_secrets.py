"""Secrets that need no configuration: the secret key under DEBUG, and that of the demonstration's webhooks."""

import os
import secrets
from hashlib import blake2b
from pathlib import Path


def generated_secret(var: Path) -> str:
    """A secret key generated once for this database, so that sessions survive a restart under DEBUG."""
    path = var / "secret_key"
    if not path.exists():
        var.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()


def demonstration_secret(secret_key: str) -> str:
    """The secret of the demonstration's webhooks: the same in all processes, without being stored."""
    return blake2b(secret_key.encode(), person=b"demonstration", digest_size=24).hexdigest()

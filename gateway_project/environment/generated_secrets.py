"""Secrets that need no configuration: the secret key in DATA_DIR, and that of the demonstration's webhooks."""

import os
import secrets
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Final

FILE: Final = "secret_key"


def generated_secret(var: Path) -> str:
    """The secret key of this state directory, made if there is none, so that sessions survive a restart.

    Raises OSError.
    """
    path = var / FILE
    if not path.exists():
        var.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def stored_secret(var: Path) -> str:
    """The secret key of this state directory; "" if there is none. Raises OSError for one that cannot be read."""
    try:
        return (var / FILE).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _create(path: Path, text: str) -> None:
    """Write a file that only its owner can read. Of several processes that do, the first one's stays, whole."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        path.hardlink_to(temporary)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def demonstration_secret(secret_key: str) -> str:
    """The secret of the demonstration's webhooks: the same in all processes, without being stored."""
    return blake2b(secret_key.encode(), person=b"demonstration", digest_size=24).hexdigest()

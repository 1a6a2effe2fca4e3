"""API keys: generation, storage format and lookup.

A key is `gw_<prefix>_<secret>`. The prefix identifies it in lists and logs; the secret is 256 random bits. Only a
digest of the whole key is stored. Plain SHA-256 suffices: slow hashes are for passwords, not for 256 random bits.
"""

import re
import secrets
from base64 import b32encode
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import msgspec

from routing.caller import Caller

KEY_FORM: Final = re.compile(r"gw_([a-z2-7]{8})_[A-Za-z0-9_-]{43}")
PREFIX_BYTES: Final = 5
SECRET_BYTES: Final = 32


class NewApiKey(msgspec.Struct, frozen=True):
    """A new key. `key` is shown once; `prefix` and `digest` are stored."""

    key: str
    prefix: str
    digest: str

    def __repr__(self) -> str:
        return f"NewApiKey(prefix={self.prefix!r})"


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stored key. `scopes` and `tenant` become its caller's; `expires` is Unix time, or None for never."""

    prefix: str
    digest: str
    name: str
    scopes: frozenset[str] | None = None
    tenant: str | None = None
    expires: float | None = None

    def caller(self) -> Caller:
        return Caller(f"key:{self.prefix}", self.tenant, self.scopes, self.expires)


class ApiKeys:
    """All keys that are not revoked, by digest. Immutable: replaced as a whole when keys change."""

    def __init__(self, records: Iterable[KeyRecord] = ()) -> None:
        self._callers: Final = {record.digest: record.caller() for record in records}

    def __len__(self) -> int:
        return len(self._callers)

    def find(self, key: str, now: float) -> Caller | None:
        """The key's caller, or None if the key is unknown or expired. `now` is Unix time.

        The timing of a lookup by digest discloses nothing usable: a guess cannot be steered through SHA-256.
        """
        if not looks_like_key(key):
            return None
        caller = self._callers.get(digest(key))
        if caller is None or (caller.expires is not None and caller.expires <= now):
            return None
        return caller


def generate_api_key() -> NewApiKey:
    """A new key from the operating system's random source."""
    prefix = b32encode(secrets.token_bytes(PREFIX_BYTES)).decode().lower()
    key = f"gw_{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return NewApiKey(key, prefix, digest(key))


def digest(key: str) -> str:
    """The SHA-256 of the whole key, in hex."""
    return sha256(key.encode()).hexdigest()


def looks_like_key(text: str) -> bool:
    """Whether the text has the form of an API key, which no token has."""
    return KEY_FORM.fullmatch(text) is not None


def contains_key(value: bytes) -> bool:
    """Whether a field's value has an API key anywhere in it."""
    return KEY_FORM.search(value.decode("latin-1")) is not None

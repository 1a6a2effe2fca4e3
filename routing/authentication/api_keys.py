"""API keys: how one is made, what is kept of it, and whose it is.

A key is `gw_<prefix>_<secret>`. The prefix names it in lists and logs; the secret is 256 random bits. Only the
digest of the whole is kept, and a plain SHA-256 is enough for it: slow hashes protect what people invent, and
nobody searches 2^256.
"""

import re
import secrets
from base64 import b32encode
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import msgspec

from routing.caller import Caller

KEY: Final = re.compile(r"gw_([a-z2-7]{8})_[A-Za-z0-9_-]{43}")
PREFIX_BYTES: Final = 5
SECRET_BYTES: Final = 32


class NewApiKey(msgspec.Struct, frozen=True):
    """A new key. `key` is shown to its owner once; `prefix` and `digest` are what we keep."""

    key: str
    prefix: str
    digest: str

    def __repr__(self) -> str:
        return f"Minted(prefix={self.prefix!r})"


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a key. `scopes` and `tenant` are its caller's; `expires` is Unix time, None is never."""

    prefix: str
    digest: str
    name: str
    scopes: frozenset[str] | None = None
    tenant: str | None = None
    expires: float | None = None

    def caller(self) -> Caller:
        return Caller(f"key:{self.prefix}", self.tenant, self.scopes, self.expires)


class ApiKeys:
    """Every key that is not revoked, by digest: an immutable table, swapped whole when keys change."""

    def __init__(self, records: Iterable[KeyRecord] = ()) -> None:
        self._callers: Final = {record.digest: record.caller() for record in records}

    def __len__(self) -> int:
        return len(self._callers)

    def find(self, key: str, now: float) -> Caller | None:
        """Whose key this is, or None when nobody's or expired. `now` is Unix time.

        Looking a digest up tells a guesser nothing by its timing: to steer the digest is to invert SHA-256.
        """
        if not looks_like_key(key):
            return None
        caller = self._callers.get(digest(key))
        if caller is None or (caller.expires is not None and caller.expires <= now):
            return None
        return caller


def generate_api_key() -> NewApiKey:
    """A new key from the system's randomness."""
    prefix = b32encode(secrets.token_bytes(PREFIX_BYTES)).decode().lower()
    key = f"gw_{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return NewApiKey(key, prefix, digest(key))


def digest(key: str) -> str:
    """SHA-256 of the whole key, in hex."""
    return sha256(key.encode()).hexdigest()


def looks_like_key(text: str) -> bool:
    """Whether the text has an API key's form, so that no other kind of credential is mistaken for one."""
    return KEY.fullmatch(text) is not None

"""Encryption of tokens at rest. Each ciphertext belongs to one name, so that it cannot be moved to another."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEY_BYTES: Final = 32
_CONTEXT: Final = b"intelligence gateway: credentials at rest"


class _Content(msgspec.Struct, frozen=True, array_like=True):
    name: str
    content: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Content).decode


def parse_keys(text: str) -> tuple[str, ...]:
    """The keys of CREDENTIAL_KEYS. Raises ValueError, without any of them."""
    keys = tuple(key for key in re.split(r"[,\s]+", text.strip(", \t\n")) if key)
    for index, key in enumerate(keys, 1):
        try:
            size = len(urlsafe_b64decode(key + "=" * (-len(key) % 4)))
        except ValueError:
            size = 0
        if size != KEY_BYTES:
            raise ValueError(f"key {index} is not {KEY_BYTES} random bytes in base64 (openssl rand -base64 32)")
    return keys


class Cipher:
    """The first of `keys` encrypts, and all decrypt: a new one is put first, and the last one removed once nothing is
    encrypted with it. The key derived from `secret` decrypts too, and encrypts if there are no others.
    """

    def __init__(self, keys: Sequence[str], secret: str) -> None:
        self._keys = tuple(keys)
        self._secret = secret

    def encrypt(self, name: str, content: bytes) -> bytes:
        return self._fernet.encrypt(_encode(_Content(name, content)))

    def decrypt(self, name: str, token: bytes) -> bytes | None:
        """The content; None if no key fits, or if it belongs to another name."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - as in `_fernet`

        try:
            found = _decode(self._fernet.decrypt(token))
        except (InvalidToken, msgspec.DecodeError):
            return None
        return found.content if found.name == name else None

    @cached_property
    def _fernet(self) -> "MultiFernet":
        # Imported on first use: few gateways have credentials, and it takes as long as a tenth of the start.
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - as said above
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - as said above
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - as said above

        derived = HKDF(SHA256(), KEY_BYTES, None, _CONTEXT).derive(self._secret.encode())
        keys = [urlsafe_b64encode(urlsafe_b64decode(key + "=" * (-len(key) % 4))) for key in self._keys]
        return MultiFernet([Fernet(key) for key in (*keys, urlsafe_b64encode(derived))])

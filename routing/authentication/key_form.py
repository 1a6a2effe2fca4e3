"""The form of API keys: generation, checksum, prefix. No I/O.

A key is `gw_<prefix>_<secret><checksum>`, or `gw_live_<prefix>_...` and `gw_test_<prefix>_...` if it is bound to an
environment. The prefix identifies it in lists and logs and stays the same when the secret is rotated; the secret is 43
base62 characters, 256 random bits; the checksum is the CRC-32 of all before it as 6 base62 characters, so that secret
scanners can tell a key from similar text and a mistyped key is refused without a lookup. Keys issued before had no
checksum, and a secret of 43 base64url characters.
"""

import re
import secrets
from base64 import b32encode
from hashlib import sha256
from typing import Final
from zlib import crc32

import msgspec

ENVIRONMENTS: Final = ("live", "test")
KEY_FORM: Final = re.compile(r"gw_(?:(live|test)_)?([a-z2-7]{8})_([A-Za-z0-9]{49}|[A-Za-z0-9_-]{43})")
PREFIX_BYTES: Final = 5
SECRET_LENGTH: Final = 43
CHECKSUM_LENGTH: Final = 6
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(high + low for high in _BASE62 for low in _BASE62)
_PREFIX: Final = re.compile(r"(?:key:)?(?:gw_)?(?:(?:live|test)_)?([a-z2-7]{8})(?:_[A-Za-z0-9_-]*)?")


class NewApiKey(msgspec.Struct, frozen=True):
    """A new key. `key` is shown once; `prefix` and `digest` are stored."""

    key: str
    prefix: str
    digest: str

    def __repr__(self) -> str:
        return f"NewApiKey(prefix={self.prefix!r})"


def generate_api_key(environment: str = "", prefix: str = "") -> NewApiKey:
    """A new key from the operating system's random source. `prefix` is that of a key which gets a new secret."""
    prefix = prefix or b32encode(secrets.token_bytes(PREFIX_BYTES)).decode().lower()
    secret = "".join(secrets.choice(_BASE62) for _ in range(SECRET_LENGTH))
    text = f"{shown_prefix(prefix, environment)}_{secret}"
    key = text + checksum(text)
    return NewApiKey(key, prefix, digest(key))


def shown_prefix(prefix: str, environment: str = "") -> str:
    """The first part of a key, up to its secret: `gw_<prefix>` or `gw_live_<prefix>`."""
    return f"gw_{environment}_{prefix}" if environment else f"gw_{prefix}"


def checksum(text: str) -> str:
    """The CRC-32 of a key without its checksum, as 6 base62 digits, the most significant first."""
    number, low = divmod(crc32(text.encode()), len(_PAIRS))
    high, middle = divmod(number, len(_PAIRS))
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def digest(key: str) -> str:
    """The SHA-256 of the whole key, in hex."""
    return sha256(key.encode()).hexdigest()


def looks_like_key(text: str) -> bool:
    """Whether the text has the form of an API key, which no token has. Its checksum may be wrong."""
    return KEY_FORM.fullmatch(text) is not None


def contains_key(value: bytes) -> bool:
    """Whether a field's value has an API key anywhere in it."""
    return KEY_FORM.search(value.decode("latin-1")) is not None


def is_well_formed(text: str) -> bool:
    """Whether the text may be a key: it has the form of one and, unless it is an old one, the right checksum."""
    form = KEY_FORM.fullmatch(text)
    if form is None:
        return False
    if len(form[3]) == SECRET_LENGTH:
        return True
    return checksum(text[:-CHECKSUM_LENGTH]) == text[-CHECKSUM_LENGTH:]


def environment_of(key: str) -> str:
    """The environment that a well-formed key names; empty if it names none."""
    form = KEY_FORM.fullmatch(key)
    return (form[1] or "") if form else ""


def parse_prefix(text: str) -> str:
    """The prefix in `<prefix>`, `gw_<prefix>`, `gw_live_<prefix>`, `key:<prefix>` or a whole key; else ""."""
    form = _PREFIX.fullmatch(text.strip())
    return form[1] if form else ""

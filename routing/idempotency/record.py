"""The record of an idempotency key, and its rules: scope, request fingerprint, and which responses are saved.

After draft-ietf-httpapi-idempotency-key-header-07. Keys, callers and request bodies are stored as digests only.
"""

import re
from collections.abc import Iterable
from enum import Enum
from hashlib import blake2b
from typing import Final

import msgspec

from routing.errors import BadRequest
from routing.http import IDEMPOTENCY_KEY, Headers

IDEMPOTENCY_METHODS: Final = frozenset({"POST", "PATCH"})
"""Methods for which a key is honoured. The others are idempotent by definition (RFC 9110 section 9.2.2)."""
RETENTION_SECONDS: Final = 86_400.0
MAX_SAVED_BYTES: Final = 1024 * 1024
"""Largest body of a saved response, and of a request with a key."""
RETRYABLE_STATUSES: Final = frozenset({408, 425, 429, 502, 503, 504})
"""Responses that invite a retry. They are not saved, or every retry would get them for a day."""

_KEY: Final = re.compile(rb"[\x20-\x7e]{1,255}")
_NOT_SAVED: Final = frozenset({b"set-cookie"})
"""A cookie may be a credential, and a replayed response must not start another session."""


class SavedResponse(msgspec.Struct, frozen=True):
    """A response as it is replayed."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class IdempotencyRecord(msgspec.Struct, frozen=True):
    """`holder` identifies the request that makes the call. Once `done`, `response` is None if it was not saved."""

    holder: str
    fingerprint: bytes
    done: bool = False
    response: SavedResponse | None = msgspec.field(default=None, name="answer")
    """Encoded as `answer`, as in records of earlier versions."""


class ReplayDecision(Enum):
    """What happens to a request whose key has a record. Conflicts show the value to the client."""

    REPLAY = "the saved response is replayed"
    IN_PROGRESS = "a request with this key is still in progress"
    NOT_SAVED = "the response to the first request could not be saved"
    MISMATCH = "the key was used for another request"


def idempotency_key(headers: Headers) -> bytes | None:
    """The request's key, or None. Raises BadRequest if it is malformed or repeated."""
    values = [value for name, value in headers if name == IDEMPOTENCY_KEY]
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise BadRequest("Idempotency-Key must be one value of 1 to 255 printable ASCII characters")
    return values[0]


def record_name(service: str, caller: str, key: bytes) -> str:
    """The name of a key's record. Keys are scoped to a caller and a service."""
    return _digest((service.encode(), caller.encode(), key)).hex()


def fingerprint(parts: Iterable[bytes]) -> bytes:
    """A digest of what must be identical in a retry."""
    return _digest(parts)


def saved_response(status: int, headers: Headers, body: bytes) -> SavedResponse:
    return SavedResponse(status, tuple(pair for pair in headers if pair[0] not in _NOT_SAVED), body)


def decide_replay(requested: IdempotencyRecord, found: IdempotencyRecord) -> ReplayDecision:
    if requested.fingerprint != found.fingerprint:
        return ReplayDecision.MISMATCH
    if not found.done:
        return ReplayDecision.IN_PROGRESS
    return ReplayDecision.NOT_SAVED if found.response is None else ReplayDecision.REPLAY


def _digest(parts: Iterable[bytes]) -> bytes:
    digest = blake2b(digest_size=20)
    for part in parts:
        digest.update(b"%d:%b" % (len(part), part))
    return digest.digest()

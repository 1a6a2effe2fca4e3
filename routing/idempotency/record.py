"""What is known of one key, and the rules for it: whose it is, which request it stands for, what may be kept.

After draft-ietf-httpapi-idempotency-key-header-07. Neither keys nor callers nor bodies are stored: digests are.
"""

import re
from collections.abc import Iterable
from enum import Enum
from hashlib import blake2b
from typing import Final

import msgspec

from routing.errors import BadRequest
from routing.http import Headers

IDEMPOTENCY_METHODS: Final = frozenset({"POST", "PATCH"})
"""What a key is for: other methods may be sent twice as they are, or ask for nothing."""
IDEMPOTENCY_KEY: Final = b"idempotency-key"
RETENTION_SECONDS: Final = 86_400.0
MAX_SAVED_BYTES: Final = 1024 * 1024
"""Largest body of an answer that is kept, and of a request that is compared."""
RETRYABLE_STATUSES: Final = frozenset({408, 425, 429, 502, 503, 504})
"""Answers that say the write was not done, and to ask again: kept, they would say so for a day."""

_KEY: Final = re.compile(rb"[\x20-\x7e]{1,255}")
_NOT_SAVED: Final = frozenset({b"set-cookie"})
"""A cookie may be a credential, and a repeat is no new session."""


class SavedResponse(msgspec.Struct, frozen=True):
    """An answer as it is given again."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class IdempotencyRecord(msgspec.Struct, frozen=True):
    """`holder` is the one request that makes the call; once it is `done`, `answer` is None if it could not be kept."""

    holder: str
    fingerprint: bytes
    done: bool = False
    response: SavedResponse | None = msgspec.field(default=None, name="answer")


class ReplayDecision(Enum):
    """What a request with a known key is given."""

    REPLAY = "the first answer"
    IN_PROGRESS = "the first is still on its way"
    NOT_SAVED = "the first answer could not be kept"
    MISMATCH = "the key stands for another request"


def idempotency_key(headers: Headers) -> bytes | None:
    """The request's key, or None. Raises BadRequest for one that is malformed or said twice."""
    values = [value for name, value in headers if name == IDEMPOTENCY_KEY]
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise BadRequest("Idempotency-Key must be one value of 1 to 255 printable ASCII characters")
    return values[0]


def record_name(service: str, caller: str, key: bytes) -> str:
    """Where a caller's key is kept: another caller's same key is another."""
    return _digest((service.encode(), caller.encode(), key)).hex()


def fingerprint(parts: Iterable[bytes]) -> bytes:
    """What a repeat must have in common with the first."""
    return _digest(parts)


def saved_response(status: int, headers: Headers, body: bytes) -> SavedResponse:
    return SavedResponse(status, tuple(pair for pair in headers if pair[0] not in _NOT_SAVED), body)


def decide_replay(asked: IdempotencyRecord, found: IdempotencyRecord) -> ReplayDecision:
    if asked.fingerprint != found.fingerprint:
        return ReplayDecision.MISMATCH
    if not found.done:
        return ReplayDecision.IN_PROGRESS
    return ReplayDecision.NOT_SAVED if found.response is None else ReplayDecision.REPLAY


def _digest(parts: Iterable[bytes]) -> bytes:
    digest = blake2b(digest_size=20)
    for part in parts:
        digest.update(b"%d:%b" % (len(part), part))
    return digest.digest()

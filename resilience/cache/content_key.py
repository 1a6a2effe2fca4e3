"""The part of a cache key that stands for a request's content: pure functions."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from resilience.cache.content_fields import (
    AmbiguousContent,
    canonical_json,
    content_fields,
    encoded_value,
    media_type,
    text_of,
)

MAX_CONTENT_BYTES: Final = 64 * 1_024
"""The largest content that is part of a key."""
_DIGEST_BYTES: Final = 20


class ContentKey(NamedTuple):
    """`values` are those of the fields that tags name. None: they are not known, since the content is ambiguous."""

    digest: bytes
    values: Mapping[str, str] | None


def content_key(
    method: str, content_type: bytes, body: bytes, fields: Sequence[str] | None, tag_fields: Sequence[str]
) -> ContentKey:
    """The key of a request with this content: by its named `fields`, or None for all of it.

    Ambiguous content is compared byte by byte whatever the fields: two bodies have one key only if no backend could
    find a difference in their named fields. Without any, only the white space of JSON and the order of its names do not
    count.
    """
    whole: tuple[bytes, ...] = (b"bytes", method.encode(), content_type.strip() if body else b"", body)
    if not body:
        return ContentKey(_digest(whole), {})
    if fields is None:
        whole = _canonical(method, content_type, body) or whole
    names = [*(fields or ()), *tag_fields]
    if not names:
        return ContentKey(_digest(whole), {})
    try:
        found = content_fields(content_type, body, names)
        parts = [encoded_value(value) for value in found[: len(fields or ())]]
    except AmbiguousContent:
        return ContentKey(_digest(whole), None)
    texts = {
        name: text for name, value in zip(tag_fields, found[len(parts) :], strict=True) if (text := text_of(value))
    }
    if fields is None:
        return ContentKey(_digest(whole), texts)
    return ContentKey(_digest((b"fields", method.encode(), media_type(content_type), *parts)), texts)


def _canonical(method: str, content_type: bytes, body: bytes) -> tuple[bytes, ...] | None:
    """What JSON is compared by as a whole; None for anything else, which is compared byte by byte."""
    try:
        return b"json", method.encode(), content_type.strip(), canonical_json(content_type, body)
    except AmbiguousContent:
        return None


def _digest(parts: Sequence[bytes]) -> bytes:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()

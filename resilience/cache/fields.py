"""The header fields that a cache reads beside its directives: dates, ages, what a variant hangs on, and tags."""

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_tz
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from resilience.cache.directives import delta_seconds

Header = tuple[bytes, bytes]

NOT_KEPT: Final = frozenset(
    {
        b"age",  # made anew for every hit
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that are about one connection or one moment, and are not stored (RFC 9111 section 3.1)."""

_CASELESS: Final = frozenset({b"accept-charset", b"accept-encoding", b"accept-language"})
"""Fields whose values mean the same in either case (RFC 9110 sections 12.5.2 to 12.5.4)."""

MAX_TAGS: Final = 128
MAX_TAG_LENGTH: Final = 256
"""A backend that names more tags, or longer ones, is heard only this far: each costs the index an entry."""

_DATE: Final = re.compile(
    r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    r"|[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}",
    re.ASCII,
)
_LONGEST_DATE: Final = len("Wednesday, 25-Nov-26 22:05:28 GMT")
_QUOTED: Final = re.compile(rb'"([^"\\]*)"')
_ENTITY_TAG: Final = re.compile(rb'(?:W/)?"[^"]*"')


def values(headers: Iterable[Header], name: bytes) -> list[bytes]:
    """The values of all lines of a field, in their order."""
    return [value for field, value in headers if field == name]


def date(values: Sequence[bytes]) -> float | None:
    """Unix time of a field's first line, in any of HTTP's three formats (RFC 9110 section 5.6.7); None if in none."""
    text = values[0].strip() if values else b""
    return _date(text) if 0 < len(text) <= _LONGEST_DATE else None


@lru_cache(maxsize=1_024)
def _date(value: bytes) -> float | None:
    """Remembered: the answers of one second have one Date, and those of one file the same Last-Modified."""
    text = value.decode("latin-1")
    if not _DATE.fullmatch(text):
        return None
    parts = parsedate_tz(text)
    try:
        return None if parts is None else datetime(*parts[:6], tzinfo=UTC).timestamp()
    except ValueError:  # a day 32, say
        return None


def age(values: Sequence[bytes]) -> int:
    """The Age that upstream gave, its first value; 0 when it gave none or nonsense (RFC 9111 section 5.1)."""
    return (delta_seconds(values[0].split(b",")[0].strip()) or 0) if values else 0


def names(values: Iterable[bytes]) -> set[bytes]:
    """The members of a list of field names, as Vary holds."""
    return {name for value in values for part in value.split(b",") if (name := part.strip().lower())}


def variant(headers: Sequence[Header], vary: Iterable[bytes]) -> bytes:
    """A digest of the request's values of the fields `vary` (RFC 9111 section 4.1), since some are secrets."""
    parts = []
    for name in vary:
        lines = [b" ".join(value.split()) for field, value in headers if field == name]
        value = _normal(name, b",".join(lines))
        parts.append(b"%d:%d:%s" % (len(value), bool(lines), value))
    return blake2b(b"".join(parts), digest_size=16).digest()


def _normal(name: bytes, value: bytes) -> bytes:
    """Without what makes no difference: white space around commas, and the case of languages and codings."""
    if b"," in value and b'"' not in value:
        value = b",".join([part.strip() for part in value.split(b",")])
    return value.lower() if name in _CASELESS else value


def tags(headers: Sequence[Header]) -> set[str]:
    """The tags a response gives itself: Surrogate-Key, Cache-Tag, and Cache-Groups (RFC 9875)."""
    found = {tag for value in values(headers, b"surrogate-key") for tag in value.split()}
    found.update(tag.strip() for value in values(headers, b"cache-tag") for tag in value.split(b","))
    found.update(tag for value in values(headers, b"cache-groups") for tag in _QUOTED.findall(value))
    return _fitting(found)


def groups(values: Iterable[bytes]) -> set[str]:
    """The names in Cache-Group-Invalidation (RFC 9875 section 3)."""
    return _fitting({tag for value in values for tag in _QUOTED.findall(value)})


def entity_tags(value: bytes) -> list[bytes]:
    """The members of a list of entity tags (RFC 9110 section 8.8.3), which may hold commas."""
    return _ENTITY_TAG.findall(value)


def _fitting(found: Iterable[bytes]) -> set[str]:
    fitting = sorted(tag for tag in found if 0 < len(tag) <= MAX_TAG_LENGTH)
    return {tag.decode("utf-8", "backslashreplace") for tag in fitting[:MAX_TAGS]}


def kept(headers: Sequence[Header], withheld: Collection[bytes] = ()) -> tuple[Header, ...]:
    """The fields that are stored with an answer: none of one connection's or one moment's, nor any `withheld`."""
    connection = values(headers, b"connection")
    dropped = NOT_KEPT.union(names(connection), withheld) if connection or withheld else NOT_KEPT
    return tuple([pair for pair in headers if pair[0] not in dropped])

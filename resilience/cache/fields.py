"""Header fields that a cache reads, other than its directives: dates, ages, Vary, and tags."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_tz
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from resilience.cache.directives import delta_seconds

Header = tuple[bytes, bytes]

NOT_STORED: Final = frozenset(
    {
        b"age",  # computed for every hit
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
"""Fields that are specific to a connection or a moment, and are not stored (RFC 9111 section 3.1)."""

CONTENT_DIGESTS: Final = frozenset({b"content-digest", b"content-md5"})
"""Digests of one message's content (RFC 9530 section 2): a part has another one than the whole, and a 304 has none."""

_HANDED_OUT: Final = """
access-token auth-token authentication-info authorization csrf-token id-token refresh-token session-token set-cookie2
token x-access-token x-api-key x-api-token x-auth-token x-authorization x-csrf-token x-csrftoken x-id-token x-jwt
x-jwt-token x-refresh-token x-session-id x-session-token x-subject-token x-token x-user-token x-xsrf-token xsrf-token
"""
CREDENTIALS: Final = frozenset(name.encode() for name in _HANDED_OUT.split())
"""Response fields with which backends hand out a session or a token to one client, as others do with Set-Cookie."""

MAX_PREFERENCE_BYTES: Final = 1_024
"""Longer preferences, which no browser sends, are compared as they are: this bounds the time to normalise them."""
_CASE_INSENSITIVE: Final = frozenset({b"accept-charset", b"accept-encoding", b"accept-language"})
"""Fields with case-insensitive values (RFC 9110 sections 12.5.2 to 12.5.4)."""

_TAG_FIELDS: Final = frozenset({b"surrogate-key", b"cache-tag", b"cache-groups"})
MAX_TAGS: Final = 500
MAX_TAG_LENGTH: Final = 256
MAX_TAG_BYTES: Final = 32 * 1_024
"""Limits on the tags of a response, and of a URI's variants together. Each costs an entry of the index, which every
look-up in Redis checks. A response with more could not be invalidated by all of its tags: it is not stored.
"""

_DATE: Final = re.compile(
    r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    r"|[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}",
    re.ASCII | re.IGNORECASE,  # names are case-sensitive, but not to every sender (RFC 9110 section 5.6.7)
)
_QUALITY: Final = re.compile(rb"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_LONGEST_DATE: Final = len("Wednesday, 25-Nov-26 22:05:28 GMT")
_QUOTED: Final = re.compile(rb'"([^"\\]*)"')
_ENTITY_TAG: Final = re.compile(rb'(?:W/)?"[^"]*"')


def values(headers: Iterable[Header], name: bytes) -> list[bytes]:
    """The values of all lines of a field, in order."""
    return [value for field, value in headers if field == name]


def date(lines: Sequence[bytes]) -> float | None:
    """The Unix time in a field's first line, in any HTTP-date format (RFC 9110 section 5.6.7); None if malformed."""
    text = lines[0].strip() if lines else b""
    return _date(text) if 0 < len(text) <= _LONGEST_DATE else None


@lru_cache(maxsize=1_024)
def _date(value: bytes) -> float | None:
    """Memoised: responses of one second share their Date, and those of one file their Last-Modified."""
    text = value.decode("latin-1")
    if not _DATE.fullmatch(text):
        return None
    parts = parsedate_tz(text)
    try:
        return None if parts is None else datetime(*parts[:6], tzinfo=UTC).timestamp()
    except ValueError:  # such as day 32
        return None


def age(lines: Sequence[bytes]) -> int:
    """The first value of Age in seconds; 0 if it is absent or malformed (RFC 9111 section 5.1)."""
    return (delta_seconds(lines[0].split(b",")[0].strip()) or 0) if lines else 0


def has_credential(headers: Iterable[Header]) -> bool:
    """Whether a response sets a cookie, or hands out a credential otherwise."""
    return any(name == b"set-cookie" or name in CREDENTIALS for name, _ in headers)


def names(lines: Iterable[bytes]) -> set[bytes]:
    """The lower-case members of a field that lists field names, such as Vary."""
    return {name for line in lines for part in line.split(b",") if (name := part.strip().lower())}


def variant(headers: Sequence[Header], vary: Iterable[bytes]) -> bytes:
    """A digest of the request's fields named in `vary` (RFC 9111 section 4.1); their values may be secret.

    Some backends read underscores in names as hyphens: the fields that they may take for a named one are included.
    """
    parts = []
    has_underscore = b"_" in b"".join([field for field, _ in headers])
    for name in vary:
        lines = [b" ".join(value.split()) for field, value in headers if field == name]
        value = _normalized(name, b",".join(lines))
        parts.append(b"%d:%d:%s" % (len(value), bool(lines), value))
        if has_underscore or b"_" in name:
            parts += [b"_%d:%s%d:%s" % (len(field), field, len(value), value) for field, value in _alike(headers, name)]
    return blake2b(b"".join(parts), digest_size=16).digest()


def _alike(headers: Sequence[Header], name: bytes) -> list[Header]:
    """The fields whose names differ from `name` in nothing but underscores."""
    same = name.replace(b"_", b"-")
    return [pair for pair in headers if pair[0] != name and pair[0].replace(b"_", b"-") == same]


def _normalized(name: bytes, value: bytes) -> bytes:
    """The value without insignificant white space around commas; weighted preferences in a normal form."""
    if name in _CASE_INSENSITIVE and len(value) <= MAX_PREFERENCE_BYTES:
        return _preferences(value)
    if b"," in value and b'"' not in value:
        value = b",".join([part.strip() for part in value.split(b",")])
    return value


def _preferences(value: bytes) -> bytes:
    """Weighted preferences (RFC 9110 section 12.4.2) in lower case, without insignificant white space, repetitions,
    weights of 1 and trailing zeros. Their order stays, since some backends take the first; what is malformed too, since
    a backend may read it otherwise.
    """
    members = dict.fromkeys([_preference(part) for part in value.lower().split(b",")])
    return b",".join([member for member in members if member])


def _preference(member: bytes) -> bytes:
    text, *parameters = [part.strip() for part in member.split(b";")]
    quality = _QUALITY.fullmatch(parameters[0]) if len(parameters) == 1 else None
    if quality is None:
        return b";".join([text, *parameters])
    weight = float(quality[1])
    return text if weight == 1 else b"%b;q=%g" % (text, weight)


def tags(headers: Sequence[Header]) -> set[str]:
    """The tags in a response's Surrogate-Key, Cache-Tag and Cache-Groups (RFC 9875)."""
    if _TAG_FIELDS.isdisjoint([name for name, _ in headers]):
        return set()
    found = {tag for value in values(headers, b"surrogate-key") for tag in _surrogate_keys(value)}
    found.update(tag.strip() for value in values(headers, b"cache-tag") for tag in value.split(b","))
    found.update(tag for value in values(headers, b"cache-groups") for tag in _QUOTED.findall(value))
    return _decoded(found)


def are_indexable(found: Collection[str]) -> bool:
    """Whether a response can be found by each of these tags."""
    sizes = [len(tag.encode()) for tag in found]
    return len(sizes) <= MAX_TAGS and max(sizes, default=0) <= MAX_TAG_LENGTH and sum(sizes) <= MAX_TAG_BYTES


def groups(lines: Iterable[bytes]) -> set[str]:
    """The names in Cache-Group-Invalidation (RFC 9875 section 3) that stored responses can have."""
    return _decoded([tag for line in lines for tag in _QUOTED.findall(line) if len(tag) <= MAX_TAG_LENGTH])


def entity_tags(value: bytes) -> list[bytes]:
    """The members of a list of entity tags, which may contain commas (RFC 9110 section 8.8.3)."""
    return _ENTITY_TAG.findall(value)


def _surrogate_keys(value: bytes) -> Iterator[bytes]:
    """Keys are separated by spaces, or by commas, as some backends do: `a,b` counts as one key and as two."""
    for key in value.split():
        yield key.strip(b",")
        if b"," in key:
            yield from key.split(b",")


def _decoded(found: Iterable[bytes]) -> set[str]:
    return {tag.decode("utf-8", "backslashreplace") for tag in found if tag}


def storable(headers: Sequence[Header], withheld: Collection[bytes] = ()) -> tuple[Header, ...]:
    """The fields to store: all but NOT_STORED, those named in Connection, and `withheld` (RFC 9111 section 3.1)."""
    kept = [pair for pair in headers if pair[0] not in NOT_STORED]
    if withheld or len(kept) != len(headers):  # Connection is among those that were dropped
        dropped = names(values(headers, b"connection")).union(withheld)
        kept = [pair for pair in kept if pair[0] not in dropped]
    return tuple(kept)

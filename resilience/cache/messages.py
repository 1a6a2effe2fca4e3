"""What the cache reads of a request and of an answer, and the words for what it decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec

from resilience.cache import directives, fields
from resilience.cache.directives import Directives
from resilience.cache.entry import Entry
from resilience.cache.fields import Header

CACHE_CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since"})
"""Conditions that a cache may judge (RFC 9111 section 4.3.2)."""
ORIGIN_CONDITIONS: Final = frozenset({b"if-match", b"if-unmodified-since"})
"""Conditions that only the backend may judge (RFC 9111 section 4.3.2)."""
_DIRECTING: Final = frozenset({b"cache-control", b"pragma"})
_RANGE: Final = frozenset({b"range", b"if-range"})
CACHE_FIELDS: Final = CACHE_CONDITIONS | ORIGIN_CONDITIONS | _DIRECTING | _RANGE
"""Fields by which a request asks something of a cache."""


@dataclass(slots=True)
class CacheRequest:
    """What of a request the cache goes by. `authenticated`: the answer may depend on who asked.

    `decisive` are the fields it bears that ask something of a cache: none, for most.
    """

    method: str
    headers: Sequence[Header]
    authenticated: bool = False
    cache_fields: frozenset[bytes] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.cache_fields = CACHE_FIELDS.intersection([name for name, _ in self.headers])

    @property
    def control(self) -> Directives:
        """The request's directives; `Pragma: no-cache` stands in where there are none (RFC 9111 section 5.4)."""
        if self.cache_fields.isdisjoint(_DIRECTING):
            return {}
        lines = self.values(b"cache-control")
        if lines:
            return directives.parse(lines)
        return {b"no-cache": None} if b"no-cache" in directives.parse(self.values(b"pragma")) else {}

    def unconditional_get(self) -> "CacheRequest":
        """The same as a GET that asks nothing of a cache."""
        return CacheRequest("GET", [pair for pair in self.headers if pair[0] not in CACHE_FIELDS], self.authenticated)

    @property
    def can_share_fetch(self) -> bool:
        """Does this request want what others want who ask for the same, and would theirs do?"""
        return self.method == "GET" and self.cache_fields <= _DIRECTING and b"no-cache" not in self.control

    def values(self, name: bytes) -> list[bytes]:
        return fields.values(self.headers, name)


@dataclass(slots=True)
class CacheResponse:
    """What of a backend's answer the cache goes by. It came at `at` (Unix seconds), `delay` seconds after the call."""

    status: int
    headers: Sequence[Header]
    at: float
    delay: float = 0.0
    _lines: dict[bytes, list[bytes]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._lines = {}
        for name, value in self.headers:
            self._lines.setdefault(name, []).append(value)

    def values(self, name: bytes) -> Sequence[bytes]:
        """The values of all lines of a field, in their order."""
        return self._lines.get(name, ())


def response_directives(answered: CacheResponse) -> tuple[Directives, bool]:
    """The directives for this cache, and whether they are for caches such as this one alone.

    A targeted field that is there and valid silences Cache-Control and Expires (RFC 9213 section 2.2).
    """
    targeted = directives.parse_targeted(answered.values(b"cdn-cache-control"))
    if targeted is not None:
        return targeted, True
    return directives.parse(answered.values(b"cache-control")), False


class Forward(StrEnum):
    """Why a request goes on to the backend, in the words of Cache-Status (RFC 9211 section 2.2)."""

    BYPASS = "bypass"
    METHOD = "method"
    REQUEST = "request"
    URI_MISS = "uri-miss"
    VARY_MISS = "vary-miss"
    STALE = "stale"


class Fresh(msgspec.Struct, frozen=True):
    """To be given to the caller at once. `age` is seconds.

    `stale`: it is, and may be given all the same. `refresh`: it is to be renewed behind this answer, under the
    fence `seq`.
    """

    entry: Entry
    age: int
    stale: bool = False
    refresh: bool = False
    seq: int = 0


class Stale(msgspec.Struct, frozen=True):
    """Not to be given before the backend has been asked whether it still holds. `seq` is the fence for storing what
    it says. `usable`: to be given when the backend cannot be asked, or fails.
    """

    entry: Entry
    age: int
    seq: int = 0
    usable: bool = True
    reason: Forward = Forward.STALE

    @property
    def varies(self) -> bool:
        """May other answers be stored under the same key?"""
        return bool(self.entry.vary)


class Miss(msgspec.Struct, frozen=True):
    """Nothing for this caller. `seq` is the fence for storing what the backend says.

    `variant` is the digest of what the request says of the fields that the URI's stored answers vary by, if they do.
    """

    reason: Forward
    seq: int = 0
    variant: bytes = b""

    @property
    def varies(self) -> bool:
        """May other answers be stored under the same key?"""
        return self.reason is not Forward.URI_MISS


LookupResult = Fresh | Stale | Miss


class Freshness(msgspec.Struct, frozen=True):
    """Until when an answer is good for what, as Entry has them."""

    generated_at: float
    fresh_until: float
    refresh_until: float
    stale_until: float
    kept_until: float
    must_revalidate: bool


class Storable(msgspec.Struct, frozen=True):
    """An answer that may be kept, with these fields; chosen by those of `vary`."""

    freshness: Freshness
    vary: tuple[bytes, ...]
    variant: bytes
    headers: tuple[Header, ...]

    @property
    def fresh_until(self) -> float:
        return self.freshness.fresh_until


class Skip(msgspec.Struct, frozen=True):
    """An answer that is not kept, and the rule that keeps it out: an RFC's section, or a bound of ours."""

    reason: str
    rule: str = "the gateway's own"

"""Requests and responses as the cache sees them, and the results of its rules."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec

from resilience.cache import directives, fields, ignoring
from resilience.cache.directives import Directives
from resilience.cache.entry import Entry
from resilience.cache.fields import Header
from resilience.cache.ignoring import Ignorable
from resilience.cache.leases import Claim

CACHE_CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since"})
"""Preconditions that a cache evaluates (RFC 9111 section 4.3.2)."""
ORIGIN_CONDITIONS: Final = frozenset({b"if-match", b"if-unmodified-since"})
"""Preconditions that only the origin server evaluates (RFC 9111 section 4.3.2)."""
_DIRECTIVE_FIELDS: Final = frozenset({b"cache-control", b"pragma"})
RANGE_FIELDS: Final = frozenset({b"range", b"if-range"})
CACHE_FIELDS: Final = CACHE_CONDITIONS | ORIGIN_CONDITIONS | _DIRECTIVE_FIELDS | RANGE_FIELDS
"""Request fields that affect what a cache may respond."""


@dataclass(slots=True)
class CacheRequest:
    """A presented request (RFC 9111 section 4). `authenticated`: it has a credential. `can_validate`: a response to it
    can be validated, which preconditions do for GET and HEAD only (RFC 9110 section 13.1).

    A POST that reads is presented as a GET.

    `cache_fields` are the names of those CACHE_FIELDS that it contains: for most requests, none.
    """

    method: str
    headers: Sequence[Header]
    authenticated: bool = False
    can_validate: bool = True
    cache_fields: frozenset[bytes] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.cache_fields = CACHE_FIELDS.intersection([name for name, _ in self.headers])

    @property
    def control(self) -> Directives:
        """The request's cache directives. Without Cache-Control, `Pragma: no-cache` counts (RFC 9111 section 5.4)."""
        if self.cache_fields.isdisjoint(_DIRECTIVE_FIELDS):
            return {}
        lines = self.values(b"cache-control")
        if lines:
            return directives.parse(lines)
        return {b"no-cache": None} if b"no-cache" in directives.parse(self.values(b"pragma")) else {}

    def unconditional_get(self) -> "CacheRequest":
        """The same request as a GET without CACHE_FIELDS."""
        headers = [pair for pair in self.headers if pair[0] not in CACHE_FIELDS]
        return CacheRequest("GET", headers, self.authenticated, self.can_validate)

    @property
    def can_share_fetch(self) -> bool:
        """Whether the response to a concurrent request for the same key would do, and this one's for the others."""
        return self.method == "GET" and self.cache_fields <= _DIRECTIVE_FIELDS and b"no-cache" not in self.control

    def values(self, name: bytes) -> list[bytes]:
        """The values of all lines of a field, in order."""
        return fields.values(self.headers, name)


@dataclass(slots=True)
class CacheResponse:
    """A backend's response. `received_at` is in Unix seconds; `delay` is RFC 9111's response_delay, in seconds.

    `ignore`: what the cache does not read of it. `dropped`: names of fields that it had, and that no client is sent.
    """

    status: int
    headers: Sequence[Header]
    received_at: float
    delay: float = 0.0
    ignore: Sequence[Ignorable] = ()
    dropped: frozenset[bytes] = frozenset()
    _lines: dict[bytes, list[bytes]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._lines = {}
        for name, value in self.headers:
            self._lines.setdefault(name, []).append(value)
        if self.ignore:
            for name in ignoring.ignored_fields(self.ignore):
                self._lines.pop(name, None)

    @property
    def has_credential(self) -> bool:
        """Whether it sets a cookie, or hands out a credential otherwise."""
        return bool(self.dropped) or fields.has_credential(self.headers)

    def values(self, name: bytes) -> Sequence[bytes]:
        """The values of all lines of a field, in order."""
        return self._lines.get(name, ())


def response_directives(response: CacheResponse) -> tuple[Directives, bool]:
    """The directives that apply to this cache, and whether they are from a targeted field."""
    control, targeted = sent_directives(response)
    return (ignoring.without_ignored(control, response.ignore) if response.ignore else control), targeted


def sent_directives(response: CacheResponse) -> tuple[Directives, bool]:
    """The same with those that the cache ignores.

    A valid targeted field takes precedence over Cache-Control and Expires (RFC 9213 section 2.2).
    """
    targeted = directives.parse_targeted(response.values(b"cdn-cache-control"))
    if targeted is not None:
        return targeted, True
    return directives.parse(response.values(b"cache-control")), False


class Forward(StrEnum):
    """Why a request is forwarded to the backend, in the words of Cache-Status (RFC 9211 section 2.2)."""

    BYPASS = "bypass"
    METHOD = "method"
    REQUEST = "request"
    URI_MISS = "uri-miss"
    VARY_MISS = "vary-miss"
    STALE = "stale"


class Fresh(msgspec.Struct, frozen=True):
    """A stored response that may be sent at once. `age` is in seconds.

    `stale`: it is stale, but may be sent all the same. `refresh`: it is to be revalidated in the background, with the
    fence `seq`.
    """

    entry: Entry
    age: int
    stale: bool = False
    refresh: bool = False
    seq: int = 0


class Stale(msgspec.Struct, frozen=True):
    """A stored response that must be validated before it is sent. `seq` is the fence for storing the result.

    `usable`: it may be sent if the backend fails.
    """

    entry: Entry
    age: int
    seq: int = 0
    usable: bool = True
    reason: Forward = Forward.STALE

    @property
    def varies(self) -> bool:
        """Whether other responses may be stored under the same key."""
        return bool(self.entry.vary)


class Miss(msgspec.Struct, frozen=True):
    """No stored response for this request. `seq` is the fence for storing the backend's.

    `variant` is the digest of the request fields that the URI's stored responses vary by, if any. `claim`: the lookup
    has claimed the fetch.
    """

    reason: Forward
    seq: int = 0
    variant: bytes = b""
    claim: Claim | None = None

    @property
    def varies(self) -> bool:
        """Whether other responses may be stored under the same key."""
        return self.reason is not Forward.URI_MISS


LookupResult = Fresh | Stale | Miss


class Freshness(msgspec.Struct, frozen=True):
    """How long a response may be used for what. The fields are those of Entry."""

    generated_at: float
    fresh_until: float
    refresh_until: float
    stale_until: float
    kept_until: float
    must_revalidate: bool


class Storable(msgspec.Struct, frozen=True):
    """A response that may be stored, with these header fields; `vary`, `variant` and `ignored` are those of Entry."""

    freshness: Freshness
    vary: tuple[bytes, ...]
    variant: bytes
    headers: tuple[Header, ...]
    ignored: tuple[str, ...] = ()

    @property
    def fresh_until(self) -> float:
        return self.freshness.fresh_until


class Skip(msgspec.Struct, frozen=True):
    """Why a response is not stored, and the rule that forbids it: a section of an RFC, or a limit of the gateway."""

    reason: str
    rule: str = "the gateway's own"

"""RFC 9111's decisions for a shared cache: pure functions of a request, an answer, a policy and `now` (Unix seconds).

What asks a backend whether a stored answer still holds is not here: an answer that may be used only so is not stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from resilience.cache import directives, fields
from resilience.cache.directives import Directives, seconds
from resilience.cache.entry import Entry
from resilience.cache.fields import Header
from resilience.cache.policy import CachePolicy, Scope

HEURISTIC: Final = frozenset({200, 203, 204, 300, 301, 308})
"""Statuses that the policy's ttl may make fresh. The other heuristic ones (404, 405, 410, 414 and 501 in RFC 9110
section 15.1) are faults that an operator wants to see the end of: they must say themselves how long they last."""
PARTIAL: Final = frozenset({206, 304})
"""Statuses whose answer is not a whole one (RFC 9111 sections 3.3 and 4.3.4)."""

_DECISIVE: Final = frozenset({b"cache-control", b"pragma", b"range"})
_SCOPE_WIDTH: Final = {Scope.USER: 0, Scope.TENANT: 1, Scope.SHARED: 2}
_NEVER_STALE: Final = (b"must-revalidate", b"proxy-revalidate", b"s-maxage", b"no-cache")
_SHAREABLE: Final = (b"public", b"s-maxage", b"must-revalidate")


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request the cache goes by. `authenticated`: the answer may depend on who asked."""

    method: str
    headers: Sequence[Header]
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """What of a backend's answer the cache goes by. It came at `at` (Unix seconds), `delay` seconds after the call."""

    status: int
    headers: Sequence[Header]
    at: float
    delay: float = 0.0


class Forward(StrEnum):
    """Why a request goes on to the backend, in the words of Cache-Status (RFC 9211 section 2.2)."""

    METHOD = "method"
    REQUEST = "request"
    URI_MISS = "uri-miss"
    VARY_MISS = "vary-miss"
    STALE = "stale"


class Fresh(msgspec.Struct, frozen=True):
    """To be given to the caller at once. `age` is seconds."""

    entry: Entry
    age: int


class Stale(msgspec.Struct, frozen=True):
    """To be given only when the backend cannot be asked. `seq` is the fence for storing what it says when it can."""

    entry: Entry
    age: int
    seq: int = 0


class Miss(msgspec.Struct, frozen=True):
    """Nothing for this caller. `seq` is the fence for storing what the backend says."""

    reason: Forward
    seq: int = 0


class Storable(msgspec.Struct, frozen=True):
    """An answer that may be kept, until when it is fresh and until when of any use, and by what it was chosen."""

    born: float
    fresh_until: float
    stale_until: float
    vary: tuple[bytes, ...]
    variant: bytes


class Skip(msgspec.Struct, frozen=True):
    """An answer that is not kept."""

    reason: str


def may_store(asked: Asked, answered: Answered, policy: CachePolicy, scope: Scope) -> Storable | Skip:
    """May this answer be kept for `scope`, and for how long (RFC 9111 section 3)?

    `scope` is the one its key was made for, which may be wider than the policy's.
    """
    control, targeted = _control(answered.headers)
    refusal = (
        _refused_by_request(asked)
        or _refused_by_answer(answered, control)
        or _refused_by_scope(asked, policy, control, scope)
    )
    if refusal:
        return Skip(refusal)
    lifetime = _lifetime(policy, answered, control, targeted)
    if lifetime is None:
        return Skip("the answer says not how long it is fresh")
    born = answered.at - _initial_age(answered)
    fresh_until = born + lifetime
    stale_until = max(answered.at, fresh_until) + _usable_when_stale(policy, control)
    if stale_until <= answered.at:
        return Skip("the answer is stale already")
    vary = tuple(sorted(fields.names(fields.every(answered.headers, b"vary")) | _policy_vary(policy)))
    return Storable(born, fresh_until, stale_until, vary, fields.variant(asked.headers, vary) if vary else b"")


def is_whole(headers: Sequence[Header], length: int) -> bool:
    """Did all come that was announced? A body cut short is not stored as the whole (RFC 9111 section 3.3)."""
    return all(value.strip() == b"%d" % length for value in fields.every(headers, b"content-length"))


def refuses(asked: Asked) -> Forward | None:
    """Why this request has nothing to do with the cache, neither getting from it nor adding to it; None if it has.

    Only GET and HEAD are answered from it (RFC 9111 section 4); `no-store` asks to leave no trace (section 5.2.1.5).
    """
    if asked.method not in ("GET", "HEAD"):
        return Forward.METHOD
    if b"no-store" in _request_control(asked):
        return Forward.REQUEST
    return None


def lookup(entry: Entry | None, asked: Asked, now: float, seq: int = 0) -> Fresh | Stale | Miss:
    """May the stored answer be given to this request (RFC 9111 section 4)?"""
    refusal = refuses(asked)
    if refusal:
        return Miss(refusal, seq)
    if entry is None:
        return Miss(Forward.URI_MISS, seq)
    # The representation is selected by the fields that Vary names (RFC 9111 section 4.1).
    if entry.vary and fields.variant(asked.headers, entry.vary) != entry.variant:
        return Miss(Forward.VARY_MISS, seq)
    age = max(0.0, now - entry.born)
    control = _request_control(asked)
    if control:
        return _as_requested(entry, control, age, now, seq)
    if now < entry.fresh_until:
        return Fresh(entry, int(age))
    return Stale(entry, int(age), seq) if now < entry.stale_until else Miss(Forward.STALE, seq)


def _as_requested(entry: Entry, control: Directives, age: float, now: float, seq: int) -> Fresh | Stale | Miss:
    """The verdict on a request with directives of its own (RFC 9111 section 5.2.1)."""
    if b"no-cache" in control or b"range" in control:
        return Miss(Forward.REQUEST, seq)
    left, wanted, oldest = entry.fresh_until - now, seconds(control, b"min-fresh"), seconds(control, b"max-age")
    young = oldest is None or age < oldest
    if left > 0 and left >= (wanted or 0) and young:
        return Fresh(entry, int(age))
    if now < entry.stale_until:
        return Stale(entry, int(age), seq)
    return Miss(Forward.STALE, seq)


def _request_control(asked: Asked) -> Directives:
    """The request's directives; `Pragma: no-cache` stands in for them (RFC 9111 section 5.4), Range counts as one."""
    if not any(name in _DECISIVE for name, _ in asked.headers):
        return {}
    lines = fields.every(asked.headers, b"cache-control")
    control = directives.parse(lines or fields.every(asked.headers, b"pragma"))
    if any(name == b"range" for name, _ in asked.headers):
        control[b"range"] = None
    return control


def _control(headers: Sequence[Header]) -> tuple[Directives, bool]:
    """The directives for this cache, and whether they are for caches such as this one alone.

    A targeted field that is there and valid silences Cache-Control and Expires (RFC 9213 section 2.2).
    """
    targeted = directives.parse_targeted(fields.every(headers, b"cdn-cache-control"))
    if targeted is not None:
        return targeted, True
    return directives.parse(fields.every(headers, b"cache-control")), False


def _refused_by_request(asked: Asked) -> str | None:
    if asked.method != "GET":
        return f"the method is {asked.method}"
    return "the request says no-store" if refuses(asked) else None


def _refused_by_answer(answered: Answered, control: Directives) -> str | None:
    """What an answer forbids, or what makes it one caller's own (RFC 9111 sections 3, 5.2.2 and 7.3)."""
    status, headers = answered.status, answered.headers
    if status in PARTIAL or status < 200:
        return f"the status is {status}"
    for directive in (b"no-store", b"private", b"no-cache"):  # with or without field names (section 5.2.2.4)
        if directive in control:
            return f"the answer says {directive.decode()}"
    if any(name == b"set-cookie" for name, _ in headers):
        return "the answer sets a cookie"
    if b"*" in fields.names(fields.every(headers, b"vary")):  # never matches again (section 4.1)
        return "the answer varies by everything"
    return None


def _refused_by_scope(asked: Asked, policy: CachePolicy, control: Directives, scope: Scope) -> str | None:
    """An authenticated answer goes no wider than its route says, unless it says so itself (RFC 9111 section 3.5)."""
    wider = _SCOPE_WIDTH[scope] > _SCOPE_WIDTH[policy.scope]
    if wider and asked.authenticated and not any(directive in control for directive in _SHAREABLE):
        return "the answer is one caller's own"
    return None


def _lifetime(policy: CachePolicy, answered: Answered, control: Directives, targeted: bool) -> float | None:
    """Seconds from the answer's making for which it is fresh (RFC 9111 section 4.2.1); None when nothing says."""
    by_policy = policy.ttl if policy.ttl > 0 and answered.status in HEURISTIC else None
    if policy.override and by_policy is not None:
        return by_policy
    for name in (b"s-maxage", b"max-age"):
        explicit = seconds(control, name)
        if explicit is not None:
            return explicit
    expires = [] if targeted else fields.every(answered.headers, b"expires")
    return _until(expires, answered) if expires else by_policy


def _until(expires: Sequence[bytes], answered: Answered) -> float:
    """Expires less Date. A date that is none, "0" above all, is in the past (RFC 9111 section 5.3)."""
    end, made = fields.date(expires), fields.date(fields.every(answered.headers, b"date"))
    return 0.0 if end is None else max(0.0, end - (answered.at if made is None else made))


def _initial_age(answered: Answered) -> float:
    """How old the answer was when it came (RFC 9111 section 4.2.3)."""
    made = fields.date(fields.every(answered.headers, b"date"))
    apparent = 0.0 if made is None else max(0.0, answered.at - made)
    return max(apparent, fields.age(fields.every(answered.headers, b"age")) + answered.delay)


def _usable_when_stale(policy: CachePolicy, control: Directives) -> float:
    """Seconds past its freshness for which an answer beats none (RFC 5861 section 4, RFC 9111 section 4.2.4)."""
    if any(directive in control for directive in _NEVER_STALE):
        return 0.0
    own = seconds(control, b"stale-if-error")
    return policy.stale_if_error if own is None else own


def _policy_vary(policy: CachePolicy) -> set[bytes]:
    return {name.lower().encode() for name in policy.vary}

"""What may be kept, and for how long: RFC 9111 sections 3 and 4.2, as pure functions. Times are Unix seconds."""

from collections.abc import Sequence, Set
from email.utils import formatdate
from typing import Final

from resilience.cache import fields
from resilience.cache.directives import Directives, seconds
from resilience.cache.fields import Header
from resilience.cache.messages import CacheRequest, CacheResponse, Freshness, Skip, Storable, response_directives
from resilience.cache.policy import CachePolicy, Scope

HEURISTIC: Final = frozenset({200, 203, 204, 300, 301, 308})
"""Statuses that the policy's ttl may make fresh."""
LASTING: Final = frozenset({404, 405, 410, 414, 501})
"""The other heuristic ones (RFC 9110 section 15.1) are faults that an operator wants to see the end of: they must say
themselves how long they last, or at least since when."""
PARTIAL: Final = frozenset({206, 304})
"""Statuses whose answer is not a whole one (RFC 9111 sections 3.3 and 4.3.4)."""
UNDERSTOOD: Final = HEURISTIC | LASTING | {302, 303, 307, 451}
"""Statuses whose storing RFC 9110 section 15 says enough about for `must-understand` (RFC 9111 section 5.2.2.3)."""
DEFAULT_SHARE: Final = 0.1
LONGEST_GUESS: Final = 86_400.0
"""An answer that tells only when it last changed is taken to be fresh for a tenth of the time since, a day at most
(RFC 9111 section 4.2.2)."""
VALIDATED_SECONDS: Final = 3_600.0
"""How long after its end an answer is kept because the backend can be asked whether it still holds."""

_SCOPE_WIDTH: Final = {Scope.USER: 0, Scope.TENANT: 1, Scope.SHARED: 2}
_NEVER_STALE: Final = frozenset({b"must-revalidate", b"proxy-revalidate", b"s-maxage"})
_SHAREABLE: Final = frozenset({b"public", b"s-maxage", b"must-revalidate"})
_VALIDATORS: Final = frozenset({b"etag", b"last-modified"})


def may_store(asked: CacheRequest, answered: CacheResponse, policy: CachePolicy, scope: Scope) -> Storable | Skip:
    """May this answer be kept for `scope`, and for how long (RFC 9111 section 3)?

    `scope` is the one its key was made for, which may be wider than the policy's.
    """
    control, targeted = response_directives(answered)
    headers = fields.kept(answered.headers, _withheld(control))
    names = {name for name, _ in headers}
    refusal = (
        _refused_by_request(asked)
        or _refused_by_answer(answered, control, names)
        or _refused_by_scope(asked, policy, control, scope)
    )
    if refusal:
        return refusal
    lifetime = _lifetime(policy, answered, control, targeted)
    if lifetime is None:
        return Skip("the answer says not how long it is fresh", "RFC 9111 section 3")
    times = _times(answered, policy, control, lifetime, keepable=not _VALIDATORS.isdisjoint(names))
    if times.kept_until <= answered.at:
        return Skip("the answer is stale already", "RFC 9111 section 4.2.4")
    if b"date" not in names:  # RFC 9110 section 6.6.1
        headers = (*headers, (b"date", formatdate(answered.at, usegmt=True).encode()))
    vary = _vary(answered, policy)
    return Storable(times, vary, fields.variant(asked.headers, vary) if vary else b"", headers)


def is_shareable(control: Directives) -> bool:
    """Does an answer to somebody's credential say itself that others may have it (RFC 9111 section 3.5)?"""
    return not _SHAREABLE.isdisjoint(control)


def is_whole(headers: Sequence[Header], length: int) -> bool:
    """Did all come that was announced? A body cut short is not stored as the whole (RFC 9111 section 3.3)."""
    return all(value.strip() == b"%d" % length for value in fields.values(headers, b"content-length"))


def _times(
    answered: CacheResponse, policy: CachePolicy, control: Directives, lifetime: float, *, keepable: bool
) -> Freshness:
    """Until when the answer is good for what (RFC 9111 section 4.2). `keepable`: a backend can be asked about it."""
    born = answered.at - _initial_age(answered)
    strict = not _NEVER_STALE.isdisjoint(control) or _is_bare(control, b"no-cache")
    fresh_until = 0.0 if _is_bare(control, b"no-cache") else born + lifetime
    ends = max(answered.at, fresh_until)
    refresh_until = ends + _beyond(policy.stale_while_revalidate, control, b"stale-while-revalidate", strict)
    stale_until = ends + _beyond(policy.stale_if_error, control, b"stale-if-error", strict)
    kept_until = max(refresh_until, stale_until, ends + VALIDATED_SECONDS if keepable else 0.0)
    return Freshness(born, fresh_until, refresh_until, stale_until, kept_until, strict)


def _withheld(control: Directives) -> set[bytes]:
    """Fields that `no-cache` or `private` is about, and about no others (RFC 9111 sections 5.2.2.4 and 5.2.2.7)."""
    return fields.names([said for name in (b"no-cache", b"private") if (said := control.get(name))])


def _is_bare(control: Directives, name: bytes) -> bool:
    """Is the directive there without field names, and so about the whole answer?"""
    return name in control and not control[name]


def _refused_by_request(asked: CacheRequest) -> Skip | None:
    """Only GET is stored; `no-store` asks to leave no trace (RFC 9111 section 5.2.1.5)."""
    if asked.method != "GET":
        return Skip(f"the method is {asked.method}", "RFC 9111 section 3")
    return Skip("the request says no-store", "RFC 9111 section 5.2.1.5") if b"no-store" in asked.control else None


def _refused_by_answer(answered: CacheResponse, control: Directives, names: Set[bytes]) -> Skip | None:
    """What an answer forbids, or what makes it one caller's own (RFC 9111 sections 3, 5.2.2 and 7.3). `names` are those
    of the fields that would be stored.
    """
    if answered.status in PARTIAL or answered.status < 200:
        return Skip(f"the status is {answered.status}", "RFC 9111 section 3")
    forbidden = _refused_by_directive(answered.status, control)
    if forbidden:
        return forbidden
    if b"set-cookie" in names:
        return Skip("the answer sets a cookie", "RFC 9111 section 7.3")
    if b"*" in fields.names(answered.values(b"vary")):  # never matches again
        return Skip("the answer varies by everything", "RFC 9111 section 4.1")
    if _is_bare(control, b"no-cache") and _VALIDATORS.isdisjoint(names):  # it could not be asked about
        return Skip("the answer says no-cache and has no validator", "RFC 9111 section 5.2.2.4")
    return None


def _refused_by_directive(status: int, control: Directives) -> Skip | None:
    """`must-understand` takes the place of `no-store` where the status is understood (RFC 9111 section 5.2.2.3)."""
    if b"must-understand" in control:
        if status not in UNDERSTOOD:
            return Skip(f"the status {status} must be understood", "RFC 9111 section 5.2.2.3")
    elif b"no-store" in control:
        return Skip("the answer says no-store", "RFC 9111 section 5.2.2.5")
    return Skip("the answer says private", "RFC 9111 section 5.2.2.7") if _is_bare(control, b"private") else None


def _refused_by_scope(asked: CacheRequest, policy: CachePolicy, control: Directives, scope: Scope) -> Skip | None:
    """An authenticated answer goes no wider than its route says, unless it says so itself (RFC 9111 section 3.5)."""
    wider = _SCOPE_WIDTH[scope] > _SCOPE_WIDTH[policy.scope]
    if wider and asked.authenticated and not is_shareable(control):
        return Skip("the answer is one caller's own", "RFC 9111 section 3.5")
    return None


def _lifetime(policy: CachePolicy, answered: CacheResponse, control: Directives, targeted: bool) -> float | None:
    """Seconds from the answer's making for which it is fresh (RFC 9111 section 4.2.1); None when nothing says."""
    guessed = _guessed(policy, answered, control)
    if policy.override and policy.ttl > 0 and answered.status in HEURISTIC:
        return policy.ttl
    for name in (b"s-maxage", b"max-age"):
        explicit = seconds(control, name)
        if explicit is not None:
            return explicit
    expires = () if targeted else answered.values(b"expires")
    if expires:
        return _until(expires, answered)
    if guessed is None and _is_bare(control, b"no-cache"):  # asked about each time, it needs no lifetime
        return 0.0
    return guessed


def _guessed(policy: CachePolicy, answered: CacheResponse, control: Directives) -> float | None:
    """The operator's word, else a share of the time since the last change (RFC 9111 section 4.2.2)."""
    if answered.status in HEURISTIC or b"public" in control:
        if policy.ttl > 0:
            return policy.ttl
    elif answered.status not in LASTING:
        return None
    changed = fields.date(answered.values(b"last-modified"))
    if changed is None:
        return None
    return min(LONGEST_GUESS, max(0.0, _made(answered) - changed) * DEFAULT_SHARE)


def _until(expires: Sequence[bytes], answered: CacheResponse) -> float:
    """Expires less Date. A date that is none, "0" above all, is in the past (RFC 9111 section 5.3)."""
    end = fields.date(expires)
    return 0.0 if end is None else max(0.0, end - _made(answered))


def _made(answered: CacheResponse) -> float:
    """When the answer says it was made; when it came, if it does not (RFC 9110 section 6.6.1)."""
    made = fields.date(answered.values(b"date"))
    return answered.at if made is None else made


def _initial_age(answered: CacheResponse) -> float:
    """How old the answer was when it came (RFC 9111 section 4.2.3)."""
    apparent = max(0.0, answered.at - _made(answered))
    return max(apparent, fields.age(answered.values(b"age")) + answered.delay)


def _beyond(wanted: float, control: Directives, name: bytes, strict: bool) -> float:
    """Seconds past its freshness for which an answer beats none (RFC 5861, RFC 9111 section 4.2.4)."""
    if strict:
        return 0.0
    own = seconds(control, name)
    return wanted if own is None else own


def _vary(answered: CacheResponse, policy: CachePolicy) -> tuple[bytes, ...]:
    """The request fields that the answer is chosen by: its own words, and the route's."""
    named = fields.names(answered.values(b"vary"))
    named.update(name.lower().encode() for name in policy.vary)
    return tuple(sorted(named))

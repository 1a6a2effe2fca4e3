"""What the gateway decides about one request, and where two decisions differ."""

from enum import StrEnum
from typing import Final

import msgspec

from metrics.request_log.building import cache_key_of, cache_rule_of
from routing import errors
from routing.exchange import Exchange
from routing.observability.events import RequestFinished


class Verdict(StrEnum):
    """How a request ends. ROUTED: with the response of a backend. CACHED: with a stored one. LIMITED: over a limit of
    its caller or of its service. REFUSED: by any other rule. FAILED: the backend failed, or its circuit is open.
    """

    ROUTED = "routed"
    CACHED = "cached"
    LIMITED = "limited"
    REFUSED = "refused"
    FAILED = "failed"


_LIMITS: Final = frozenset(
    error.code for error in (errors.RateLimited, errors.QuotaExceeded, errors.BackendLimited, errors.Overloaded)
)
_FAILURES: Final = frozenset(error.code for error in (errors.BadGateway, errors.UpstreamTimeout, errors.CircuitOpen))
_FROM_CACHE: Final = frozenset({"HIT", "STALE"})
_VERDICT_FIELDS: Final = ("verdict", "service", "route", "status", "code", "fallback")


class Decision(msgspec.Struct, frozen=True, gc=False):
    """`route` is the pattern of the matched route, `code` that of the gateway's own error response, `cache` the value
    of X-Cache. `cache_rule` says how responses of the route are stored, `cache_key` under which key; both are empty
    where the request was not looked up.
    """

    verdict: Verdict
    service: str
    route: str
    status: int
    code: str
    cache: str
    cache_rule: str
    cache_key: str
    fallback: str

    def differences(self, other: "Decision") -> tuple[str, ...]:
        """The names of the fields in which the other one differs. Those about the cache count only where both requests
        came so far: the verdict shows what follows otherwise.
        """
        found = [name for name in _VERDICT_FIELDS if getattr(self, name) != getattr(other, name)]
        for name in ("cache_rule", "cache_key"):
            mine, others = getattr(self, name), getattr(other, name)
            if mine and others and mine != others:
                found.append(name)
        return tuple(found)


def changes_verdict(differences: tuple[str, ...]) -> bool:
    """Whether callers would notice: the others are about how responses are stored."""
    return any(name in _VERDICT_FIELDS for name in differences)


def decision_of(exchange: Exchange, event: RequestFinished) -> Decision:
    match = exchange.resolution.match
    was_routed = match is not None and "match" in vars(exchange)
    return Decision(
        _verdict(exchange.error_code, event),
        event.service,
        event.route,
        event.status,
        exchange.error_code,
        event.cache,
        cache_rule_of(match.policy.cache) if match is not None and was_routed else "",
        cache_key_of(exchange),
        event.fallback,
    )


def _verdict(code: str, event: RequestFinished) -> Verdict:
    if code:
        if code in _LIMITS:
            return Verdict.LIMITED
        return Verdict.FAILED if code in _FAILURES else Verdict.REFUSED
    return Verdict.CACHED if event.cache in _FROM_CACHE else Verdict.ROUTED

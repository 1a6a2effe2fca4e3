"""What counts say about an incident: its causes, whom it has hit, and what callers received meanwhile. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

from metrics.counting.counts import Fields, with_prefix
from metrics.counting.faults import FaultKind
from metrics.incidents.incident import Incident, SignalKind
from routing.errors import CircuitOpen, GatewayError

MAX_CAUSES: Final = 4
MAX_CALLERS: Final = 5
_KINDS: Final = {
    SignalKind.CLIENT_ERRORS: FaultKind.CLIENT_ERROR,
    SignalKind.REFUSALS: FaultKind.REFUSAL,
}


def _statuses(error: type[GatewayError]) -> dict[str, int]:
    """The status of each error code of a class and its subclasses."""
    own = {error.code: int(error.status)} if hasattr(error, "code") else {}
    for subclass in error.__subclasses__():
        own = {**_statuses(subclass), **own}
    return own


_STATUSES: Final = _statuses(GatewayError)


class Share(msgspec.Struct, frozen=True):
    """A number of requests under a name, and which part of all of its kind that is, from 0 to 1."""

    name: str
    count: int
    share: float


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """`failed` of `requests` have failed in the way that the incident is about. `callers` is how many callers were hit,
    as far as they are counted; `top_callers` are those hit most often. `answers` is what callers received: empty if it
    was nothing but what the service responds.
    """

    requests: int
    failed: int
    causes: tuple[Share, ...]
    callers: int
    top_callers: tuple[Share, ...]
    answers: tuple[Share, ...]


def fault_kind(incident: Incident) -> FaultKind:
    return _KINDS.get(incident.signals[0].kind, FaultKind.ERROR)


def evidence(fields: Fields, kind: FaultKind) -> Evidence:
    """`fields` are the sums since the incident began."""
    requests = sum(with_prefix(fields, "requests").values())
    causes, callers = with_prefix(fields, f"fault|{kind}"), with_prefix(fields, f"affected|{kind}")
    failed = sum(callers.values())
    return Evidence(
        requests=requests,
        failed=failed,
        causes=_top(causes, sum(causes.values()), MAX_CAUSES),
        callers=len(callers),
        top_callers=_top(callers, failed, MAX_CALLERS),
        answers=_answers(fields, requests),
    )


def _answers(fields: Fields, requests: int) -> tuple[Share, ...]:
    """Last, unless there is nothing else, the service's own responses: all that is left."""
    others = _other_answers(fields)
    own = requests - sum(others.values())
    rest = _top({"what the service responds": own}, requests, 1) if others and own > 0 else ()
    return *_top(others, requests, MAX_CAUSES), *rest


def _other_answers(fields: Fields) -> dict[str, int]:
    """Static fallbacks are what is left of the calls that the circuit has refused."""
    stale = with_prefix(fields, "cache").get("STALE", 0)
    fallbacks = with_prefix(fields, "fallback")
    codes = with_prefix(fields, "code")
    fixed = with_prefix(fields, "circuit").get("refused", 0) - stale - sum(fallbacks.values())
    fixed -= codes.get(CircuitOpen.code, 0)
    found = {"stale responses from the cache": stale, "the configured fallback": fixed}
    found |= {f"responses of {name}": number for name, number in fallbacks.items()}
    found |= {f"{_STATUSES.get(code, '')} {code}".strip(): number for code, number in codes.items()}
    return {name: number for name, number in found.items() if number > 0}


def _top(counts: Mapping[str, int], total: int, limit: int) -> tuple[Share, ...]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return tuple(Share(name, count, round(count / total, 3) if total else 0.0) for name, count in ordered)

"""Signals of a service's circuit and targets. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from metrics.counting.counts import Fields
from metrics.incidents.incident import AFTER_SECONDS, Signal, SignalKind
from resilience.breaker.machine import State
from resilience.durations import MINUTE

WELL: Final = frozenset({State.CLOSED, State.DISABLED})
"""States in which the circuit refuses no call."""
_NAMES: Final = {
    State.OPEN: "the circuit is open",
    State.FORCED_OPEN: "the circuit was forced open",
    State.HALF_OPEN: "the circuit is half open: calls are tried",
}
_WAS_OPEN: Final = "the circuit was open"
_FAILED: Final = ("target|down", "target|ejected")
_RETURNED: Final = ("target|up", "target|returned")


class Transition(NamedTuple):
    """A circuit's change to the state `after` at `at` (Unix seconds)."""

    at: float
    after: str
    reason: str


def circuit_signal(
    state: State, reason: str, transitions: Iterable[Transition], minutes: Mapping[int, Fields], now: float
) -> Signal | None:
    """`transitions` are the latest, the oldest first. They are recorded within seconds: `state` and the counts of
    `minutes` are more recent.

    A circuit that opens again within AFTER_SECONDS was not well in between.
    """
    began, ended, why = None, None, ""
    for transition in transitions:
        if transition.after in WELL:
            ended = ended if began is None or ended is not None else transition.at
            continue
        if began is None or (ended is not None and transition.at - ended > AFTER_SECONDS):
            began, why = transition.at, ""
        why = transition.reason if transition.after != State.HALF_OPEN else why
        ended = None
    if state in WELL:
        if began is None:
            return None
        ended = ended or min(now, _last_closed(minutes) or began)
        text = f"{_WAS_OPEN}: {why}" if why else _WAS_OPEN
        return Signal(kind=SignalKind.CIRCUIT, text=text, since=began, ended=ended)
    if began is None or (ended is not None and now - ended > AFTER_SECONDS):
        began = now
    detail = "" if state is State.HALF_OPEN else reason or why
    text = f"{_NAMES[state]}: {detail}" if detail else _NAMES[state]
    return Signal(kind=SignalKind.CIRCUIT, text=text, since=began, tentative=state is State.HALF_OPEN)


def moved(fields: Fields) -> bool:
    """Whether the circuit changed its state in this minute."""
    return any(field.startswith("transition|") for field in fields)


def _last_closed(minutes: Mapping[int, Fields]) -> float | None:
    """The end of the last minute in which the circuit closed."""
    closed = [start for start, fields in minutes.items() if any(_closes(field) for field in fields)]
    return float(max(closed) + MINUTE) if closed else None


def _closes(field: str) -> bool:
    return field.startswith("transition|") and field.endswith(f"|{State.CLOSED}")


def target_signal(unhealthy: Mapping[str, str], count: int, minutes: Mapping[int, Fields]) -> Signal | None:
    """`unhealthy` says why targets receive no calls, by address; `count` is that of all; `minutes` are counts."""
    failed = [start for start, fields in minutes.items() if any(name in fields for name in _FAILED)]
    if unhealthy:
        names = ", ".join(f"{urlsplit(url).netloc or url} {why}" for url, why in sorted(unhealthy.items()))
        text = f"{len(unhealthy)} of {count} {'target' if count == 1 else 'targets'} without calls: {names}"
        return Signal(kind=SignalKind.TARGETS, text=text, since=float(max(failed)) if failed else None)
    returned = [start for start, fields in minutes.items() if any(name in fields for name in _RETURNED)]
    if not failed or not returned or max(returned) < max(failed):
        return None
    text = "a target was without calls"
    return Signal(kind=SignalKind.TARGETS, text=text, since=float(max(failed)), ended=float(max(returned) + MINUTE))

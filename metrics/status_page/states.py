"""What strangers see of services, from their circuits, incidents and daily counts. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from math import floor
from typing import Final, NamedTuple

from metrics.incidents.circuits import WELL, Transition
from metrics.incidents.incident import Incident, Phase, SignalKind
from resilience.breaker.machine import State
from resilience.durations import DAY
from routing.router.table import Service

"""Seconds."""
GOOD_SHARE: Final = 99.0
"""Percent of a day's requests that have to succeed for it to be shown as good, and as not bad."""
FAIR_SHARE: Final = 95.0
NOTICEABLE: Final = frozenset({SignalKind.CIRCUIT, SignalKind.ERRORS, SignalKind.LATENCY})
"""Signals whose effects callers notice."""
DOWN_STATES: Final = frozenset({State.OPEN, State.FORCED_OPEN})


class ServiceState(StrEnum):
    """The worst first."""

    DOWN = "down"
    DEGRADED = "degraded"
    MAINTENANCE = "maintenance"
    OPERATIONAL = "operational"


class Day(NamedTuple):
    """The requests of one day of UTC, which begins at `start` (Unix seconds). `errors` have status 500 and above."""

    start: int
    requests: int = 0
    errors: int = 0

    @property
    def date(self) -> datetime:
        return datetime.fromtimestamp(self.start, UTC)

    @property
    def share(self) -> float | None:
        """The percentage of requests that succeeded."""
        return success_share(self.requests, self.errors)

    @property
    def level(self) -> str:
        if self.share is None:
            return "none"
        return "good" if self.share >= GOOD_SHARE else "fair" if self.share >= FAIR_SHARE else "bad"


class Interruption(NamedTuple):
    """A time in which a service's circuit was open: Unix seconds. `ended` is None while it lasts."""

    label: str
    began: float
    ended: float | None


def success_share(requests: int, errors: int) -> float | None:
    """A percentage, rounded down to two decimals so that one failure is never shown as none; None without requests."""
    return floor(10_000 * (requests - errors) / requests) / 100 if requests else None


def state_of(service: Service, circuit: State, incident: Incident | None) -> ServiceState:
    if not service.policy.enabled:
        return ServiceState.MAINTENANCE
    if service.is_out or circuit in DOWN_STATES:
        return ServiceState.DOWN
    is_noticed = (
        incident is not None
        and incident.phase is not Phase.RECOVERED
        and any(signal.kind in NOTICEABLE for signal in incident.signals if signal.ended is None)
    )
    return ServiceState.DEGRADED if is_noticed or circuit is State.HALF_OPEN else ServiceState.OPERATIONAL


def worst(states: Iterable[ServiceState]) -> ServiceState:
    found = set(states)
    return next((state for state in ServiceState if state in found), ServiceState.OPERATIONAL)


def interruptions(label: str, transitions: Iterable[Transition]) -> list[Interruption]:
    """Those of one service, the latest first. `transitions` are the oldest first."""
    found: list[Interruption] = []
    for transition in transitions:
        is_well, lasts = transition.after in WELL, bool(found) and found[-1].ended is None
        if not is_well and not lasts:
            found.append(Interruption(label, transition.at, None))
        elif is_well and lasts:
            found[-1] = found[-1]._replace(ended=transition.at)
    return found[::-1]


def with_every_day(days: Sequence[Day], today: int, number: int) -> tuple[Day, ...]:
    """The last `number` days up to `today`, the oldest first; days without counts are empty."""
    known = {day.start: day for day in days}
    return tuple(known.get(start, Day(start)) for start in range(today - (number - 1) * DAY, today + DAY, DAY))

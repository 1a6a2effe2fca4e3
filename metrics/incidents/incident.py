"""An incident, made of the signals of one service. Pure."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

AFTER_SECONDS: Final = 300.0
"""How long an incident is shown after it has ended. What begins again within this time continues it."""


class SignalKind(StrEnum):
    """What a signal is about, the most severe first."""

    CIRCUIT = "circuit"
    OUT_OF_SERVICE = "out_of_service"
    ERRORS = "errors"
    TARGETS = "targets"
    REFUSALS = "refusals"
    CLIENT_ERRORS = "client_errors"
    LATENCY = "latency"
    HIT_RATE = "hit_rate"
    QUOTA = "quota"


SEVERITY: Final = {kind: index for index, kind in enumerate(SignalKind)}
TRAFFIC: Final = frozenset({SignalKind.ERRORS, SignalKind.LATENCY})
"""What counts of minutes still show for a while after a circuit has closed again."""
BAD: Final = frozenset({SignalKind.CIRCUIT, SignalKind.OUT_OF_SERVICE, SignalKind.ERRORS})
"""What is shown as a failure; the others are warnings."""


class Phase(StrEnum):
    """RECOVERING: calls are tried again. RECOVERED: all is well, for less than AFTER_SECONDS."""

    ACTIVE = "active"
    RECOVERING = "recovering"
    RECOVERED = "recovered"


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, in words. `since` and `ended` are Unix seconds, None if unknown and not ended.

    `tentative`: it seems to be over, and is being tried.
    """

    kind: SignalKind
    text: str
    since: float | None = None
    ended: float | None = None
    tentative: bool = False


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """`service` is empty for what concerns consumers. `since` is when the first of its signals began."""

    service: str
    phase: Phase
    is_bad: bool
    since: float | None
    ended: float | None
    signals: tuple[Signal, ...]


def incident_of(service: str, signals: Iterable[Signal], now: float) -> Incident | None:
    """The incident that these signals are, the most severe first and those that last before those that have ended.

    None if all have ended more than AFTER_SECONDS ago.
    """
    shown = [signal for signal in signals if signal.ended is None or now - signal.ended <= AFTER_SECONDS]
    if not shown:
        return None
    shown.sort(key=lambda signal: (signal.ended is not None, SEVERITY[signal.kind]))
    lasting = [signal for signal in shown if signal.ended is None]
    starts = [signal.since for signal in shown if signal.since is not None]
    return Incident(
        service=service,
        phase=_phase(lasting, shown),
        is_bad=any(signal.kind in BAD for signal in lasting),
        since=min(starts, default=None),
        ended=None if lasting else max(signal.ended or 0.0 for signal in shown),
        signals=tuple(shown),
    )


def _phase(lasting: list[Signal], shown: list[Signal]) -> Phase:
    """A circuit that has closed is better evidence of the last calls than counts by minute."""
    if not lasting:
        return Phase.RECOVERED
    has_closed = any(signal.kind is SignalKind.CIRCUIT and signal.ended is not None for signal in shown)
    is_tried = lasting[0].tentative or (has_closed and all(signal.kind in TRAFFIC for signal in lasting))
    return Phase.RECOVERING if is_tried else Phase.ACTIVE


def urgency(incident: Incident) -> tuple[bool, bool, float]:
    """The order of incidents: those that last, failures before warnings, the latest first."""
    return (incident.phase is Phase.RECOVERED, not incident.is_bad, -(incident.since or 0.0))

"""The circuit breaker's state machine, as pure functions of (snapshot, policy, now).

`now` is Unix seconds, since workers on several machines read the same snapshot. Every transition raises the generation;
the outcome of a call that was admitted under an earlier generation is ignored.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from resilience.breaker.policy import BreakerPolicy
from resilience.statuses import FAILURE_STATUSES, INCONCLUSIVE_STATUSES


class State(StrEnum):
    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"
    FORCED_OPEN = "FORCED_OPEN"
    DISABLED = "DISABLED"


class Outcome(StrEnum):
    """How a permitted call ended. CANCELLED says nothing about the backend: a probe's permit is returned."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


AUTOMATIC: Final = frozenset(
    {
        (State.CLOSED, State.OPEN),
        (State.OPEN, State.HALF_OPEN),
        (State.HALF_OPEN, State.CLOSED),
        (State.HALF_OPEN, State.OPEN),
        (State.FORCED_OPEN, State.CLOSED),
        (State.DISABLED, State.CLOSED),
    }
)
"""Transitions that need no operator; the last two are made when an override expires."""

OPERATOR: Final = frozenset(
    (before, after) for before in State for after in (State.CLOSED, State.FORCED_OPEN, State.DISABLED)
)
"""Transitions that an operator may force: a reset or an override, from any state."""

TRANSITIONS: Final = AUTOMATIC | OPERATOR

CLOCK_SECONDS: Final = 1.0
"""How far the clocks of two workers may differ."""
PROBE_SECONDS: Final = 1.0
"""`retry_after` while all permits are leased: a probe usually ends long before its lease expires."""


class IllegalTransition(Exception):
    """A transition that is not in TRANSITIONS."""


class ProbeLease(msgspec.Struct, frozen=True):
    """A probe's permit. It expires at `expires` (Unix seconds) if its holder never reports."""

    holder: str
    expires: float


class Snapshot(msgspec.Struct, frozen=True):
    """A circuit's whole shared state, small enough to be compared and set as one value.

    `until` is when OPEN or an override ends; None for no end. `failures` are the times of the failures in the window.
    """

    state: State = State.CLOSED
    generation: int = 0
    failures: tuple[float, ...] = ()
    successes: int = 0
    leases: tuple[ProbeLease, ...] = ()
    until: float | None = None
    reason: str = ""
    trips: int = 0
    """How many times in a row it opened without staying closed for a whole window in between."""
    closed_at: float | None = None
    """When successful probes closed it."""
    overridden_at: float = 0.0
    """When an operator last decided, in Unix seconds; 0 if none has."""

    @property
    def version(self) -> tuple[float, int]:
        """The higher one is kept, of two that workers have reached without each other while the store was unavailable:
        the operator's last decision, and then the one with more transitions.
        """
        return self.overridden_at, self.generation


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission for one call. `holder` is set for a probe, whose permit is leased."""

    generation: int
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """No call now; `retry_after` is in seconds."""

    state: State
    retry_after: float


Admission = Permit | Refusal


def admit(snapshot: Snapshot, policy: BreakerPolicy, now: float, holder: str) -> tuple[Snapshot, Admission]:
    """Admit or refuse a call by `holder`. A changed snapshot must be shared before the call is made."""
    current = advance(snapshot, now)
    match current.state:
        case State.CLOSED | State.DISABLED:
            return current, Permit(current.generation)
        case State.HALF_OPEN if len(current.leases) < policy.half_open_permits:
            lease = ProbeLease(holder, now + policy.permit_lease)
            leased = msgspec.structs.replace(current, leases=(*current.leases, lease))
            return leased, Permit(current.generation, holder)
    return current, Refusal(current.state, retry_after(current, policy, now))


def record(snapshot: Snapshot, policy: BreakerPolicy, permit: Permit, outcome: Outcome, now: float) -> Snapshot:
    """Count a permitted call's outcome, unless the permit is of an earlier generation."""
    current = advance(snapshot, now)
    if permit.generation != current.generation:
        return current
    if current.state is State.HALF_OPEN:
        return _record_probe(current, policy, permit, outcome, now)
    if current.state is State.CLOSED and outcome is Outcome.FAILURE:
        return _record_failure(current, policy, now)
    return current


def advance(snapshot: Snapshot, now: float) -> Snapshot:
    """Apply what is due by time: half-open an open circuit, end an override, drop expired leases."""
    if snapshot.until is not None and now >= snapshot.until:
        if snapshot.state is State.OPEN:
            return move(snapshot, State.HALF_OPEN, reason="the open time is over", trips=snapshot.trips)
        return move(snapshot, State.CLOSED, reason="the override expired")
    if snapshot.leases and any(lease.expires <= now for lease in snapshot.leases):
        unexpired = tuple(lease for lease in snapshot.leases if lease.expires > now)
        return msgspec.structs.replace(snapshot, leases=unexpired)
    return snapshot


def shorten(snapshot: Snapshot, policy: BreakerPolicy, now: float) -> Snapshot:
    """Let an open circuit stay open no longer than `policy` says from `now` on: its open time may have been made
    shorter since it opened. Up to CLOCK_SECONDS more is taken for the clock of the worker that opened it.
    """
    longest = now + policy.open_time(max(snapshot.trips, 1))
    if snapshot.state is State.OPEN and snapshot.until is not None and snapshot.until > longest + CLOCK_SECONDS:
        return msgspec.structs.replace(snapshot, until=longest)
    return snapshot


def move(snapshot: Snapshot, after: State, *, until: float | None = None, reason: str = "", trips: int = 0) -> Snapshot:
    """Make a transition to `after`, with no failures counted. Raises IllegalTransition if it is not in TRANSITIONS."""
    if (snapshot.state, after) not in TRANSITIONS:
        raise IllegalTransition(f"{snapshot.state} -> {after}")
    return Snapshot(
        state=after,
        generation=snapshot.generation + 1,
        until=until,
        reason=reason,
        trips=trips,
        overridden_at=snapshot.overridden_at,
    )


def override(snapshot: Snapshot, after: State, now: float, until: float | None, reason: str) -> Snapshot:
    """Make an operator's transition. Raises IllegalTransition for OPEN and HALF_OPEN."""
    current = advance(snapshot, now)
    if (current.state, after) not in OPERATOR:
        raise IllegalTransition(f"{current.state} -> {after} by an operator")
    moved = move(current, after, until=until, reason=reason)
    return msgspec.structs.replace(moved, overridden_at=max(now, current.overridden_at))


def trip(snapshot: Snapshot, policy: BreakerPolicy, permit: Permit, reason: str, now: float) -> Snapshot:
    """Open a closed circuit for a reason that is not in the snapshot, such as one worker's failure rate."""
    current = advance(snapshot, now)
    if current.state is State.CLOSED and permit.generation == current.generation:
        return _open(current, policy, reason, now)
    return current


def judge(policy: BreakerPolicy, status: int, duration: float) -> Outcome:
    """The outcome of a call whose response began after `duration` seconds.

    Any response below 500 shows that the backend works, except those in INCONCLUSIVE_STATUSES; a slow one is a FAILURE.
    """
    if status in FAILURE_STATUSES:
        return Outcome.FAILURE
    if status in INCONCLUSIVE_STATUSES:
        return Outcome.CANCELLED
    return Outcome.FAILURE if policy.slow_call is not None and duration > policy.slow_call else Outcome.SUCCESS


def retry_after(snapshot: Snapshot, policy: BreakerPolicy, now: float) -> float:
    """Seconds until a call may be admitted: the rest of the open time, or a moment while all permits are leased."""
    if snapshot.until is not None:
        return max(0.0, snapshot.until - now)
    if snapshot.leases:
        return max(0.0, min(PROBE_SECONDS, min(lease.expires for lease in snapshot.leases) - now))
    return policy.open_for


def _open(current: Snapshot, policy: BreakerPolicy, reason: str, now: float) -> Snapshot:
    was_stable = current.closed_at is not None and now - current.closed_at >= policy.window
    trips = 1 if was_stable else current.trips + 1
    return move(current, State.OPEN, until=now + policy.open_time(trips), reason=reason, trips=trips)


def _record_failure(current: Snapshot, policy: BreakerPolicy, now: float) -> Snapshot:
    recent = (*(at for at in current.failures if at > now - policy.window), now)
    if len(recent) >= policy.failure_threshold:
        number = "1 failure" if len(recent) == 1 else f"{len(recent)} failures"
        return _open(current, policy, f"{number} within {policy.window:.15g} s", now)
    return msgspec.structs.replace(current, failures=recent)


def _record_probe(current: Snapshot, policy: BreakerPolicy, permit: Permit, outcome: Outcome, now: float) -> Snapshot:
    if outcome is Outcome.FAILURE:
        return _open(current, policy, "a probe failed", now)
    leases = tuple(lease for lease in current.leases if lease.holder != permit.holder)
    successes = current.successes + (outcome is Outcome.SUCCESS)
    if successes >= policy.success_threshold:
        reason = "a probe succeeded" if successes == 1 else f"{successes} probes succeeded"
        closed = move(current, State.CLOSED, reason=reason, trips=current.trips)
        return msgspec.structs.replace(closed, closed_at=now)
    return msgspec.structs.replace(current, leases=leases, successes=successes)

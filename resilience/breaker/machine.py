"""The circuit's states and the rules that move between them: pure functions of (snapshot, policy, now).

`now` is wall-clock seconds, since several machines read the same snapshot. Every change of state
raises the generation, and an outcome that began under another generation changes nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from resilience.breaker.policy import BreakerPolicy


class State(StrEnum):
    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"
    FORCED_OPEN = "FORCED_OPEN"
    DISABLED = "DISABLED"


class Outcome(StrEnum):
    """How a permitted call ended. CANCELLED says nothing about the backend."""

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
"""Moves the machine makes by itself; the last two when an override reaches its end."""

OPERATOR: Final = frozenset(
    (before, after) for before in State for after in (State.CLOSED, State.FORCED_OPEN, State.DISABLED)
)
"""Moves an operator may order: a reset, or an override, from anywhere."""

TRANSITIONS: Final = AUTOMATIC | OPERATOR

PROBE_SECONDS: Final = 1.0
"""When to ask again while all permits are out: a probe ends long before its lease does."""


class IllegalTransition(Exception):
    """A move that is not in TRANSITIONS; a fault in the rules themselves."""


class ProbeLease(msgspec.Struct, frozen=True):
    """A probe's permit, taken back at `expires` if its holder never reported."""

    holder: str
    expires: float


class Snapshot(msgspec.Struct, frozen=True):
    """Everything the cluster knows of one circuit; small enough to compare and set whole."""

    state: State = State.CLOSED
    generation: int = 0
    failures: tuple[float, ...] = ()
    successes: int = 0
    leases: tuple[ProbeLease, ...] = ()
    until: float | None = None
    reason: str = ""
    trips: int = 0
    """Times it opened in a row, without a whole window of being closed in between."""
    closed_at: float | None = None
    """When its probes closed it."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call. `holder` is set for a probe, whose permit is counted."""

    generation: int
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """No call now; `retry_after` seconds until it is worth asking again."""

    state: State
    retry_after: float


def admit(snapshot: Snapshot, policy: BreakerPolicy, now: float, holder: str) -> tuple[Snapshot, Permit | Refusal]:
    """May `holder` call the backend now? The snapshot that comes back must be shared if it changed."""
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
    """The snapshot after a permitted call ended; unchanged if the state has moved on meanwhile."""
    current = advance(snapshot, now)
    if permit.generation != current.generation:
        return current
    if current.state is State.HALF_OPEN:
        return _record_probe(current, policy, permit, outcome, now)
    if current.state is State.CLOSED and outcome is Outcome.FAILURE:
        return _record_failure(current, policy, now)
    return current


def advance(snapshot: Snapshot, now: float) -> Snapshot:
    """What time alone has done: an open circuit half-opens, an override ends, a dead probe's lease runs out."""
    if snapshot.until is not None and now >= snapshot.until:
        if snapshot.state is State.OPEN:
            return move(snapshot, State.HALF_OPEN, reason="the wait is over", trips=snapshot.trips)
        return move(snapshot, State.CLOSED, reason="the override ended")
    if snapshot.leases and any(lease.expires <= now for lease in snapshot.leases):
        alive = tuple(lease for lease in snapshot.leases if lease.expires > now)
        return msgspec.structs.replace(snapshot, leases=alive)
    return snapshot


def move(snapshot: Snapshot, after: State, *, until: float | None = None, reason: str = "", trips: int = 0) -> Snapshot:
    """A fresh snapshot in state `after`. Raises IllegalTransition for a move that is not in the table."""
    if (snapshot.state, after) not in TRANSITIONS:
        raise IllegalTransition(f"{snapshot.state} -> {after}")
    return Snapshot(state=after, generation=snapshot.generation + 1, until=until, reason=reason, trips=trips)


def override(snapshot: Snapshot, after: State, now: float, until: float | None, reason: str) -> Snapshot:
    """What an operator's order makes of it. Raises IllegalTransition for a state that only the machine reaches."""
    current = advance(snapshot, now)
    if (current.state, after) not in OPERATOR:
        raise IllegalTransition(f"{current.state} -> {after} by order")
    return move(current, after, until=until, reason=reason)


def trip(snapshot: Snapshot, policy: BreakerPolicy, permit: Permit, reason: str, now: float) -> Snapshot:
    """Open a closed circuit for a reason the snapshot cannot see, such as one worker's failure rate."""
    current = advance(snapshot, now)
    if current.state is State.CLOSED and permit.generation == current.generation:
        return _open(current, policy, reason, now)
    return current


def judge(policy: BreakerPolicy, duration: float) -> Outcome:
    """What a call that succeeded after `duration` seconds counts as."""
    return Outcome.FAILURE if policy.slow_call is not None and duration > policy.slow_call else Outcome.SUCCESS


def retry_after(snapshot: Snapshot, policy: BreakerPolicy, now: float) -> float:
    """Seconds until a call may be let through: the end of the open time, else soon, for permits come back."""
    if snapshot.until is not None:
        return max(0.0, snapshot.until - now)
    if snapshot.leases:
        return max(0.0, min(PROBE_SECONDS, min(lease.expires for lease in snapshot.leases) - now))
    return policy.open_for


def _open(current: Snapshot, policy: BreakerPolicy, reason: str, now: float) -> Snapshot:
    stable = current.closed_at is not None and now - current.closed_at >= policy.window
    trips = 1 if stable else current.trips + 1
    return move(current, State.OPEN, until=now + policy.open_time(trips), reason=reason, trips=trips)


def _record_failure(current: Snapshot, policy: BreakerPolicy, now: float) -> Snapshot:
    recent = (*(at for at in current.failures if at > now - policy.window), now)
    if len(recent) >= policy.failure_threshold:
        return _open(current, policy, f"{len(recent)} failures within {policy.window:g} s", now)
    return msgspec.structs.replace(current, failures=recent)


def _record_probe(current: Snapshot, policy: BreakerPolicy, permit: Permit, outcome: Outcome, now: float) -> Snapshot:
    if outcome is Outcome.FAILURE:
        return _open(current, policy, "a probe failed", now)
    leases = tuple(lease for lease in current.leases if lease.holder != permit.holder)
    successes = current.successes + (outcome is Outcome.SUCCESS)
    if successes >= policy.success_threshold:
        closed = move(current, State.CLOSED, reason=f"{successes} probes succeeded", trips=current.trips)
        return msgspec.structs.replace(closed, closed_at=now)
    return msgspec.structs.replace(current, leases=leases, successes=successes)

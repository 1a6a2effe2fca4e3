"""What a worker has seen of one target, and which of several gets the next call. `now` is an argument; no I/O."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

import msgspec

from routing.router.policy import HealthCheckPolicy, Target

EJECT_AFTER: Final = 5
"""Failures in a row, at the last of which a target is ejected."""
EJECT_AFTER_NO_RESPONSE: Final = 3
"""The same, when the last was no answer at all: an address where nothing listens shows itself soon."""
EJECT_SECONDS: Final = 10.0
MAX_EJECT_SECONDS: Final = 300.0
"""The first ejection lasts the one; each that follows twice as long as the last, up to the other."""
SLOW_START_SECONDS: Final = 30.0
SLOW_START_SHARE: Final = 0.1
"""A target that returns gets this share of its weight at first, and all of it after that time."""
PANIC_SHARE: Final = 0.5
"""When fewer than this share of the targets are well, all are used: the few would only be trampled."""


class TargetState:
    """One target as this worker sees it. `failures` are in a row; times are seconds of whatever clock `now` is of."""

    __slots__ = ("_back", "_ejected_until", "_ejections", "down", "failures", "outstanding", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.outstanding = 0
        self.failures = 0
        self.down = False
        self._ejections = 0
        self._ejected_until: float | None = None
        self._back = float("-inf")

    @property
    def healthy(self) -> bool:
        """Neither ejected nor found down, or said to be up by an operator; `settle` comes first."""
        return self.target.always_up or (not self.down and self._ejected_until is None)

    def expire_ejection(self, now: float) -> bool:
        """Whether an ejection has just come to its end."""
        if self._ejected_until is None or now < self._ejected_until:
            return False
        self._back, self._ejected_until, self.failures = now, None, 0
        return True

    def succeeded(self, now: float) -> None:
        """One that has behaved for a whole slow start begins with a clean slate."""
        self.failures = 0
        if self._ejections and self._ejected_until is None and now - self._back >= SLOW_START_SECONDS:
            self._ejections = 0

    def failed(self, now: float, *, no_response: bool) -> bool:
        """Whether this failure ejects it. `cut`: there was no answer. Calls out when it was ejected say nothing."""
        if self._ejected_until is not None or self.target.always_up:
            return False
        self.failures += 1
        if self.failures < (EJECT_AFTER_NO_RESPONSE if no_response else EJECT_AFTER):
            return False
        self._ejected_until = now + min(EJECT_SECONDS * 2.0 ** min(self._ejections, 16), MAX_EJECT_SECONDS)
        self._ejections += 1
        return True

    def apply_verdict(self, down: bool, now: float) -> None:
        """The health check's verdict. One found up again starts slowly, and ends an ejection."""
        if self.down and not down:
            self._back, self._ejected_until, self.failures = now, None, 0
        self.down = down

    def effective_weight(self, now: float) -> float:
        """Its weight, or the part of it that a target just back can bear."""
        age = now - self._back
        if age >= SLOW_START_SECONDS:
            return self.target.weight
        return self.target.weight * max(SLOW_START_SHARE, age / SLOW_START_SECONDS)


def candidates(states: Sequence[TargetState], tried: Sequence[TargetState]) -> list[TargetState]:
    """Who may get the call: of those an operator lets work, the well ones; of these, those not yet tried, if any."""
    able = [state for state in states if state.target.weight]
    well = [state for state in able if state.healthy]
    if len(well) < PANIC_SHARE * len(able):
        well = able
    return [state for state in well if state not in tried] or well


def prefer_canaries(fit: list[TargetState], states: Sequence[TargetState], point: float) -> list[TargetState]:
    """Of those fit, whom this caller is for. `point` is the caller's own, from 0 to 100.

    A canary has its share of the points, and its callers go to it and nobody else does; where it is unfit they are
    served like all others, and where only canaries are left, these serve all.
    """
    least = 0.0
    for state in states:
        most = least + state.target.canary
        if least <= point < most and state in fit:
            return [state]
        least = most
    return [state for state in fit if not state.target.canary] or fit


def choose(states: Sequence[TargetState], now: float, chance: Random) -> TargetState:
    """The less busy of two, drawn by weight ("power of two choices"): good news is old, and all would run after it."""
    if len(states) == 1:
        return states[0]
    shares = [state.effective_weight(now) for state in states]
    first = chance.choices(range(len(states)), shares)[0]
    of_first, shares[first] = shares[first], 0.0
    second = chance.choices(range(len(states)), shares)[0]
    one, other = states[first], states[second]
    return one if one.outstanding / of_first <= other.outstanding / shares[second] else other


class HealthVerdict(msgspec.Struct, frozen=True, rename={"checked_at": "asked"}):
    """What health checks say of one target. `streak` results in a row spoke against it; `asked` is Unix time."""

    down: bool = False
    streak: int = 0
    checked_at: float = 0.0


def changes(before: Mapping[str, HealthVerdict], after: Mapping[str, HealthVerdict]) -> list[tuple[str, bool]]:
    """Which targets were found down or up, and which it was; one that is asked no more is held down no more."""
    names = dict.fromkeys((*before, *after))
    found = [(name, after.get(name, HealthVerdict()).down) for name in names]
    return [(name, down) for name, down in found if down is not before.get(name, HealthVerdict()).down]


def merge_newest(one: Mapping[str, HealthVerdict], other: Mapping[str, HealthVerdict]) -> dict[str, HealthVerdict]:
    """Of two workers' verdicts on each target, the one that was asked for later."""
    later = {
        name: verdict for name, verdict in other.items() if name not in one or verdict.checked_at > one[name].checked_at
    }
    return {**one, **later}


def next_verdict(verdict: HealthVerdict, well: bool, policy: HealthCheckPolicy, now: float) -> HealthVerdict:
    """The verdict after one more check."""
    if well is not verdict.down:
        return HealthVerdict(verdict.down, 0, now)
    needed = policy.up_after if verdict.down else policy.down_after
    if verdict.streak + 1 >= needed:
        return HealthVerdict(not verdict.down, 0, now)
    return HealthVerdict(verdict.down, verdict.streak + 1, now)

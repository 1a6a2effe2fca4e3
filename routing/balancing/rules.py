"""The state of a target as one worker sees it, and the choice among targets. Pure: `now` is an argument."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import Final

import msgspec

from routing.router.policy import HealthCheckPolicy, Target

EJECT_AFTER: Final = 5
"""Consecutive failures after which a target is ejected."""
EJECT_AFTER_NO_RESPONSE: Final = 3
"""The same if the last one had no response, so that an unreachable target is ejected sooner."""
EJECT_SECONDS: Final = 10.0
MAX_EJECT_SECONDS: Final = 300.0
"""The duration of the first ejection and the longest one; each ejection lasts twice as long as the one before."""
SLOW_START_SECONDS: Final = 30.0
SLOW_START_SHARE: Final = 0.1
"""A target that returns starts with this share of its weight, which grows to the whole in this time."""
PANIC_SHARE: Final = 0.5
"""Panic threshold: if a smaller share of the targets is healthy, all are used, so as not to overload the few."""


class TargetCondition(StrEnum):
    """Whether a target receives its share of calls, and what keeps it from them otherwise."""

    UP = "up"
    SLOW_START = "slow_start"
    EJECTED = "ejected"
    DOWN = "down"
    DISABLED = "disabled"


class TargetState:
    """One target as this worker sees it. `failures` are consecutive; times are seconds of the clock of `now`."""

    __slots__ = ("_ejected_until", "_ejections", "_returned_at", "down", "failures", "outstanding", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.outstanding = 0
        self.failures = 0
        self.down = False
        self._ejections = 0
        self._ejected_until: float | None = None
        self._returned_at = float("-inf")

    @property
    def healthy(self) -> bool:
        """Neither ejected nor down, or kept up by an operator. Call `expire_ejection` first."""
        return self.target.always_up or (not self.down and self._ejected_until is None)

    def expire_ejection(self, now: float) -> bool:
        """End the ejection if its time is over. Returns whether it did."""
        if self._ejected_until is None or now < self._ejected_until:
            return False
        self._returned_at, self._ejected_until, self.failures = now, None, 0
        return True

    def succeeded(self, now: float) -> None:
        """Record a success. The ejection time is reset once the target has worked for the whole slow start."""
        self.failures = 0
        if self._ejections and self._ejected_until is None and now - self._returned_at >= SLOW_START_SECONDS:
            self._ejections = 0

    def failed(self, now: float, *, no_response: bool) -> bool:
        """Record a failure; returns whether it ejects the target. Calls that end during an ejection do not count."""
        if self._ejected_until is not None or self.target.always_up:
            return False
        self.failures += 1
        if self.failures < (EJECT_AFTER_NO_RESPONSE if no_response else EJECT_AFTER):
            return False
        self._ejected_until = now + min(EJECT_SECONDS * 2.0 ** min(self._ejections, 16), MAX_EJECT_SECONDS)
        self._ejections += 1
        return True

    def apply_verdict(self, down: bool, now: float) -> None:
        """Apply the health check's verdict. A target that comes up again is in slow start and no longer ejected."""
        if self.down and not down:
            self._returned_at, self._ejected_until, self.failures = now, None, 0
        self.down = down

    def condition(self, now: float) -> TargetCondition:
        """Call `expire_ejection` first. A target that an operator keeps up is not in slow start either."""
        if not self.target.weight:
            return TargetCondition.DISABLED
        if not self.healthy:
            return TargetCondition.DOWN if self.down else TargetCondition.EJECTED
        if not self.target.always_up and now - self._returned_at < SLOW_START_SECONDS:
            return TargetCondition.SLOW_START
        return TargetCondition.UP

    def effective_weight(self, now: float) -> float:
        """The weight, reduced during slow start."""
        age = now - self._returned_at
        if age >= SLOW_START_SECONDS:
            return self.target.weight
        return self.target.weight * max(SLOW_START_SHARE, age / SLOW_START_SECONDS)


def candidates(
    states: Sequence[TargetState], tried: Sequence[TargetState], point: float | None = None
) -> list[TargetState]:
    """The targets that may receive the call: enabled and healthy (see PANIC_SHARE), without those tried if possible.

    `point` is the caller's, from 0 to 100, if the service has canaries: those of others are left out.
    """
    enabled = [state for state in states if state.target.weight]
    usable = [state for state in enabled if state.healthy]
    if len(usable) < PANIC_SHARE * len(enabled):
        usable = enabled
    if point is not None:
        usable = prefer_canaries(usable, states, tried, point)
    return [state for state in usable if state not in tried] or usable


def prefer_canaries(
    usable: list[TargetState], states: Sequence[TargetState], tried: Sequence[TargetState], point: float
) -> list[TargetState]:
    """The usable targets for the caller with this point.

    Each canary owns its percentage of the points; its callers, and only they, are sent to it. If it is not usable, or
    was tried, they are served by the other targets, and if only canaries are usable, these serve everyone. A retry
    after the failure of another target is no reason to send a caller to a canary.
    """
    owner = canary_of([state.target for state in states], point)
    for state in usable:
        if state.target is owner and state not in tried:
            return [state]
    return [state for state in usable if not state.target.canary] or usable


def canary_of(targets: Iterable[Target], point: float) -> Target | None:
    """The canary that owns a caller's point."""
    start = 0.0
    for target in targets:
        end = start + target.canary
        if start <= point < end:
            return target
        start = end
    return None


def canary_point(service: str, caller: str) -> float:
    """A caller's fixed point from 0 to 100 for a service's canaries: the same in all workers, different by service."""
    return zlib.crc32(f"{service} {caller}".encode()) * 100 / 2**32


def choose(states: Sequence[TargetState], now: float, random: Random) -> TargetState:
    """The less loaded of two targets drawn by weight ("power of two choices").

    Always picking the least loaded would cause herding, since load data is stale.
    """
    if len(states) == 1:
        return states[0]
    weights = [state.effective_weight(now) for state in states]
    first = random.choices(range(len(states)), weights)[0]
    first_weight, weights[first] = weights[first], 0.0
    second = random.choices(range(len(states)), weights)[0]
    one, other = states[first], states[second]
    return one if one.outstanding / first_weight <= other.outstanding / weights[second] else other


class HealthVerdict(msgspec.Struct, frozen=True, rename={"checked_at": "asked"}):
    """The health checks' verdict on one target. The last `streak` results contradict it; `checked_at` is Unix time,
    stored in Redis as `asked`.
    """

    down: bool = False
    streak: int = 0
    checked_at: float = 0.0


def changes(before: Mapping[str, HealthVerdict], after: Mapping[str, HealthVerdict]) -> list[tuple[str, bool]]:
    """The targets whose verdict changed, and whether they are down now. Without a verdict, a target is up."""
    keys = dict.fromkeys((*before, *after))
    current = [(key, after.get(key, HealthVerdict()).down) for key in keys]
    return [(key, down) for key, down in current if down is not before.get(key, HealthVerdict()).down]


def merge_newest(one: Mapping[str, HealthVerdict], other: Mapping[str, HealthVerdict]) -> dict[str, HealthVerdict]:
    """Merge the verdicts of two workers, keeping the one checked later for each target."""
    newer = {
        key: verdict for key, verdict in other.items() if key not in one or verdict.checked_at > one[key].checked_at
    }
    return {**one, **newer}


def next_verdict(verdict: HealthVerdict, passed: bool, policy: HealthCheckPolicy, now: float) -> HealthVerdict:
    """The verdict after one more check."""
    if passed is not verdict.down:
        return HealthVerdict(verdict.down, 0, now)
    threshold = policy.up_after if verdict.down else policy.down_after
    if verdict.streak + 1 >= threshold:
        return HealthVerdict(not verdict.down, 0, now)
    return HealthVerdict(verdict.down, verdict.streak + 1, now)

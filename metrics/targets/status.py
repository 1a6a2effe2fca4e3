"""The status of targets: their configuration, and their condition in all workers. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from metrics.counting.flusher import WORKERS
from metrics.read_models import TargetStatus
from metrics.targets.gauges import REPORTED, ConditionsByTarget, Seen, read_gauges, target_gauges
from routing.balancing.rules import TargetCondition
from routing.router.policy import Target
from routing.router.table import Service


class TargetConditions:
    """What all workers report; `own`, what this worker sees, if they cannot report: their store is unavailable."""

    def __init__(self, gauges: Mapping[str, int], own: ConditionsByTarget) -> None:
        self._workers = gauges.get(WORKERS, 0)
        self._seen = read_gauges(gauges if self._workers else target_gauges(own))

    def of(self, service: Service) -> tuple[TargetStatus, ...]:
        seen = self._seen.get(service.name, {})
        return tuple(self._status(target, seen) for target in service.targets)

    def _status(self, target: Target, seen: Seen) -> TargetStatus:
        condition, number = _worst(target, seen)
        is_split = condition is not TargetCondition.DOWN and 0 < number < self._workers
        return TargetStatus(
            url=target.url,
            condition=condition.value,
            workers=f"{number} of {self._workers}" if is_split else "",
            weight=target.weight,
            canary=target.canary,
            always_up=target.always_up,
        )


def _worst(target: Target, seen: Seen) -> tuple[TargetCondition, int]:
    """The worst condition that any worker sees, and how many see it."""
    if not target.weight:
        return TargetCondition.DISABLED, 0
    found = seen.get(target.url, {})
    return next(((each, found[each]) for each in REPORTED if each in found), (TargetCondition.UP, 0))


def without_calls(targets: tuple[TargetStatus, ...]) -> dict[str, str]:
    """Why enabled targets receive no calls, by address: `down`, `ejected`, or `ejected in 1 of 4 workers`."""
    return {
        target.url: f"{target.condition} in {target.workers} workers" if target.workers else target.condition
        for target in targets
        if target.condition in (TargetCondition.DOWN, TargetCondition.EJECTED)
    }


def words(target: TargetStatus) -> tuple[str, ...]:
    """How a target is, as the dashboard says it: `Ejected in 1 of 4 workers`, `Canary 5%`, `Kept up`."""
    condition = target.condition.replace("_", " ").capitalize()
    return (
        f"{condition} in {target.workers} workers" if target.workers else condition,
        *([f"Canary {target.canary:g}%"] if target.canary else ()),
        *(["Kept up"] if target.always_up else ()),
    )


def describe(target: TargetStatus) -> dict[str, Any]:
    """The target's condition as JSON, without its address. `text` is for people."""
    return {
        "condition": target.condition,
        "workers": target.workers,
        "weight": target.weight,
        "canary": target.canary,
        "always_up": target.always_up,
        "text": ", ".join(words(target)),
    }


def count_conditions(targets: tuple[TargetStatus, ...]) -> dict[str, int]:
    """How many are in each condition, and how many of all are canaries or kept up. No addresses."""
    counts = Counter(target.condition for target in targets)
    counts["canary"] = sum(bool(target.canary) for target in targets)
    counts["kept_up"] = sum(target.always_up for target in targets)
    return {name: number for name, number in counts.items() if number}


def without_calls_text(targets: tuple[TargetStatus, ...]) -> str:
    """`2 of 3 targets without calls: down, ejected in 1 of 4 workers`; empty if each enabled one receives its share."""
    found = without_calls(targets)
    if not found:
        return ""
    return f"{len(found)} of {len(targets)} targets without calls: {', '.join(sorted(set(found.values())))}"

"""What a worker reports of its targets: gauges of those that do not receive their share of calls."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from routing.balancing.rules import TargetCondition

MAX_GAUGES: Final = 1_000
"""Targets that one worker reports."""
REPORTED: Final = (TargetCondition.DOWN, TargetCondition.EJECTED, TargetCondition.SLOW_START)
"""The worst first. What is disabled follows from the configuration."""
_PREFIX: Final = "target|"

ConditionsByTarget = Mapping[str, Mapping[str, TargetCondition]]
"""The condition of each target, by service and address."""
Seen = Mapping[str, Mapping[TargetCondition, int]]
"""In how many workers a target is in each condition, by address."""


def target_gauges(conditions: ConditionsByTarget) -> dict[str, int]:
    """`target|service|condition|address`: 1, for Flusher's `more_gauges`."""
    return dict.fromkeys(islice(_names(conditions), MAX_GAUGES), 1)


def _names(conditions: ConditionsByTarget) -> Iterator[str]:
    for service, targets in conditions.items():
        for url, condition in targets.items():
            if condition in REPORTED:
                yield f"{_PREFIX}{service}|{condition}|{url}"


def read_gauges(gauges: Mapping[str, int]) -> dict[str, Seen]:
    """What the sums of all workers' gauges say, by service."""
    found: defaultdict[str, defaultdict[str, dict[TargetCondition, int]]] = defaultdict(lambda: defaultdict(dict))
    for name, number in gauges.items():
        parts = name.removeprefix(_PREFIX).split("|", 2)
        if name.startswith(_PREFIX) and len(parts) == 3 and parts[1] in REPORTED:
            service, condition, url = parts
            found[service][url][TargetCondition(condition)] = number
    return {service: dict(targets) for service, targets in found.items()}

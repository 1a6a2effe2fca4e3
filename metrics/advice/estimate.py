"""How often responses change, estimated from pairs of fetches. Pure.

A response that changes at random, on average every 1/rate seconds, differs between two fetches `t` seconds apart with
probability 1 - exp(-rate * t). Of several changes between two fetches only one is seen, which the estimate allows for.
"""

import math
from collections.abc import Mapping
from typing import Final

LARGEST: Final = 700.0
"""Above this, exp() overflows."""
_LOWEST, _HIGHEST = math.log(1e-9), math.log(10.0)
"""A change in 30 years, and ten in a second."""
STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400)
"""Round lifetimes, in seconds, as a person would configure them."""


def change_rate(same: Mapping[float, int], changed: Mapping[float, int]) -> float | None:
    """Changes in a second: the most likely, of the numbers of pairs by their interval in seconds.

    0 if none has changed. None if all have: then they change faster than they were fetched.
    """
    if not any(changed.values()):
        return 0.0
    if not any(same.values()):
        return None
    unchanged = sum(interval * number for interval, number in same.items())
    low, high = _LOWEST, _HIGHEST
    for _ in range(60):
        middle = (low + high) / 2
        rate = math.exp(middle)
        expected = sum(number * _weight(rate, interval) for interval, number in changed.items())
        low, high = (middle, high) if expected > unchanged else (low, middle)
    return math.exp((low + high) / 2)


def outdated_share(lifetime: float, rate: float) -> float:
    """The share of the time, 0 to 1, in which a response that is kept for `lifetime` seconds differs from the
    backend's.
    """
    changes = lifetime * rate
    if changes < 1e-6:
        return changes / 2
    return 1 + math.expm1(-changes) / changes


def step_below(seconds: float) -> int:
    """The largest of STEPS that is not above `seconds`, or else the smallest."""
    return max((step for step in STEPS if step <= seconds), default=STEPS[0])


def _weight(rate: float, interval: float) -> float:
    changes = rate * interval
    return 0.0 if changes > LARGEST else interval / math.expm1(changes)

"""Parses `slo`, the service level objectives of a service. No Django, no I/O."""

import re
from typing import Final

from routing.configuration.values import ValueParser, display, duration, number, string
from routing.router.objectives import LatencyObjective

MAX_LATENCY: Final = 600.0
"""Seconds: far beyond what a caller waits for."""
_DECIMAL: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")


def percent(value: object) -> float:
    """A share of requests, given in percent: below 100, since no error budget would be left."""
    found = float(number(0, 100)(value))
    if not 50 <= found < 100:
        raise ValueError("must be a percentage from 50 to below 100, such as 99.9")
    return round(found / 100, 9)


def latency_objective(value: object) -> LatencyObjective:
    """`300ms@95`: 95 % of the requests take at most 300 ms."""
    limit, _, share = string(value).partition("@")
    if _DECIMAL.fullmatch(share) is None:
        raise ValueError(f"must be a duration and a percentage, such as 300ms@95, not {display(value)}")
    seconds = float(duration(limit))
    if not 0 < seconds <= MAX_LATENCY:
        raise ValueError("the duration must be above 0, and at most 10m")
    return LatencyObjective(seconds, percent(float(share)))


SLO: Final[dict[str, ValueParser]] = {"availability": percent, "latency": latency_objective, "window": duration}
"""For services only: their traffic is counted as a whole."""

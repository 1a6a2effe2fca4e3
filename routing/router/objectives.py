"""Service level objectives: the shares of requests that are to succeed, and to be fast. No request reads them."""

from typing import Final

import msgspec

from resilience.durations import DAY

MIN_WINDOW: Final = 7 * DAY
MAX_WINDOW: Final = 90 * DAY


class LatencyObjective(msgspec.Struct, frozen=True):
    """`share` of the requests take at most `seconds`."""

    seconds: float
    share: float


class Objectives(msgspec.Struct, frozen=True, kw_only=True):
    """`availability` is the share of requests whose response has a status below 500; None for no such objective.
    `window` is the time over which both are to hold, in seconds: whole days.
    """

    availability: float | None = None
    latency: LatencyObjective | None = None
    window: float = 30 * DAY

    def __post_init__(self) -> None:
        if self.availability is None and self.latency is None:
            raise ValueError("needs availability, latency or both")
        if not MIN_WINDOW <= self.window <= MAX_WINDOW or self.window % DAY:
            raise ValueError("window must be whole days, from 7d to 90d")

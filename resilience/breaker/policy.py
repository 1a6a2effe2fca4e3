"""When a circuit opens, how long it stays open, and what closes it."""

from typing import Final

import msgspec

_WRITTEN: Final = {"open_factor": "open_for.factor", "open_max": "open_for.max"}
"""The configuration's names of fields, where they differ."""


class BreakerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one service's circuit. Durations are in seconds.

    Raises ValueError, naming the field, for a value out of bounds.
    """

    failure_threshold: int = 5
    window: float = 60.0
    open_for: float = 60.0
    success_threshold: int = 2
    half_open_permits: int = 2
    permit_lease: float = 35.0
    """How long a probe may hold its permit; after that its worker is considered dead."""
    failure_rate: float | None = None
    """Share of failed calls, 0 to 1, that opens the circuit too. Raise `failure_threshold` to let this decide alone."""
    minimum_calls: int = 20
    """The failure rate is not considered below this many calls in the window."""
    slow_call: float | None = None
    """A success that takes longer counts as a failure."""
    open_factor: float = 1.0
    open_max: float | None = None
    """Each trip in a row multiplies the open time, up to `open_max`. A whole `window` of CLOSED ends the row."""

    def __post_init__(self) -> None:
        for field in ("failure_threshold", "success_threshold", "half_open_permits", "minimum_calls"):
            if not 1 <= getattr(self, field) <= 1_000:
                raise ValueError(f"{field} must be at least 1 and at most 1000")
        for field in ("window", "open_for", "permit_lease", "slow_call", "open_max"):
            value = getattr(self, field)
            if value is not None and not 0 < value <= 86_400:
                raise ValueError(f"{_WRITTEN.get(field, field)} must be above 0 and at most 1 day")
        if self.failure_rate is not None and not 0 < self.failure_rate <= 1:
            raise ValueError("failure_rate must be above 0 and at most 1")
        if not 1 <= self.open_factor <= 10:
            raise ValueError(f"{_WRITTEN['open_factor']} must be from 1 to 10")
        if self.open_max is not None and self.open_max < self.open_for:
            raise ValueError(f"{_WRITTEN['open_max']} must be at least the first open time, {self.open_for:.15g} s")

    def open_time(self, trips: int) -> float:
        """Seconds to stay open after the `trips`-th trip in a row."""
        return min(self.open_for * self.open_factor ** min(trips - 1, 64), self.open_max or 86_400.0)

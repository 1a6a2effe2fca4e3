"""When a circuit opens, how long it stays so, and what closes it again."""

import msgspec


class BreakerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one service's circuit. Durations are seconds.

    Raises ValueError, naming the field and its bound, for a policy that could never work.
    """

    failure_threshold: int = 5
    window: float = 60.0
    open_for: float = 60.0
    success_threshold: int = 2
    half_open_permits: int = 2
    permit_lease: float = 35.0
    """How long a probe may hold its permit before a dead worker's permit is taken back."""

    def __post_init__(self) -> None:
        for field in ("failure_threshold", "success_threshold", "half_open_permits"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1")
        for field in ("window", "open_for", "permit_lease"):
            if not 0 < getattr(self, field) <= 86_400:
                raise ValueError(f"{field} must be above 0 and at most 1 day")

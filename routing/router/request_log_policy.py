"""Which requests of a route are recorded for staff to look up: frozen, and validated when it is constructed."""

from typing import Final

import msgspec

MAX_SLOW_SECONDS: Final = 3_600.0


class RequestLogPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`failures`: every request that ended in an error. `slow`: every one whose response's header fields took longer,
    in seconds; None: none. `sample`: the share of all others.
    """

    failures: bool = True
    slow: float | None = 2.0
    sample: float = 0.01

    def __post_init__(self) -> None:
        if self.slow is not None and not 0 < self.slow <= MAX_SLOW_SECONDS:
            raise ValueError("slow must be above 0 and at most 1 hour, or null for none")
        if not 0 <= self.sample <= 1:
            raise ValueError("sample must be from 0 to 1")

"""The settings of hold-offs."""

from typing import Final

import msgspec

from resilience.partition import Part

MAX_SECONDS: Final = 86_400.0
NARROW: Final = (Part.METHOD, Part.PATH, Part.CREDENTIAL)
"""Where nothing is configured, a limit is taken to cover no other call than the same one by the same caller."""
CONFIGURED: Final = (Part.ROUTE, Part.CREDENTIAL)
"""The default where a service's limits are configured."""


class HoldOffPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`per` is what one limit covers. `max` is the longest hold-off in seconds, whatever the backend demands.

    `base` is the first one's length if the backend names no time. It doubles each time the backend limits calls again.
    """

    per: tuple[Part, ...] = NARROW
    base: float = 1.0
    max: float = 3_600.0

    def __post_init__(self) -> None:
        if not 0 < self.base <= MAX_SECONDS:
            raise ValueError("base must be above 0 and at most 1 day")
        if not self.base <= self.max <= MAX_SECONDS:
            raise ValueError("max must be at least base, and at most 1 day")

"""The settings of an outbound limit."""

import msgspec

from resilience.partition import Part
from resilience.ratelimit.policy import RatePolicy

MAX_QUEUE_SECONDS = 60.0


class OutboundPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """At most `rate` calls of one part of the service; `per` names what distinguishes the parts. `queue` is the longest
    wait in seconds.
    """

    rate: RatePolicy
    per: tuple[Part, ...] = (Part.ROUTE, Part.CREDENTIAL)
    queue: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.queue <= MAX_QUEUE_SECONDS:
            raise ValueError("queue must be at most 1 minute")

"""What is counted towards a quota, and the verdict on one request."""

import msgspec

from resilience.usage.policy import QuotaPolicy


class Meter(msgspec.Struct, frozen=True):
    """What is counted: `key` names whose requests under which quota. `signed_up` is Unix time."""

    key: str
    policy: QuotaPolicy
    signed_up: float = 0.0


class QuotaVerdict(msgspec.Struct, frozen=True):
    """Whether a request was counted. `limit` is the amount, if it was raised too; `reset` is seconds."""

    allowed: bool
    remaining: int
    reset: float
    limit: int

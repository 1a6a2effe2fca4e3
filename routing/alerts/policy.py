"""An alert: its conditions, and the recipients that are notified when one begins or ceases to hold. Pure."""

from enum import StrEnum
from typing import Final

import msgspec

from resilience.durations import HOUR, MINUTE


class ConditionKind(StrEnum):
    """What a condition is about. `quota`, `budget` and `certificate` stand before a dot and a number."""

    CIRCUIT = "circuit.open"
    TARGET = "target.down"
    OUT_OF_SERVICE = "service.out"
    WEBHOOK = "webhook.failing"
    FAST_BURN = "burn_rate.fast"
    SLOW_BURN = "burn_rate.slow"
    BUDGET = "budget"
    QUOTA = "quota"
    CERTIFICATE = "certificate"
    ERROR_RATE = "error_rate"
    CLIENT_ERROR_RATE = "client_error_rate"
    REFUSAL_RATE = "refusal_rate"
    HIT_RATE = "hit_rate"
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"


TRAFFIC: Final = frozenset(
    {
        *(ConditionKind.ERROR_RATE, ConditionKind.CLIENT_ERROR_RATE, ConditionKind.REFUSAL_RATE),
        *(ConditionKind.HIT_RATE, ConditionKind.P50, ConditionKind.P95, ConditionKind.P99),
    }
)
"""The kinds of conditions that counts by minute show."""
OBJECTIVES: Final = frozenset({ConditionKind.FAST_BURN, ConditionKind.SLOW_BURN, ConditionKind.BUDGET})
"""What the service level objectives of services show."""
CRITICAL: Final = frozenset(
    {
        *(ConditionKind.CIRCUIT, ConditionKind.OUT_OF_SERVICE, ConditionKind.ERROR_RATE),
        *(ConditionKind.FAST_BURN,),
    }
)
"""What is sent as critical; the others are warnings."""


class AlertCondition(msgspec.Struct, frozen=True):
    """`text` is its canonical form. `threshold` is a share of requests, seconds, percent or days; `window` is in
    seconds, None for the window of the service's thresholds.
    """

    text: str
    kind: ConditionKind
    threshold: float = 0.0
    window: float | None = None


class RecipientKind(StrEnum):
    SLACK = "slack"
    EMAIL = "email"
    WEBHOOK = "webhook"
    PAGERDUTY = "pagerduty"
    APPRISE = "apprise"


class Recipient(msgspec.Struct, frozen=True):
    """`label` is how the configuration writes it: with the names of secrets, and none of their values.

    `address` is a URL or an email address, of PagerDuty the URL of its Events API, and may be secret. `key` signs
    what is sent to webhooks, and is PagerDuty's routing key.
    """

    kind: RecipientKind
    label: str
    address: str
    key: bytes = b""

    def __repr__(self) -> str:
        return f"Recipient({self.label!r})"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """`services` are the services it is about; empty for all. `repeat` is how often recipients are reminded of what
    still holds, and `resolve_after` how long a condition must not hold until it has ended: seconds.

    `faults` say which of its recipients cannot be used, or why nothing of it can.
    """

    name: str
    conditions: tuple[AlertCondition, ...] = ()
    recipients: tuple[Recipient, ...] = ()
    services: tuple[str, ...] = ()
    enabled: bool = True
    repeat: float = 4 * HOUR
    resolve_after: float = MINUTE
    faults: tuple[str, ...] = ()

    def covers(self, service: str) -> bool:
        return not self.services or service in self.services

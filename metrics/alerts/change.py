"""The records of alerts: a condition that holds, the stored state of it, and the changes that are sent."""

from collections.abc import Iterable
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from routing.alerts.policy import ConditionKind


class ConditionKey(NamedTuple):
    """Identifies what holds. `subject` is a service, or what else the condition is about, such as a quota."""

    alert: str
    condition: str
    subject: str

    @property
    def digest(self) -> str:
        """The same in all workers, and short: the texts are too long for an index."""
        return blake2b("\0".join(self).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that holds, in words. `service` is empty for what is not about one."""

    alert: str
    condition: str
    kind: ConditionKind
    subject: str
    service: str
    summary: str

    @property
    def key(self) -> ConditionKey:
        return ConditionKey(self.alert, self.condition, self.subject)


class ConditionState(msgspec.Struct, frozen=True, kw_only=True):
    """The stored state of a condition that holds, or has just ceased to. Times are Unix seconds, 0 for never.

    `notified_at` is when its recipients were last sent something, and `clear_since` when it ceased to hold. `told` are
    the labels of the recipients that were notified that it holds; None in a row of an earlier version.
    """

    firing: Firing
    since: float
    notified_at: float = 0.0
    clear_since: float = 0.0
    told: tuple[str, ...] | None = None


class ChangeKind(StrEnum):
    """What a message says about a condition. REPEATED: it still holds."""

    FIRING = "firing"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    TEST = "test"


class Reason(StrEnum):
    """Why a condition is resolved: it no longer holds, or the configuration has changed while it held."""

    ENDED = "ended"
    ALERT_REMOVED = "alert_removed"
    ALERT_DISABLED = "alert_disabled"
    CONDITION_REMOVED = "condition_removed"
    SERVICE_REMOVED = "service_removed"
    SERVICE_DISABLED = "service_disabled"
    SERVICE_EXCLUDED = "service_excluded"
    OBJECTIVE_REMOVED = "objective_removed"
    RECIPIENT_REMOVED = "recipient_removed"

    @property
    def text(self) -> str:
        return _TEXTS[self]


_TEXTS: Final = {
    Reason.ENDED: "it no longer holds",
    Reason.ALERT_REMOVED: "the alert was removed from the configuration",
    Reason.ALERT_DISABLED: "the alert was disabled",
    Reason.CONDITION_REMOVED: "the alert no longer has this condition",
    Reason.SERVICE_REMOVED: "the service was removed from the configuration",
    Reason.SERVICE_DISABLED: "the service was disabled",
    Reason.SERVICE_EXCLUDED: "the alert is no longer about this service",
    Reason.OBJECTIVE_REMOVED: "the service no longer has this objective",
    Reason.RECIPIENT_REMOVED: "the alert no longer has this recipient",
}


def reason_text(reason: str) -> str:
    """The reason in words; empty for none, and for one that only a later version knows."""
    return next((known.text for known in Reason if known == reason), "")


class ConditionChange(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a message. `key` is the same for all changes of one condition. `reason` is a Reason if it is
    resolved, else empty. Times are Unix seconds.
    """

    kind: ChangeKind
    key: str
    alert: str
    condition: str
    subject: str
    service: str
    summary: str
    is_critical: bool
    since: float
    at: float
    reason: str = ""


class Notification(NamedTuple):
    """A change, and the labels of the recipients that it is sent to."""

    change: ConditionChange
    recipients: tuple[str, ...]


def endings(changes: Iterable[ConditionChange]) -> tuple[ConditionChange, ...]:
    """The resolved ones, except those that also begin in the same changes: no recipient was notified of these."""
    found = tuple(changes)
    begun = {change.key for change in found if change.kind is ChangeKind.FIRING}
    return tuple(change for change in found if change.kind is ChangeKind.RESOLVED and change.key not in begun)

"""What alerts are made of: a condition that holds, what is remembered of it, and the changes that are sent."""

from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from routing.alerts.policy import ConditionKind


class Key(NamedTuple):
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
    def key(self) -> Key:
        return Key(self.alert, self.condition, self.subject)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a condition that holds or has just ceased to. Times are Unix seconds, 0 for never.

    `notified_at` is when its recipients were last sent something, and `clear_since` when it ceased to hold.
    """

    firing: Firing
    since: float
    notified_at: float = 0.0
    clear_since: float = 0.0


class ChangeKind(StrEnum):
    """REPEATED: it still holds."""

    FIRING = "firing"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    TEST = "test"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a message. `key` is the same for all changes of one condition. Times are Unix seconds."""

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

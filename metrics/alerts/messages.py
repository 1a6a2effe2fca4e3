"""Messages to recipients of alerts, in the database until they are sent, and on record after that. Blocks."""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from django.db.models import Q

from metrics.alerts.change import ConditionChange, Notification
from metrics.models import AlertMessage
from routing.alerts.policy import RecipientKind

GROUP_SECONDS: Final = 5.0
"""How long a message waits for further changes for the same recipient."""
MAX_CHANGES: Final = 50
"""The most changes in one message."""
GIVE_UP_SECONDS: Final = 86_400.0
"""A message that could not be sent for this long is given up."""
MAX_WAITING: Final = 500
"""The most messages that wait for one recipient. The oldest are given up."""
SEND_LEASE_SECONDS: Final = 60.0
"""How long after it was claimed another worker may send a message."""
_WAITING: Final = AlertMessage.State.WAITING
_ALONE: Final = f"{RecipientKind.PAGERDUTY}:"


class QueuedMessage(NamedTuple):
    """`tries` is how often it was attempted. `created_at` is Unix seconds."""

    id: str
    recipient: str
    changes: tuple[ConditionChange, ...]
    created_at: float
    tries: int


def add(notifications: Iterable[Notification], now: float) -> None:
    """Add messages about changes, or add these to messages that nobody has tried to send yet.

    An event for PagerDuty is about one condition. Within a transaction.
    """
    by_recipient: dict[str, list[ConditionChange]] = {}
    for change, recipients in notifications:
        for label in recipients:
            by_recipient.setdefault(label, []).append(change)
    for label, found in by_recipient.items():
        size = 1 if label.startswith(_ALONE) else MAX_CHANGES
        rest = _complete(label, found, size) if size > 1 else found
        for start in range(0, len(rest), size):
            create(label, rest[start : start + size], now, now + (GROUP_SECONDS if size > 1 else 0.0))


def create(
    recipient: str, changes: Sequence[ConditionChange], now: float, due_at: float, owner: str = ""
) -> QueuedMessage:
    """Add one message; with `owner`, it is claimed by that worker."""
    row = AlertMessage.objects.create(
        id=secrets.token_hex(16),
        recipient=recipient,
        changes=msgspec.to_builtins(list(changes)),
        created_at=now,
        due_at=due_at,
        owner=owner,
        claimed_until=now + SEND_LEASE_SECONDS if owner else 0,
    )
    return _message(row)


def _complete(recipient: str, changes: Sequence[ConditionChange], size: int) -> Sequence[ConditionChange]:
    """Add changes to a message that still waits; returns those that did not fit."""
    untried = AlertMessage.objects.select_for_update().filter(state=_WAITING, recipient=recipient, tries=0, owner="")
    row = untried.order_by("-created_at").first()
    if row is None or len(row.changes) >= size:
        return changes
    room = size - len(row.changes)
    row.changes += msgspec.to_builtins(list(changes[:room]))
    row.save(update_fields=["changes"])
    return changes[room:]


def are_waiting() -> bool:
    return AlertMessage.objects.filter(state=_WAITING).exists()


def due(now: float) -> list[str]:
    """The ids of the messages that may be sent now: of each recipient the oldest one, so that their order is kept."""
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    rows = AlertMessage.objects.filter(state=_WAITING).order_by("created_at", "id")
    for identifier, recipient, due_at in rows.values_list("id", "recipient", "due_at"):
        counts[recipient] = counts.get(recipient, 0) + 1
        first.setdefault(recipient, identifier if due_at <= now or due_at > now + GIVE_UP_SECONDS else "")
    for recipient in [name for name, count in counts.items() if count > MAX_WAITING]:
        _give_up_oldest(recipient, counts[recipient] - MAX_WAITING)
    return [identifier for identifier in first.values() if identifier]


def _give_up_oldest(recipient: str, number: int) -> None:
    oldest = AlertMessage.objects.filter(state=_WAITING, recipient=recipient).order_by("created_at", "id")
    ids = list(oldest.values_list("id", flat=True)[:number])
    reason = f"given up: more than {MAX_WAITING} messages wait for this recipient"
    AlertMessage.objects.filter(id__in=ids).update(state=AlertMessage.State.FAILED, failure=reason)


def claim(identifier: str, owner: str, now: float) -> QueuedMessage | None:
    """Let this worker alone send the message for SEND_LEASE_SECONDS; None if another one does or has."""
    free = Q(claimed_until__lte=now) | Q(claimed_until__gt=now + 10 * SEND_LEASE_SECONDS)
    claimed: dict[str, Any] = {"owner": owner, "claimed_until": now + SEND_LEASE_SECONDS}
    if not AlertMessage.objects.filter(free, id=identifier, state=_WAITING).update(**claimed):
        return None
    row = AlertMessage.objects.filter(id=identifier).first()
    return None if row is None else _message(row)


def sent(message: QueuedMessage, owner: str, now: float) -> None:
    _finish(message, owner, state=AlertMessage.State.SENT, sent_at=now, failure="")


def failed(message: QueuedMessage, owner: str, reason: str, retry_at: float | None) -> None:
    """Record a failure. It is attempted again at `retry_at`, or never if that is None."""
    state = AlertMessage.State.FAILED if retry_at is None else _WAITING
    _finish(message, owner, state=state, failure=reason[:300], due_at=retry_at or 0.0)


def _finish(message: QueuedMessage, owner: str, **fields: Any) -> None:
    rows = AlertMessage.objects.filter(id=message.id, owner=owner)
    rows.update(tries=message.tries + 1, owner="", claimed_until=0, **fields)


def _message(row: AlertMessage) -> QueuedMessage:
    return QueuedMessage(
        row.id, row.recipient, msgspec.convert(row.changes, tuple[ConditionChange, ...]), row.created_at, row.tries
    )

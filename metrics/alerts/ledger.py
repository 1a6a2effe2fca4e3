"""Alerts in the database: what holds, and which worker evaluates them. Blocks: call it in a thread.

A change is stored in the transaction that adds its messages, so that each recipient gets one message, even if a worker
dies in between.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.db import transaction
from django.db.models import Q

from metrics.alerts import messages
from metrics.alerts.change import ConditionKey, ConditionState, Firing
from metrics.alerts.rules import Step
from metrics.models import AlertSilence, AlertState, AlertWatch
from routing.alerts.policy import ConditionKind

log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 15.0
"""How long after its last evaluation another worker takes over."""
MAX_STATES: Final = 5_000
_ROW: Final = 1
_KINDS: Final = frozenset(ConditionKind)

Advance = Callable[[Mapping[ConditionKey, ConditionState], Callable[[Firing], bool]], Step]
"""What to store and send, given what was stored and whether something is silenced."""


def claim(owner: str, now: float) -> bool:
    """Let this worker alone evaluate for LEASE_SECONDS. A claim that ends much later was made with a wrong clock."""
    free = Q(claimed_until__lte=now) | Q(owner=owner) | Q(claimed_until__gt=now + 10 * LEASE_SECONDS)
    claimed: dict[str, Any] = {"owner": owner, "claimed_until": now + LEASE_SECONDS}
    if AlertWatch.objects.filter(free, pk=_ROW).update(**claimed):
        return True
    _, is_new = AlertWatch.objects.get_or_create(pk=_ROW, defaults=claimed)
    return is_new


def release(owner: str) -> None:
    AlertWatch.objects.filter(pk=_ROW, owner=owner).update(claimed_until=0)


def apply(owner: str, advance: Advance, now: float) -> bool:
    """Store what holds now, and add the messages about changes. False if another worker has taken over."""
    with transaction.atomic():
        # Locks the row until the end: a second worker that takes over then waits, and sees these states.
        if not AlertWatch.objects.filter(pk=_ROW, owner=owner).update(claimed_until=now + LEASE_SECONDS):
            return False
        rows = {row.key: row for row in AlertState.objects.all()[: MAX_STATES + 1]}
        known = {state.firing.key: state for row in rows.values() if (state := _state(row)) is not None}
        step = advance(known, silenced(now))
        _save(rows, known, step.states)
        messages.add(step.notifications, now)
    return True


def has_work() -> bool:
    """Whether something held, or messages wait: without alerts, this is what is left to do."""
    return AlertState.objects.exists() or messages.are_waiting()


def silenced(now: float) -> Callable[[Firing], bool]:
    """Whether a silence that has not ended covers what holds."""
    pairs = list(AlertSilence.objects.filter(ends_at__gt=now).values_list("alert", "service"))
    return lambda firing: any(
        alert in ("", firing.alert) and service in ("", firing.service) for alert, service in pairs
    )


def _state(row: AlertState) -> ConditionState | None:
    """None for a kind that this version does not know."""
    if row.kind not in _KINDS:
        return None
    firing = Firing(
        alert=row.alert,
        condition=row.condition,
        kind=ConditionKind(row.kind),
        subject=row.subject,
        service=row.service,
        summary=row.summary,
    )
    return ConditionState(
        firing=firing,
        since=row.since,
        notified_at=row.notified_at,
        clear_since=row.clear_since,
        told=None if row.told is None else tuple(row.told),
    )


def _save(
    rows: Mapping[str, AlertState],
    known: Mapping[ConditionKey, ConditionState],
    states: Mapping[ConditionKey, ConditionState],
) -> None:
    """Write what differs. Beyond MAX_STATES, nothing is added."""
    kept = {key.digest for key in states}
    AlertState.objects.filter(key__in=[digest for digest in rows if digest not in kept]).delete()
    room = MAX_STATES - len(rows)
    new = [(key, state) for key, state in states.items() if key.digest not in rows]
    if len(new) > room:
        log.warning("%d conditions of alerts hold: no others are remembered", MAX_STATES)
    AlertState.objects.bulk_create(AlertState(key=key.digest, **_fields(state)) for key, state in new[: max(0, room)])
    for key, state in states.items():
        if key.digest in rows and known.get(key) != state:
            AlertState.objects.filter(key=key.digest).update(**_fields(state))


def _fields(state: ConditionState) -> dict[str, Any]:
    firing = state.firing
    return {
        "alert": firing.alert,
        "condition": firing.condition,
        "kind": firing.kind.value,
        "subject": firing.subject,
        "service": firing.service,
        "summary": firing.summary,
        "since": state.since,
        "notified_at": state.notified_at,
        "clear_since": state.clear_since,
        "told": None if state.told is None else list(state.told),
    }

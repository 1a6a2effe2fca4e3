"""What is to be sent, from what holds now and what was remembered. Pure: the clock is an argument."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from metrics.alerts.change import (
    ChangeKind,
    ConditionChange,
    ConditionKey,
    ConditionState,
    Firing,
    Notification,
    Reason,
)
from metrics.alerts.endings import ending, is_unreadable
from routing.alerts.policy import CRITICAL, Alert, ConditionKind
from routing.router.table import Service


class Step(NamedTuple):
    """`states` are those to remember from now on; `notifications` are to be sent."""

    states: dict[ConditionKey, ConditionState]
    notifications: list[Notification]


def advance(
    known: Mapping[ConditionKey, ConditionState],
    firing: Iterable[Firing],
    alerts: Mapping[str, Alert],
    services: Mapping[str, Service],
    *,
    unknown: Collection[ConditionKind],
    is_silenced: Callable[[Firing], bool],
    now: float,
) -> Step:
    """`alerts` and `services` are all that are configured, by name. Conditions of the kinds `unknown`, and of alerts
    that could not be read now, stay as they are. What the configuration ends is resolved at once.
    """
    states: dict[ConditionKey, ConditionState] = {}
    sent: list[Notification] = []
    holding = {found.key: found for found in firing}
    for key, found in holding.items():
        states[key], notifications = _held(known.get(key), found, alerts[found.alert], is_silenced(found), now)
        sent += notifications
    for key, state in known.items():
        if key in holding:
            continue
        alert, reason = alerts.get(key.alert), ending(state.firing, alerts, services)
        if reason is None and alert is not None:
            if is_unreadable(alert) or state.firing.kind in unknown:
                states[key] = state
                continue
            if now - (state.clear_since or now) < alert.resolve_after:
                states[key] = state if state.clear_since else replace(state, clear_since=now)
                continue
        sent += _resolved(state, alert, reason or Reason.ENDED, now)
    return Step(states, sent)


def _held(
    before: ConditionState | None, firing: Firing, alert: Alert, is_silenced: bool, now: float
) -> tuple[ConditionState, list[Notification]]:
    """Recipients that were removed are told that it has ended for them, and new ones that it holds."""
    state = (
        ConditionState(firing=firing, since=now) if before is None else replace(before, firing=firing, clear_since=0.0)
    )
    state, removed = _without_removed(state, alert, now)
    if is_silenced:
        return state, removed
    labels = _labels(alert)
    told = labels if state.told is None else state.told
    if not state.notified_at:
        kind, recipients = ChangeKind.FIRING, labels
    elif not 0 <= now - state.notified_at < alert.repeat:  # or a clock was wrong
        kind, recipients = ChangeKind.REPEATED, labels
    else:
        kind, recipients = ChangeKind.FIRING, tuple(label for label in labels if label not in told)
    if not recipients:
        return state, removed
    notified_at = now if recipients == labels else state.notified_at
    state = replace(state, notified_at=notified_at, told=tuple(dict.fromkeys((*told, *recipients))))
    return state, [*removed, Notification(_change(kind, state, now), recipients)]


def _without_removed(state: ConditionState, alert: Alert, now: float) -> tuple[ConditionState, list[Notification]]:
    """One whose secret is missing was not removed: nothing is known of recipients while an alert has faults."""
    told = state.told or ()
    removed = () if alert.faults else tuple(label for label in told if label not in _labels(alert))
    if not removed:
        return state, []
    change = _change(ChangeKind.RESOLVED, state, now, Reason.RECIPIENT_REMOVED)
    kept = tuple(label for label in told if label not in removed)
    return replace(state, told=kept), [Notification(change, removed)]


def _resolved(state: ConditionState, alert: Alert | None, reason: Reason, now: float) -> Iterator[Notification]:
    """Only the recipients that were notified of the beginning are notified."""
    told = state.told if state.told is not None else _labels(alert)
    if state.notified_at and told:
        yield Notification(_change(ChangeKind.RESOLVED, state, now, reason), told)


def _labels(alert: Alert | None) -> tuple[str, ...]:
    return () if alert is None else tuple(recipient.label for recipient in alert.recipients)


def _change(kind: ChangeKind, state: ConditionState, now: float, reason: Reason | None = None) -> ConditionChange:
    firing = state.firing
    return ConditionChange(
        kind=kind,
        key=firing.key.digest,
        alert=firing.alert,
        condition=firing.condition,
        subject=firing.subject,
        service=firing.service,
        summary=firing.summary,
        is_critical=firing.kind in CRITICAL,
        since=state.since,
        at=now,
        reason="" if reason is None else reason.value,
    )

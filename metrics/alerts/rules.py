"""What is to be sent, from what holds now and what was remembered. Pure: the clock is an argument."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from metrics.alerts.change import Change, ChangeKind, Firing, Key, State
from routing.alerts.policy import CRITICAL, Alert, ConditionKind


class Step(NamedTuple):
    """`states` are those to remember from now on; `changes` are to be sent to the recipients of their alerts."""

    states: dict[Key, State]
    changes: list[Change]


def advance(
    known: Mapping[Key, State],
    firing: Iterable[Firing],
    alerts: Mapping[str, Alert],
    *,
    unknown: Collection[ConditionKind],
    is_silenced: Callable[[Firing], bool],
    now: float,
) -> Step:
    """`alerts` are the enabled ones, by name. Conditions of the kinds `unknown` could not be read now, and stay as they
    are. What is left of an alert or a condition that is configured no more is forgotten.
    """
    states: dict[Key, State] = {}
    changes: list[Change] = []
    holding = {found.key: found for found in firing}
    for key, found in holding.items():
        state, change = _held(known.get(key), found, alerts[found.alert], is_silenced(found), now)
        states[key] = state
        changes += change
    for key, state in known.items():
        alert = alerts.get(key.alert)
        if key in holding or alert is None or all(key.condition != each.text for each in alert.conditions):
            continue
        if state.firing.kind in unknown:
            states[key] = state
        elif now - (state.clear_since or now) < alert.resolve_after:
            states[key] = state if state.clear_since else replace(state, clear_since=now)
        elif state.notified_at:
            changes.append(_change(ChangeKind.RESOLVED, state, now))
    return Step(states, changes)


def _held(
    before: State | None, firing: Firing, alert: Alert, is_silenced: bool, now: float
) -> tuple[State, list[Change]]:
    state = State(firing=firing, since=now) if before is None else replace(before, firing=firing, clear_since=0.0)
    if is_silenced:
        return state, []
    if not state.notified_at:
        kind = ChangeKind.FIRING
    elif not 0 <= now - state.notified_at < alert.repeat:  # or a clock was wrong
        kind = ChangeKind.REPEATED
    else:
        return state, []
    return replace(state, notified_at=now), [_change(kind, state, now)]


def _change(kind: ChangeKind, state: State, now: float) -> Change:
    firing = state.firing
    return Change(
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
    )

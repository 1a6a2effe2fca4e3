"""What is sent when a condition begins, lasts, ends, begins again, and is silenced: with a clock that tests control."""

import pytest
from msgspec.structs import replace

from metrics.alerts.change import ChangeKind, ConditionChange, ConditionKey, ConditionState, Firing, Notification
from metrics.alerts.rules import advance
from resilience.durations import HOUR
from routing.alerts.policy import Alert, AlertCondition, ConditionKind, Recipient, RecipientKind
from routing.router.objectives import Objectives
from routing.router.policy import RoutePolicy, Target
from routing.router.table import Service
from tests.clock import FakeClock

ADA, BOB = (Recipient(RecipientKind.EMAIL, f"email:{name}", name) for name in ("ada@x", "bob@x"))
ALERT = Alert(
    name="crm is down",
    conditions=(AlertCondition("circuit.open", ConditionKind.CIRCUIT),),
    recipients=(ADA,),
    repeat=HOUR,
)
TARGETS = (Target("http://127.0.0.1:1"),)
OPEN = Firing(
    alert="crm is down",
    condition="circuit.open",
    kind=ConditionKind.CIRCUIT,
    subject="crm",
    service="crm",
    summary="the circuit is open: refused",
)


class World:
    """Remembers states, as the database does."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.alerts = {ALERT.name: ALERT}
        self.services = {name: Service(name, TARGETS) for name in ("billing", "crm")}
        self.states: dict[ConditionKey, ConditionState] = {}
        self.unknown: set[ConditionKind] = set()
        self.is_silenced = False

    def notify(self, *firing: Firing, after: float = 0.0) -> list[Notification]:
        self.clock.advance(after)
        self.states, notifications = advance(
            self.states,
            firing,
            self.alerts,
            self.services,
            unknown=self.unknown,
            is_silenced=lambda _: self.is_silenced,
            now=self.clock(),
        )
        return notifications

    def look(self, *firing: Firing, after: float = 0.0) -> list[ConditionChange]:
        return [found.change for found in self.notify(*firing, after=after)]

    def sent(self, *firing: Firing, after: float = 0.0) -> list[tuple[str, str, tuple[str, ...]]]:
        """What is sent: the kind, the reason, and to whom."""
        found = self.notify(*firing, after=after)
        return [(change.kind.value, change.reason, recipients) for change, recipients in found]

    def kinds(self, *firing: Firing, after: float = 0.0) -> list[str]:
        return [change.kind.value for change in self.look(*firing, after=after)]


def test_each_change_is_sent_once() -> None:
    world = World()
    began = world.clock()
    [change] = world.look(OPEN)
    assert (change.kind, change.service, change.is_critical, change.since) == (ChangeKind.FIRING, "crm", True, began)
    assert world.kinds(OPEN, after=10) == []
    assert world.kinds(after=10) == []
    assert world.kinds(after=59) == []
    [over] = world.look(after=1)
    assert (over.kind, over.key, over.since) == (ChangeKind.RESOLVED, change.key, began)
    assert world.states == {}
    assert world.kinds(after=10) == []


def test_what_begins_again_soon_was_not_over() -> None:
    world = World()
    world.look(OPEN)
    for _ in range(20):
        assert world.kinds(after=30) == []
        assert world.kinds(OPEN, after=30) == []
    assert world.kinds(after=1) == []
    assert world.kinds(after=60) == ["resolved"]


def test_what_lasts_is_repeated_at_most_hourly_with_the_latest_summary() -> None:
    world = World()
    world.look(OPEN)
    assert world.kinds(OPEN, after=HOUR - 1) == []
    [change] = world.look(replace(OPEN, summary="the circuit is open: timeout"), after=1)
    assert (change.kind, change.summary) == (ChangeKind.REPEATED, "the circuit is open: timeout")
    assert world.kinds(OPEN, after=HOUR - 1) == []
    assert world.kinds(OPEN, after=1) == ["repeated"]


def test_a_silence_holds_back_beginnings_and_repetitions_until_it_ends() -> None:
    world = World()
    world.is_silenced = True
    assert world.kinds(OPEN) == []
    assert world.kinds(OPEN, after=3 * HOUR) == []
    world.is_silenced = False
    assert world.kinds(OPEN, after=1) == ["firing"]
    world.is_silenced = True
    assert world.kinds(OPEN, after=2 * HOUR) == []
    assert world.kinds(after=1) == []
    assert world.kinds(after=60) == ["resolved"]  # somebody was told that it began


def test_what_began_and_ended_under_a_silence_was_never_sent() -> None:
    world = World()
    world.is_silenced = True
    world.look(OPEN)
    world.look(after=1)
    assert world.kinds(after=60) == []
    assert world.states == {}


def test_what_cannot_be_read_has_not_ended() -> None:
    world = World()
    world.look(OPEN)
    world.unknown = {ConditionKind.CIRCUIT}
    assert world.kinds(after=3_600) == []
    world.unknown = set()
    assert world.kinds(OPEN, after=1) == ["repeated"]


TARGET_DOWN = AlertCondition("target.down", ConditionKind.TARGET)


@pytest.mark.parametrize(
    ("alerts", "services", "reason"),
    [
        ((), ("crm",), "alert_removed"),
        ((replace(ALERT, name="renamed"),), ("crm",), "alert_removed"),
        ((replace(ALERT, enabled=False),), ("crm",), "alert_disabled"),
        ((replace(ALERT, conditions=(TARGET_DOWN,)),), ("crm",), "condition_removed"),
        ((replace(ALERT, services=("billing",)),), ("crm",), "service_excluded"),
        ((ALERT,), (), "service_removed"),
    ],
)
def test_what_the_configuration_ends_is_resolved_once_and_at_once(
    alerts: tuple[Alert, ...], services: tuple[str, ...], reason: str
) -> None:
    world = World()
    [change] = world.look(OPEN)
    world.unknown = {ConditionKind.CIRCUIT}  # it matters no more
    world.alerts = {alert.name: alert for alert in alerts}
    world.services = {name: Service(name, TARGETS) for name in services}
    [(over, recipients)] = world.notify(after=1)
    assert (over.kind, over.reason, over.key, recipients) == (ChangeKind.RESOLVED, reason, change.key, (ADA.label,))
    assert world.states == {}
    assert world.sent(after=1) == []


def test_a_disabled_service_and_a_removed_objective_end_what_they_held() -> None:
    world = World()
    world.services["crm"] = Service("crm", TARGETS, slo=Objectives(availability=0.999))
    world.alerts = {
        ALERT.name: replace(ALERT, conditions=(*ALERT.conditions, AlertCondition("budget.80", ConditionKind.BUDGET)))
    }
    spent = replace(OPEN, condition="budget.80", kind=ConditionKind.BUDGET, subject="crm availability")
    assert len(world.look(OPEN, spent)) == 2
    world.services["crm"] = Service("crm", TARGETS)
    assert world.sent(OPEN, after=1) == [("resolved", "objective_removed", (ADA.label,))]
    world.services["crm"] = Service("crm", TARGETS, policy=RoutePolicy(enabled=False))
    assert world.sent(after=1) == [("resolved", "service_disabled", (ADA.label,))]


def test_an_alert_that_cannot_be_read_has_ended_nothing() -> None:
    world = World()
    world.look(OPEN)
    world.alerts = {ALERT.name: Alert(name=ALERT.name, enabled=False, faults=("to: must begin with one of slack:",))}
    assert world.sent(after=HOUR) == []
    world.alerts = {ALERT.name: ALERT}
    assert world.sent(OPEN, after=1) == [("repeated", "", (ADA.label,))]


def test_recipients_that_change_are_told_that_it_ends_for_them_or_holds() -> None:
    world = World()
    world.look(OPEN)
    world.alerts = {ALERT.name: replace(ALERT, recipients=(BOB,))}
    assert world.sent(OPEN, after=1) == [
        ("resolved", "recipient_removed", (ADA.label,)),
        ("firing", "", (BOB.label,)),
    ]
    assert world.sent(OPEN, after=1) == []
    world.alerts = {ALERT.name: replace(ALERT, faults=("env:NAME is missing",))}  # nobody was removed
    assert world.sent(OPEN, after=1) == [("firing", "", (ADA.label,))]
    world.look(after=1)
    assert world.sent(after=60) == [("resolved", "ended", (BOB.label, ADA.label))]


def test_who_was_told_by_an_earlier_version_are_the_recipients_now() -> None:
    world = World()
    world.look(OPEN)
    world.states = {key: replace(state, told=None) for key, state in world.states.items()}
    assert world.sent(OPEN, after=1) == []
    world.look(after=1)
    assert world.sent(after=60) == [("resolved", "ended", (ADA.label,))]


def test_a_clock_that_was_wrong_silences_nothing_for_long() -> None:
    world = World()
    world.clock.advance(400 * 24 * HOUR)
    world.look(OPEN)
    assert world.kinds(OPEN, after=-400 * 24 * HOUR) == ["repeated"]


def test_services_are_told_apart() -> None:
    world = World()
    other = replace(OPEN, subject="billing", service="billing")
    assert len({change.key for change in world.look(OPEN, other)}) == 2
    world.look(other, after=1)
    [change] = world.look(other, after=60)
    assert (change.kind, change.service) == (ChangeKind.RESOLVED, "crm")

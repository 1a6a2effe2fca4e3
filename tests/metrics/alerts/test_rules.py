"""What is sent when a condition begins, lasts, ends, begins again, and is silenced: with a clock that tests control."""

from msgspec.structs import replace

from metrics.alerts.change import Change, ChangeKind, Firing, Key, State
from metrics.alerts.rules import advance
from routing.alerts.policy import HOUR, Alert, Condition, ConditionKind
from tests.clock import FakeClock

ALERT = Alert(name="crm is down", conditions=(Condition("circuit.open", ConditionKind.CIRCUIT),), repeat=HOUR)
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
        self.states: dict[Key, State] = {}
        self.unknown: set[ConditionKind] = set()
        self.is_silenced = False

    def look(self, *firing: Firing, after: float = 0.0) -> list[Change]:
        self.clock.advance(after)
        self.states, changes = advance(
            self.states,
            firing,
            self.alerts,
            unknown=self.unknown,
            is_silenced=lambda _: self.is_silenced,
            now=self.clock(),
        )
        return changes

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


def test_what_is_configured_no_more_is_forgotten() -> None:
    world = World()
    world.look(OPEN)
    world.alerts = {ALERT.name: replace(ALERT, conditions=(Condition("target.down", ConditionKind.TARGET),))}
    assert world.kinds(after=120) == []
    assert world.states == {}


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

"""The circuit's rules, with time as an argument."""

import itertools

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resilience.breaker.machine import (
    AUTOMATIC,
    OPERATOR,
    TRANSITIONS,
    IllegalTransition,
    Outcome,
    Permit,
    Refusal,
    Snapshot,
    State,
    admit,
    advance,
    move,
    override,
    record,
    trip,
)
from resilience.breaker.policy import BreakerPolicy

POLICY = BreakerPolicy()


def fail(snapshot: Snapshot, now: float, times: int = 1) -> Snapshot:
    for _ in range(times):
        snapshot, permit = admit(snapshot, POLICY, now, "caller")
        assert isinstance(permit, Permit)
        snapshot = record(snapshot, POLICY, permit, Outcome.FAILURE, now)
    return snapshot


def opened(now: float = 0.0) -> Snapshot:
    return fail(Snapshot(), now, POLICY.failure_threshold)


def test_it_opens_after_five_failures_in_the_window() -> None:
    snapshot = fail(Snapshot(), 0.0, 4)
    assert snapshot.state is State.CLOSED
    assert fail(snapshot, 59.0).state is State.OPEN


def test_failures_older_than_the_window_are_not_counted() -> None:
    snapshot = fail(Snapshot(), 0.0, 4)
    assert fail(snapshot, 61.0).state is State.CLOSED


def test_a_success_does_not_reset_the_failures() -> None:
    snapshot = fail(Snapshot(), 0.0, 4)
    snapshot, permit = admit(snapshot, POLICY, 1.0, "caller")
    assert isinstance(permit, Permit)
    snapshot = record(snapshot, POLICY, permit, Outcome.SUCCESS, 1.0)
    assert fail(snapshot, 2.0).state is State.OPEN


def test_an_open_circuit_refuses_calls_with_the_remaining_open_time() -> None:
    _, verdict = admit(opened(), POLICY, 20.0, "caller")
    assert verdict == Refusal(State.OPEN, 40.0)


def test_it_half_opens_after_the_open_time_and_closes_after_two_successes() -> None:
    snapshot = opened()
    for number in range(POLICY.success_threshold):
        snapshot, permit = admit(snapshot, POLICY, 60.0, f"probe-{number}")
        assert isinstance(permit, Permit)
        assert snapshot.state is State.HALF_OPEN
        snapshot = record(snapshot, POLICY, permit, Outcome.SUCCESS, 60.0)
    assert snapshot.state is State.CLOSED
    assert snapshot.failures == ()


def test_reasons_tell_one_from_many() -> None:
    policy = BreakerPolicy(failure_threshold=1, success_threshold=1)
    snapshot, permit = admit(Snapshot(), policy, 0.0, "caller")
    assert isinstance(permit, Permit)
    snapshot = record(snapshot, policy, permit, Outcome.FAILURE, 0.0)
    assert snapshot.reason == "1 failure within 60 s"
    snapshot, permit = admit(snapshot, policy, 60.0, "probe")
    assert isinstance(permit, Permit)
    assert record(snapshot, policy, permit, Outcome.SUCCESS, 60.0).reason == "a probe succeeded"
    assert opened().reason == "5 failures within 60 s"


def test_one_failed_probe_opens_it_again() -> None:
    snapshot, permit = admit(opened(), POLICY, 60.0, "probe")
    assert isinstance(permit, Permit)
    snapshot = record(snapshot, POLICY, permit, Outcome.FAILURE, 61.0)
    assert (snapshot.state, snapshot.until) == (State.OPEN, 121.0)


GROWING = BreakerPolicy(failure_threshold=1, success_threshold=1, window=60.0, open_factor=2.0, open_max=150.0)


def one_call(snapshot: Snapshot, outcome: Outcome, now: float) -> Snapshot:
    snapshot, permit = admit(snapshot, GROWING, now, "call")
    assert isinstance(permit, Permit)
    return record(snapshot, GROWING, permit, outcome, now)


def open_time(snapshot: Snapshot, now: float) -> float:
    assert snapshot.until is not None
    return snapshot.until - now


def test_each_trip_in_a_row_has_a_longer_open_time_up_to_the_maximum() -> None:
    snapshot, now, open_times = Snapshot(), 0.0, []
    for _ in range(4):
        snapshot = one_call(snapshot, Outcome.FAILURE, now)
        open_times.append(open_time(snapshot, now))
        now += open_times[-1]
    assert open_times == [60.0, 120.0, 150.0, 150.0]


@pytest.mark.parametrize(("closed_for", "wait"), [(59.9, 150.0), (60.0, 60.0)])
def test_the_row_ends_only_after_a_whole_window_of_being_closed(closed_for: float, wait: float) -> None:
    snapshot = one_call(one_call(Snapshot(), Outcome.FAILURE, 0.0), Outcome.FAILURE, 60.0)
    snapshot = one_call(snapshot, Outcome.SUCCESS, 180.0)
    assert (snapshot.state, snapshot.trips) == (State.CLOSED, 2)
    now = 180.0 + closed_for
    assert open_time(one_call(snapshot, Outcome.FAILURE, now), now) == pytest.approx(wait)


def test_an_operators_reset_ends_the_row() -> None:
    snapshot = one_call(one_call(Snapshot(), Outcome.FAILURE, 0.0), Outcome.FAILURE, 60.0)
    snapshot = override(snapshot, State.CLOSED, 61.0, None, "mended")
    assert open_time(one_call(snapshot, Outcome.FAILURE, 62.0), 62.0) == 60.0


def test_a_half_open_circuit_admits_no_more_probes_than_permits() -> None:
    snapshot = opened()
    admitted = []
    for number in range(5):
        snapshot, verdict = admit(snapshot, POLICY, 60.0, f"probe-{number}")
        admitted.append(isinstance(verdict, Permit))
    assert admitted == [True, True, False, False, False]


def test_a_cancelled_probe_returns_its_permit_and_counts_as_neither_outcome() -> None:
    snapshot, first = admit(opened(), POLICY, 60.0, "first")
    snapshot, _ = admit(snapshot, POLICY, 60.0, "second")
    assert isinstance(first, Permit)
    snapshot = record(snapshot, POLICY, first, Outcome.CANCELLED, 60.0)
    assert (snapshot.state, snapshot.successes) == (State.HALF_OPEN, 0)
    assert isinstance(admit(snapshot, POLICY, 60.0, "third")[1], Permit)


def test_a_dead_workers_permit_expires_with_its_lease() -> None:
    snapshot = opened()
    for number in range(2):
        snapshot, _ = admit(snapshot, POLICY, 60.0, f"dead-{number}")
    assert isinstance(admit(snapshot, POLICY, 94.9, "late")[1], Refusal)
    assert isinstance(admit(snapshot, POLICY, 95.0, "late")[1], Permit)


def test_while_all_permits_are_leased_retry_after_is_short() -> None:
    snapshot = opened()
    for number in range(2):
        snapshot, _ = admit(snapshot, POLICY, 60.0, f"probe-{number}")
    assert admit(snapshot, POLICY, 60.0, "late")[1] == Refusal(State.HALF_OPEN, 1.0)
    assert admit(snapshot, POLICY, 94.5, "later")[1] == Refusal(State.HALF_OPEN, 0.5)


def test_an_outcome_of_an_earlier_generation_changes_nothing() -> None:
    closed, early = admit(Snapshot(), POLICY, 0.0, "slow call")
    assert isinstance(early, Permit)
    snapshot = advance(fail(closed, 0.0, 5), 60.0)
    assert record(snapshot, POLICY, early, Outcome.FAILURE, 60.0) == snapshot


@pytest.mark.parametrize(("forced", "admitted"), [(State.FORCED_OPEN, False), (State.DISABLED, True)])
def test_an_override_lasts_until_it_expires(forced: State, admitted: bool) -> None:
    snapshot = move(Snapshot(), forced, until=30.0, reason="maintenance")
    assert isinstance(admit(snapshot, POLICY, 29.0, "caller")[1], Permit) is admitted
    assert advance(snapshot, 30.0).state is State.CLOSED


def test_a_disabled_circuit_does_not_count_failures() -> None:
    snapshot = move(Snapshot(), State.DISABLED)
    assert fail(snapshot, 0.0, 20).state is State.DISABLED


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_only_the_listed_transitions_are_legal(before: State, after: State) -> None:
    snapshot = Snapshot(state=before, generation=7)
    if (before, after) in TRANSITIONS:
        assert move(snapshot, after) == Snapshot(state=after, generation=8)
    else:
        with pytest.raises(IllegalTransition, match=f"{before} -> {after}"):
            move(snapshot, after)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("failure_threshold", 0),
        ("success_threshold", 0),
        ("half_open_permits", 0),
        ("window", 0.0),
        ("open_for", -1.0),
        ("failure_rate", 1.5),
        ("slow_call", 0.0),
        ("open_factor", 0.5),
        ("open_max", 10.0),
        ("open_max", 100_000.0),
        ("minimum_calls", 0),
    ],
)
def test_a_value_out_of_bounds_is_rejected_by_field_name(field: str, value: float) -> None:
    written = {"open_factor": "open_for.factor", "open_max": "open_for.max"}
    with pytest.raises(ValueError, match=f"^{written.get(field, field)} must be "):
        BreakerPolicy(**{field: value})  # type: ignore[arg-type]  # one field of either type


class AnySequence(RuleBasedStateMachine):
    """Calls begin, end and die in any order, time passes, operators override: transitions and permits stay legal."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.snapshot = Snapshot()
        self.permits: list[Permit] = []
        self.calls = 0

    def advance_to_now(self) -> None:
        """Make the transition that is due by time first, so that the next one is single."""
        self.become(advance(self.snapshot, self.now), AUTOMATIC)

    def become(self, after: Snapshot, legal: frozenset[tuple[State, State]]) -> None:
        before = self.snapshot
        assert after.generation - before.generation in (0, 1)
        if after.generation == before.generation:
            assert after.state is before.state
        else:
            assert (before.state, after.state) in legal
        self.snapshot = after

    @rule(seconds=st.floats(0, 120))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.advance_to_now()

    @rule()
    def a_call_begins(self) -> None:
        self.calls += 1
        after, verdict = admit(self.snapshot, POLICY, self.now, f"call-{self.calls}")
        self.become(after, AUTOMATIC)
        if isinstance(verdict, Permit):
            self.permits.append(verdict)
            assert self.snapshot.state in (State.CLOSED, State.HALF_OPEN, State.DISABLED)
        else:
            assert self.snapshot.state in (State.OPEN, State.HALF_OPEN, State.FORCED_OPEN)
            assert verdict.retry_after >= 0

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def a_call_ends(self, data: st.DataObject, outcome: Outcome) -> None:
        permit = self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1)))
        self.become(record(self.snapshot, POLICY, permit, outcome, self.now), AUTOMATIC)

    @precondition(lambda self: self.permits)
    @rule(data=st.data())
    def a_worker_exceeds_its_failure_rate(self, data: st.DataObject) -> None:
        permit = data.draw(st.sampled_from(self.permits))
        before = self.snapshot
        self.become(trip(before, POLICY, permit, "its rate", self.now), AUTOMATIC)
        counted = before.state is State.CLOSED and permit.generation == before.generation
        assert (self.snapshot.state is State.OPEN) is (counted or before.state is State.OPEN)

    @rule(after=st.sampled_from(State), seconds=st.none() | st.floats(1, 120))
    def an_operator_overrides(self, after: State, seconds: float | None) -> None:
        until = None if seconds is None or after is State.CLOSED else self.now + seconds
        try:
            self.become(override(self.snapshot, after, self.now, until, "because"), OPERATOR)
        except IllegalTransition:
            assert after in (State.OPEN, State.HALF_OPEN)
        else:
            assert (self.snapshot.state, self.snapshot.reason) == (after, "because")

    @invariant()
    def never_more_probes_than_permits(self) -> None:
        assert len(self.snapshot.leases) <= POLICY.half_open_permits
        assert not self.snapshot.leases or self.snapshot.state is State.HALF_OPEN

    @invariant()
    def an_open_circuit_always_has_an_end(self) -> None:
        if self.snapshot.state is State.OPEN:
            assert self.snapshot.until is not None


TestAnySequence = AnySequence.TestCase

"""The balancer of one worker: which target it picks, and the events it emits."""

from collections import Counter
from random import Random

import pytest

from routing.balancing.balancer import Balancers
from routing.balancing.rules import EJECT_AFTER, EJECT_SECONDS, TargetCondition, canary_point
from routing.errors import ServiceDisabled
from routing.observability.events import BackendEvent, BackendEventKind
from routing.router.policy import Target
from routing.router.table import Service
from tests.clock import FakeClock

FIRST, SECOND = Target("http://one"), Target("http://other")


class Scene:
    def __init__(self, *targets: Target) -> None:
        self.clock = FakeClock()
        self.events: list[BackendEvent] = []
        self.targets = Balancers(clock=self.clock, emit=self.events.append, random=Random(1))
        self.configure(*targets)

    def configure(self, *targets: Target) -> None:
        self.balancer = self.targets.of(Service("crm", targets))

    def call(self, caller: str = "") -> Target:
        state = self.balancer.pick([], caller)
        self.balancer.release(state)
        return state.target

    def fail(self, target: Target, times: int = EJECT_AFTER) -> None:
        while times:
            state = self.balancer.pick([])
            if state.target == target:
                self.balancer.failed(state, "500", no_response=False)
                times -= 1
            self.balancer.release(state)


def test_a_failing_target_is_ejected_and_returns_with_an_event_for_each() -> None:
    scene = Scene(FIRST, SECOND)
    scene.fail(FIRST)
    assert {scene.call() for _ in range(20)} == {SECOND}
    scene.clock.advance(EJECT_SECONDS)
    assert scene.balancer.conditions()[FIRST.url] is TargetCondition.SLOW_START
    assert [(event.kind, event.target) for event in scene.events] == [
        (BackendEventKind.EJECTED, FIRST.url),
        (BackendEventKind.RETURNED, FIRST.url),
    ]


def test_the_only_target_is_never_ejected() -> None:
    scene = Scene(FIRST)
    scene.fail(FIRST, 100)
    assert (scene.call(), scene.events) == (FIRST, [])


def test_a_new_configuration_keeps_the_state_of_unchanged_targets() -> None:
    scene = Scene(FIRST, SECOND)
    scene.fail(FIRST)
    scene.configure(FIRST, SECOND, Target("http://third"))
    assert FIRST not in {scene.call() for _ in range(40)}


def test_a_target_whose_settings_changed_starts_with_a_new_state() -> None:
    scene = Scene(FIRST, SECOND)
    scene.fail(FIRST)
    changed = Target(FIRST.url, 2)
    scene.configure(changed, SECOND)
    assert changed in {scene.call() for _ in range(40)}


def test_outstanding_calls_are_counted_and_the_less_loaded_target_is_picked() -> None:
    scene = Scene(FIRST, SECOND)
    picked = Counter(scene.balancer.pick([]).target for _ in range(100))
    assert picked == {FIRST: 50, SECOND: 50}


def test_no_call_is_made_if_all_targets_are_disabled() -> None:
    with pytest.raises(ServiceDisabled):
        Scene(Target("http://one", 0), Target("http://other", 0)).call()


def test_a_canary_serves_its_share_of_the_callers_and_keeps_them() -> None:
    canary = Target("http://canary", 1, 5)
    scene = Scene(FIRST, canary)
    callers = [f"key:{number}" for number in range(4_000)]
    targets = {caller: scene.call(caller) for caller in callers}
    assert 0.03 < Counter(targets.values())[canary] / len(callers) < 0.07
    assert {caller: scene.call(caller) for caller in callers} == targets
    assert all((canary_point("crm", caller) < 5) is (target == canary) for caller, target in targets.items())
